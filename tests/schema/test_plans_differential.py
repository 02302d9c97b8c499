"""With plans and without, answers and errors are the same, to the letter: for every document of the repository, and for
drawn ones, of which `make plans` runs 5,000. What is deferred may come in other payloads, with the same in them."""

import os
from typing import Any

import pytest
from graphql import parse, validate

from schema.plain_fields import PlainFields
from schema.plans import Plans
from schema.program import Program
from tests.schema.plans.comparing import Comparison, operations, seen
from tests.schema.plans.corpus import in_tests, shown, variables
from tests.schema.plans.drawing import Draw
from tests.schema.plans.nasty import nasty_schema
from tests.schema.plans.views import schema_over_views

# graphql-core cancels what stands beside a failure, and some of that has not begun.
pytestmark = pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
CASES = int(os.environ.get("NEXTFIRE_PLAN_CASES", "150"))
ODD = (0.0, 0.02, 0.08)
"""Which shares of the values are not what their field promises."""
COMPILED = frozenset(
    {"box", "boxes", "inner", "label", "tag", "flag", "upper", "note", "known", "text", "loud", "following"}
)
"""Fields below which all that is deferred has plans of its own."""


@pytest.mark.parametrize("odd", ODD)
async def test_drawn_documents_over_the_schema(odd: float) -> None:
    schema = schema_over_views(odd)
    comparison = Comparison(schema)
    ran = await compare(comparison, schema._schema, contexts=lambda seed: seed)
    assert ran > CASES / 12
    assert comparison.used > ran


@pytest.mark.parametrize("odd", ODD)
async def test_drawn_documents_over_what_must_not_be(odd: float) -> None:
    schema = nasty_schema()
    comparison = Comparison(schema)
    ran = await compare(comparison, schema._schema, contexts=lambda seed: (seed, odd))
    assert ran > CASES / 12
    assert comparison.used > ran
    assert comparison.abandoned > 0


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("names", [None, COMPILED])
async def test_drawn_documents_that_defer_a_lot(odd: float, names: frozenset[str] | None) -> None:
    schema = nasty_schema()
    comparison = Comparison(schema)
    ran = await compare(comparison, schema._schema, lambda seed: (seed, odd), fragments=0.2, deferred=0.5, names=names)
    assert comparison.in_parts > ran
    # nearly all come in the same payloads, too
    assert comparison.other_payloads < comparison.in_parts / 5


