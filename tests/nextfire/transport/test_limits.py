"""What one operation may hold."""

from typing import Any

import pytest
from graphql import GraphQLSchema, get_introspection_query, parse

from nextfire.transport.documents import Documents
from nextfire.transport.refusal import Refused
from schema.limits import DEFAULT_LIMITS, Limits, Meter
from tests.nextfire.transport.conftest import SCHEMA, Served

FULL_INTROSPECTION = get_introspection_query(
    descriptions=True,
    specified_by_url=True,
    directive_is_repeatable=True,
    schema_description=True,
    input_value_deprecation=True,
)
DIRECTIVES = "query @a { leaf @a { ...F @a } } fragment F on Leaf @a { name @a }"


def chain(links: int, link: str) -> str:
    """Fragments of which each spreads the next; `{}` in a link is the next one's name."""
    fragments = (f"fragment F{n} on Leaf {{ {link.format(f'F{n + 1}')} }}" for n in range(links))
    return "{ leaf { ...F0 } } " + " ".join(fragments) + f" fragment F{links} on Leaf {{ name }}"


@pytest.mark.parametrize(
    ("query", "limits", "message"),
    [
        ("{ leaf { name } }", Limits(max_depth=2), None),
        ("{ leaf { leaf { name } } }", Limits(max_depth=2), "3 levels deep"),
        ("{ leaf { ...F } } fragment F on Leaf { leaf { name } }", Limits(max_depth=2), "3 levels deep"),
        ("{ leaf { ... on Leaf { ... { name } } } }", Limits(max_depth=2), None),
        ("{ a: hello b: hello }", Limits(max_aliases=2), None),
        ("{ a: hello b: hello c: hello }", Limits(max_aliases=2), "3 aliases"),
        ("{ a: leaf { ...F } b: leaf { ...F } } fragment F on Leaf { x: name }", Limits(max_aliases=3), "4 aliases"),
        (DIRECTIVES, Limits(max_directives=5), None),
        (DIRECTIVES, Limits(max_directives=4), "5 directives"),
        ("{ a b c }", Limits(max_fields=2), "3 fields"),
        ("{ a a a }", Limits(max_overlaps=3), None),
        ("{ a a a a }", Limits(max_overlaps=3), "same names too often"),
        ("{ l { a } l { a } l { ...F } } fragment F on Leaf { a }", Limits(max_overlaps=5), "same names too often"),
        ("{ x: l { a } y: l { a } }", Limits(max_overlaps=0), None),
        ("{ ...Missing }", Limits(), None),
        ("{ leaf { } }", Limits(), None),
        ("{ ...A } fragment A on Query { ...B leaf { ...A } } fragment B on Query { ...A }", Limits(), None),
        (chain(8, "leaf {{ ...{0} }}"), Limits(), None),
        (chain(9, "leaf {{ ...{0} }}"), Limits(), "11 levels deep"),
        ("{ leaves(count: " + "9" * 5_000 + ") { name @skip(if: " + "9" * 5_000 + ") } }", Limits(), None),
        (FULL_INTROSPECTION, Limits(), None),
        (FULL_INTROSPECTION, Limits(max_introspection_depth=12), "levels of introspection deep"),
    ],
)  # fmt: skip
def test_what_an_operation_may_hold(query: str, limits: Limits, message: str | None) -> None:
    # when
    errors = Meter(SCHEMA._schema, parse(query), limits).errors()

    # then
    if message is None:
        assert errors == []
    else:
        assert message in errors[0].message
        assert errors[0].extensions == {"code": "OPERATION_TOO_COMPLEX"}


def test_a_chain_of_fragments_is_looked_at_once_each() -> None:
    """Exponential by spreading: 3 to the power of 100 fields."""
    # given
    document = parse(chain(100, "leaf {{ ...{0} }} x: leaf {{ ...{0} }} y: leaf {{ ...{0} }}"))

    # when: this ends at all
    errors = Meter(SCHEMA._schema, document).errors()

    # then
    assert [error.message.split(",")[0] for error in errors] == [
        "The operation is 102 levels deep",
        "The operation is over a million aliases large",
        "The operation is over a million fields large",
    ]


def test_a_document_is_read_once() -> None:
    # given
    documents = Documents(SCHEMA, DEFAULT_LIMITS, size=2)

    # when
    first = documents.operation("{ hello }", None)

    # then
    assert documents.operation("{ hello }", None) is first
    for other in ("{ big }", "{ leaf { name } }"):
        documents.operation(other, None)
    assert documents.operation("{ hello }", None) is not first


def test_a_wrong_document_is_remembered_and_told_anew() -> None:
    # given
    documents = Documents(SCHEMA, DEFAULT_LIMITS)
    told: list[Any] = []

    # when
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            documents.operation("{ nope }", None)
        told.append(refused.value)

    # then
    assert told[0] is not told[1]
    assert told[0].errors == told[1].errors


async def test_introspection_passes_the_endpoint(served: Served) -> None:
    # when
    response = await served.post({"query": FULL_INTROSPECTION})

    # then
    assert "errors" not in response.json()
    assert response.json()["data"]["__schema"]["queryType"] == {"name": "Query", "kind": "OBJECT"}


async def test_introspection_in_circles_does_not(served: Served) -> None:
    # given
    query = "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }"

    # when
    response = await served.post({"query": query})

    # then
    assert "errors" in response.json()


def schema_of() -> GraphQLSchema:
    """The toy's, as graphql-core has it."""
    return SCHEMA._schema
