"""What those are told who may not read the schema, of a document or of variables that do not fit it."""

import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType

from nextfire.transport import RateLimit
from nextfire.transport.admission import COST_OF_A_GUESS, COST_OF_A_REFUSAL
from nextfire.transport.masking import NO_FIT
from tests.nextfire.transport.conftest import GRAPHQL_JSON, SCHEMA, Served, serving

SSE = "text/event-stream"


def names() -> set[str]:
    """Every name of the schema: of types, fields, arguments and enum values."""
    found: set[str] = set()
    for name, each in SCHEMA._schema.type_map.items():
        if name.startswith("__"):
            continue
        found.add(name)
        if isinstance(each, GraphQLObjectType | GraphQLInterfaceType):
            found |= {name for field in each.fields.values() for name in field.args}
        if isinstance(each, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            found |= {*each.fields}
        if isinstance(each, GraphQLEnumType):
            found |= {*each.values}
    return found


NAMES = names()

VARIABLE = "Variable '$v' has invalid value"
EVEN = "query($v: Even!) { even(value: $v) }"
CHOSEN = "query($v: Choice!) { chosen(choice: $v) }"
PATCHED = "query($v: Patch!) { patched(patch: $v) }"
PAINTED = "query($v: Colour!) { painted(colour: $v) }"
LEAVES = "query($v: Int) { leaves(count: $v) { name } }"


async def may_introspect(context: Any) -> bool:
    return bool(context.generation)


@pytest.fixture(scope="module")
async def veiled() -> AsyncGenerator[Served, None]:
    """An endpoint whose schema only callers of the first generation may read."""
    async with serving(may_introspect=may_introspect) as served:
        yield served


def told_beyond(text: str, *known: Any) -> set[str]:
    """The names of the schema in an answer that are not in what was expected."""
    return set(re.findall(r"\w+", text)) & NAMES - set(re.findall(r"\w+", str(known)))


@pytest.mark.parametrize(
    ("query", "variables", "message"),
    [
        ("{ hallo }", None, NO_FIT),
        ("{ leaf }", None, NO_FIT),
        ("{ hello { lol } }", None, NO_FIT),
        ("{ leaf { IAmWrongField } }", None, NO_FIT),
        ("{ even }", None, NO_FIT),
        ("{ hello(nome: 1) }", None, NO_FIT),
        ("{ hello(name: 42) }", None, NO_FIT),
        ("{ painted(colour: REDD) }", None, NO_FIT),
        ("{ patched(patch: {sise: 1}) }", None, NO_FIT),
        ("{ patched(patch: {note: null}) }", None, NO_FIT),
        ("{ chosen(choice: {left: 1, right: 2}) }", None, NO_FIT),
        ("{ even(value: 5) }", None, NO_FIT),
        ("{ clean(value: 5) }", None, NO_FIT),
        ("{ ... on Quer { hello } }", None, NO_FIT),
        ("{ leaf { ... on Patch { note } } }", None, NO_FIT),
        ("{ hello @skipp }", None, NO_FIT),
        ("{ hello @skip(iff: true) }", None, NO_FIT),
        ("{ a: hello a: leaf { name } }", None, NO_FIT),
        ("query($v: Strin) { hello(name: $v) }", {}, NO_FIT),
        ("query($v: Float) { hello(name: $v) }", {}, NO_FIT),
        ("query($v: Leaf) { hello(name: $v) }", {}, NO_FIT),
        ("subscription { count forever }", None, NO_FIT),
        ("mutation { ... @defer { record(call: 1) } }", None, NO_FIT),
        (EVEN, {}, f"{VARIABLE}: {NO_FIT}"),
        (EVEN, {"v": None}, f"{VARIABLE}: {NO_FIT}"),
        (EVEN, {"v": 5}, f"{VARIABLE}: {NO_FIT}"),
        (PAINTED, {"v": "REDD"}, f"{VARIABLE}: {NO_FIT}"),
        (PATCHED, {"v": 1}, f"{VARIABLE}: {NO_FIT}"),
        (PATCHED, {"v": {"sise": 1}}, f"{VARIABLE}: {NO_FIT}"),
        (PATCHED, {"v": {"size": "large"}}, f"{VARIABLE} at .size: {NO_FIT}"),
        (CHOSEN, {"v": {}}, NO_FIT),
        (CHOSEN, {"v": {"left": "right"}}, f"{VARIABLE} at .left: {NO_FIT}"),
        (LEAVES, {"v": None}, "Argument 'count' cannot take what its variables hold: is one of them null?"),
        # what is wrong with the text alone is nobody's secret
        ("query($v: Int) { hello }", {}, "Variable '$v' is never used."),
        ("{ hello(name: $v) }", {}, "Variable '$v' is not defined."),
        ("{ ...F }", {}, "Unknown fragment 'F'."),
        ("{ nope ...F }", {}, "Unknown fragment 'F'."),
        ("{ hello } { hello }", {}, "This anonymous operation must be the only defined operation."),
        ('{ hello(name: "a", name: "b") }', {}, "There can be only one argument named 'name'."),
    ],
)  # fmt: skip
async def test_they_are_told_where_and_no_name_of_the_schemas(
    veiled: Served, query: str, variables: Any, message: str
) -> None:
    # given
    veiled.toy.reset()
    body = {"query": query, "variables": variables}

    # when
    posted = [await veiled.post(body, accept=accept) for accept in ("application/json", GRAPHQL_JSON, SSE)]
    async with veiled.socket() as socket:
        await socket.subscribe(query, variables=variables)
        heard = await socket.hear()

    # then
    errors = posted[0].json()["errors"]
    assert errors[0]["message"] == message
    assert sum(NO_FIT in error["message"] for error in errors) <= 1
    for text in (str(heard), *(each.text for each in posted)):
        assert told_beyond(text, body, message) == set()
        assert message.partition(":")[0] in text


async def test_each_is_told_their_own_of_one_document(veiled: Served) -> None:
    """What is kept of a document is kept for both."""
    for query, variables, full in (
        ("{ leaf }", {}, "Field 'leaf' of type 'Leaf!' must have a selection of subfields."),
        ("{ leaf { nope } }", {}, "Cannot query field 'nope' on type 'Leaf'."),
        (PAINTED, {"v": "BLEU"}, f"{VARIABLE}: Value 'BLEU' does not exist in 'Colour' enum."),
    ):
        # given
        veiled.toy.reset()
        body = {"query": query, "variables": variables}

        # when
        answers = []
        for generation in (0, 1, 0, 1):
            veiled.toy.context.generation = generation
            answers.append((await veiled.post(body)).json()["errors"][0]["message"])

        # then
        assert answers[1::2] == [full] * 2
        assert [NO_FIT in each for each in answers] == [True, False, True, False]


async def test_one_document_tests_one_guess(veiled: Served) -> None:
    # given
    veiled.toy.reset()

    # when
    guessed = await veiled.post({"query": "{ hello nope nada nil }"})
    fields = await veiled.post({"query": PATCHED, "variables": {"v": {"nope": 1, "nada": 2}}})

    # then: at the first that is not there
    (error,) = guessed.json()["errors"]
    assert error == {
        "message": NO_FIT,
        "locations": [{"line": 1, "column": 9}],
        "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"},
    }
    assert len(fields.json()["errors"]) == 1


async def test_a_guess_costs_more_than_a_mistake_of_those_who_may_read() -> None:
    async def statuses(served: Served, body: dict[str, Any], caller: str) -> list[int]:
        answers = [await served.post(body, accept=GRAPHQL_JSON, authorization=caller) for _ in range(4)]
        return [answer.status_code for answer in answers]

    guess, variable = {"query": "{ nope }"}, {"query": EVEN, "variables": {"v": 5}}
    async with serving(rate_limit=RateLimit(3 * COST_OF_A_REFUSAL), may_introspect=may_introspect) as served:
        served.toy.context.generation = 1
        assert await statuses(served, guess, "reader") == [422, 422, 422, 422]
        assert (await served.post(guess, authorization="reader")).status_code == 429
    async with serving(rate_limit=RateLimit(3 * COST_OF_A_GUESS + 10), may_introspect=may_introspect) as served:
        assert await statuses(served, guess, "guesser") == [422, 422, 422, 422]
        assert (await served.post(guess, authorization="guesser")).status_code == 429
        assert await statuses(served, variable, "another") == [422, 422, 422, 422]
        assert (await served.post(variable, authorization="another")).status_code == 429