async def compare(comparison: Comparison, schema: Any, contexts: Any, **drawing: Any) -> int:
    """How many of a sixth of the cases were documents, all answered the same."""
    ran = 0
    for seed in range(CASES // 6):
        draw = Draw(schema, seed, **drawing)
        document = parse(draw.document())
        if validate(schema, document):  # two mentions of a name that do not go together
            continue
        others = [(draw.other_variables(), contexts(each)) for each in (seed, seed + 1, seed)]
        await comparison.run(document, draw.variables, contexts(seed), *others)
        ran += 1
    return ran


async def test_one_fragment_deferred_here_and_not_there() -> None:
    schema = nasty_schema()
    comparison = Comparison(schema)
    document = parse(
        """
        { a: boxes { ...Part @defer } b: boxes { ...Part } c: boxes { ... @defer { inner { ...Part } } ...Part } }
        fragment Part on Box { label inner { label inner { upper ... @defer(label: "deep") { flag boxes { flag } } } } }
        """
    )
    assert validate(schema._schema, document) == []
    for seed in range(5):
        await comparison.run(document, {}, (seed, 0.02))
    assert comparison.used > 0


async def test_what_is_read_together_below_a_selection_with_holes() -> None:
    schema = nasty_schema()
    comparison = Comparison(schema)
    document = parse("{ boxes { holds { ... on Dog { puppies { name } } } boxes { note { text } flag } } }")
    assert validate(schema._schema, document) == []
    for seed in range(20):
        await comparison.run(document, {}, (seed, 0.0))
    assert comparison.used > 0


NULL_CONDITIONS = (
    "box @include(if: $x) { label }",
    "... @include(if: $x) { box { label } }",
    "box { label @skip(if: $x) }",
    "box { label inner { label @include(if: $x) } }",
    "boxes { label inner { label inner { label @skip(if: $x) } } }",
    "boxes { label inner { label ... @defer(if: $x) { flag } } }",
    "boxes { label ... @defer { inner { label @skip(if: $x) } } }",
    "pets { ... on Dog { puppies { name @include(if: $x) } } }",
)


@pytest.mark.parametrize("selection", NULL_CONDITIONS)
async def test_null_for_a_condition_that_has_a_default(selection: str) -> None:
    schema = nasty_schema()
    comparison = Comparison(schema)
    document = parse(f"query ($x: Boolean = true) {{ {selection} }}")
    assert validate(schema._schema, document) == []
    (answer,) = await comparison.run(document, {"x": None}, (3, 0.0))
    assert "Argument 'if' has invalid value" in str(answer)
    await comparison.run(document, {}, (3, 0.0))


async def test_null_for_a_condition_that_others_left_out() -> None:
    schema = nasty_schema()
    comparison = Comparison(schema)
    document = parse("query ($x: Boolean) { boxes { label ... @defer(if: $x) { flag } } }")
    assert validate(schema._schema, document) == []
    null: dict[str, Any] = {"x": None}
    for first, other in ((null, {}), ({}, null)):
        await comparison.run(document, first, (3, 0.0), (other, (3, 0.0)), (first, (3, 0.0)))
    assert comparison.in_parts > 0


async def test_a_condition_that_is_something_else_in_another_operation() -> None:
    schema = nasty_schema()
    comparison = Comparison(schema)
    document = parse(
        """
        query A($x: Boolean!) { box @include(if: $x) { label } }
        query B($x: Wish) { wished(wish: $x) { text } }
        """
    )
    assert validate(schema._schema, document) == []
    for value in (True, {"names": ["a", None]}):
        answers = await comparison.run(document, {"x": value}, (3, 0.0))
        assert len([each for each in answers if each[1:] == [[]]]) == 1
    assert comparison.used > 0


async def test_null_for_an_argument_of_what_is_read_together() -> None:
    schema = nasty_schema()
    comparison = Comparison(schema)
    document = parse("query ($loud: Boolean = true) { boxes { note(loud: $loud) { text } } }")
    assert validate(schema._schema, document) == []
    for seed in (546, *range(10)):  # of the first, a box later than others has no plan
        (answer,) = await comparison.run(document, {"loud": None}, (seed, 0.02))
        assert "Argument 'loud' has invalid value" in str(answer)
        assert "['boxes', 0, 'note']" in str(answer)


@pytest.mark.parametrize("odd", [0.0, 0.05])
async def test_every_document_of_the_repository(odd: float) -> None:
    schema = schema_over_views(odd)
    documents = [*shown(schema._schema), *in_tests(schema._schema)]
    comparison = Comparison(schema)
    for number, document in enumerate(documents):
        await comparison.run(document, variables(schema._schema, document), number)
    assert len(documents) > 80
    assert comparison.used > len(documents)


async def test_what_is_shown_to_clients_runs_by_plans() -> None:
    # given
    schema = schema_over_views(0.0)
    fields = PlainFields(schema)
    documents = shown(schema._schema)
    assert any(operations(each) for each in documents)
    for document in documents:
        plans = Plans(fields, document)
        for operation in operations(document):
            program = Program(schema._schema, plans, document, operation)
            # when it is run again and again
            for context in range(8):
                given = variables(schema._schema, document)
                await seen(program.execution(context, given, {}, max_errors=5))
            # then its objects are completed by plans, and none is left to graphql-core
            assert plans.used > 0
            assert plans.abandoned == 0
