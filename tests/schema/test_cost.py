"""What operations cost, on the product's own schema."""

from typing import Any

import pytest
from graphql import OperationDefinitionNode, get_introspection_query, parse, validate

from schema import build_schema
from schema.limits import DEFAULT_LIMITS, Measured, Meter

SCHEMA = build_schema(schedules=True)._schema


def weigh(query: str, name: str | None = None) -> Measured:
    """The operation of that name, or the first one."""
    document = parse(query)
    assert validate(SCHEMA, document) == []
    meter = Meter(SCHEMA, document)
    assert meter.errors() == []
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    names = [each.name.value if each.name else None for each in operations]
    return meter.measured()[0 if name is None else names.index(name)]


def cost(query: str, **variables: Any) -> int:
    return weigh(query).cost.of(variables)


def of_runs(arguments: str, inner: str = "nodes { id }", variables: str = "") -> str:
    return f"query {variables} {{ runs{arguments} {{ {inner} }} }}"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # an object is 2, a scalar 1, a live field 10, and __typename nothing
        ("{ viewer { authenticated } }", 2 + 1),
        ("{ viewer { __typename authenticated } __typename }", 2 + 1),
        ("{ serverInfo { version temporalReachable } }", 2 + 1 + 10),
        ('{ schedule(by: {id: "x"}) { live { status nextFireAt fireCount } } }', 2 + 10 + 1 + 1 + 10),
        # a page multiplies its items, and what stands beside them is there once
        (of_runs("(first: 3)"), 2 + 3 * (2 + 1)),
        (of_runs("(last: 3)"), 2 + 3 * (2 + 1)),
        (of_runs("(first: 3)", "pageInfo { hasNextPage } totalCount"), 2 + 2 + 1 + 10),
        (of_runs("(first: 3)", "edges { cursor node { id } }"), 2 + 3 * (2 + 1 + 2 + 1)),
        # the default size of a page, where none is given
        (of_runs(""), 2 + 20 * (2 + 1)),
        (of_runs("(first: null)"), 2 + 20 * (2 + 1)),
        # pages in pages
        ("{ agents(first: 3) { nodes { schedules(first: 4) { nodes { id } } } } }", 2 + 3 * (2 + 2 + 4 * (2 + 1))),
        # a list without a page counts as five, a list of scalars as one
        (of_runs("(first: 2)", "nodes { attempts { number } }"), 2 + 2 * (2 + 5 * (2 + 1))),
        ('{ schedule(by: {id: "x"}) { live { skippedFires } } }', 2 + 10 + 1),
        # other arguments that say how long a list is
        ('{ schedule(by: {id: "x"}) { live { nextFires(first: 7) } } }', 2 + 10 + 7),
        ('{ schedule(by: {id: "x"}) { live { nextFires } } }', 2 + 10 + 5),
        ('{ nodes(ids: ["a", "b", "c"]) { id } }', 3 * (2 + 1)),
        ('{ nodes(ids: "a") { id } }', 2 + 1),
        # fragments, spread and inline
        ("{ viewer { ...V ...V } } fragment V on Viewer { authenticated }", 2 + 1 + 1),
        ("{ runs(first: 3) { ...R } } fragment R on RunConnection { nodes { id } }", 2 + 3 * (2 + 1)),
        ("{ viewer { ... { authenticated } ... on Viewer { authenticated } } }", 2 + 1 + 1),
        # what is left out for certain
        ("{ viewer { authenticated @skip(if: true) } }", 2),
        ("{ viewer { authenticated @include(if: false) } }", 2),
        ("{ viewer { authenticated @include(if: true) @skip(if: false) } }", 2 + 1),
        # a subscription: each of its events
        ("subscription { fireStatus { cursor run { id } } }", 5 * (2 + 1 + 2 + 1)),
    ],
)  # fmt: skip
def test_what_an_operation_costs(query: str, expected: int) -> None:
    # when
    found = weigh(query)

    # then: nothing is left open
    assert found.cost.of({}) == found.cost.least == expected
    assert not found.introspects


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({"n": 7}, 7),
        ({"n": 7.0}, 7),
        ({}, 4),
        ({"n": None}, 20),
        ({"n": 10**30}, 2**31),
        ({"n": float("inf")}, 2**31),
        ({"n": 10**400}, 2**31),
        ({"n": float("nan")}, 20),
        ({"n": -5}, 0),
        ({"n": "seven"}, 20),
        ({"n": True}, 20),
        ({"n": {}}, 20),
    ],
)
def test_a_variable_gives_the_size(given: dict[str, Any], size: int) -> None:
    """Whatever it holds: what is no size is refused when it is coerced."""
    assert cost(of_runs("(first: $n)", variables="($n: Int = 4)"), **given) == 2 + size * 3


def test_of_first_and_last_the_larger_counts() -> None:
    # given: a client that has variables for both, and fills one
    query = of_runs("(first: $f, last: $l)", variables="($f: Int, $l: Int)")

    assert cost(query, f=5, l=None) == cost(query, l=5) == 2 + 5 * 3
    assert cost(query, f=5, l=50) == 2 + 50 * 3
    assert cost(query) == 2 + 20 * 3


def test_a_list_in_a_variable_gives_its_length() -> None:
    query = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"

    assert cost(query, ids=["a"] * 40) == 40 * 3
    assert cost(query, ids="a") == 3


def test_variables_multiply_through_fragments_and_conditions() -> None:
    # given
    query = """
    query ($n: Int, $more: Boolean! = false) {
      agents(first: $n) { nodes { ...A @include(if: $more) name @skip(if: $more) } }
    }
    fragment A on Agent { schedules(first: $n) { nodes { id } } }"""

    # then
    assert cost(query, n=10) == 2 + 10 * (2 + 1)
    assert cost(query, n=10, more=True) == 2 + 10 * (2 + 2 + 10 * 3)


def test_each_operation_has_its_own_defaults() -> None:
    # given
    query = """
    query A($n: Int = 2) { ...F } query B($n: Int = 3) { ...F }
    fragment F on Query { runs(first: $n) { nodes { id } } }"""

    assert weigh(query, "A").cost.of({}) == 2 + 2 * 3
    assert weigh(query, "B").cost.of({}) == 2 + 3 * 3


def test_introspection_is_told_and_its_lists_are_not_multiplied() -> None:
    # when
    whole = weigh(get_introspection_query(input_value_deprecation=True))

    # then
    assert whole.introspects
    assert whole.cost.of({}) < DEFAULT_LIMITS.max_cost / 10
    assert weigh('{ viewer { authenticated } ... { __type(name: "Run") { name } } }').introspects
    assert not weigh("{ __typename viewer { __typename } }").introspects


def test_pages_in_pages_are_above_the_limit_and_the_playgrounds_page_is_far_below() -> None:
    # given
    nested = "{ agents(first: 100) { nodes { schedules(first: 100) { nodes { id } } } } }"
    page = """{ schedules(first: 20) { nodes { name agent { name } clock { status } lastRun { status }
      live { status nextFireAt nextFires(first: 3) } } totalCount } }"""

    assert cost(nested) == 2 + 100 * (2 + 2 + 100 * 3) > DEFAULT_LIMITS.max_cost
    assert cost(page) < DEFAULT_LIMITS.max_cost / 5
