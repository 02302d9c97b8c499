"""Fields that are read together: one call for all objects of an answer, and methods where that fails."""

import json
from typing import Any

import pytest
import strawberry
from graphql import parse
from graphql.execution.collect_fields import FieldDetails
from strawberry.schema.config import StrawberryConfig

from benchmarks import documents
from schema import build_schema
from schema.compilation import Compiler
from schema.compiled import Selection
from schema.fields import NOT_READ, resolved
from schema.plain_fields import PlainFields
from schema.plans import Plans
from schema.program import Program
from tests.schema.plans.comparing import Comparison, operations, seen


class Calls:
    """The context of an operation: what happens to the price of the second of three items, and what was called."""

    def __init__(self, odd: str | None = None) -> None:
        self.odd = odd
        self.together: list[int] = []
        self.alone = 0

    def price(self, name: str, currency: str) -> Any:
        if self.odd is None or name != "b":
            return Price(amount=len(currency), currency=currency)
        if self.odd == "broken":
            raise ValueError("broken")
        return {"null": None, "class": object(), "exception": ValueError("held")}.get(self.odd)


@strawberry.type
class Price:
    amount: int
    currency: str

    @resolved("Known to the object.", known=lambda price, times=2: price.times(times))
    async def several(self, times: int = 2) -> int:
        return self.times(times)

    def times(self, times: int) -> int:
        if times > 9:
            raise ValueError("too many")
        return self.amount * times


async def _prices(info: strawberry.Info[Calls, None], items: "list[Item]", currency: str = "EUR") -> list[Any]:
    info.context.together.append(len(items))
    found = [info.context.price(each.name, currency) for each in items]
    return found[1:] if info.context.odd == "short" else found


@strawberry.type
class Item:
    name: str

    @resolved("Read together.", together=_prices)
    async def price(
        self, info: strawberry.Info[Calls, None], currency: str = "EUR", at: str | None = strawberry.UNSET
    ) -> Price:
        info.context.alone += 1
        price: Price = info.context.price(self.name, currency)
        return price

    @resolved("Known to no object.", known=lambda _: NOT_READ)
    async def unknown(self) -> str:
        return self.name


@strawberry.type
class Shelf:
    items: list[Item]

    @strawberry.field
    async def label(self) -> str:
        return "books"


@strawberry.type
class Query:
    @strawberry.field
    def items(self) -> list[Item | None]:
        return [Item(name=name) for name in "abc"]

    @strawberry.field
    def shelf(self) -> Shelf:
        return Shelf(items=[Item(name=name) for name in "abc"])


SCHEMA = strawberry.Schema(query=Query, config=StrawberryConfig(enable_experimental_incremental_execution=True))


async def asked(text: str, calls: Calls, variables: dict[str, Any] | None = None, *, times: int = 3) -> Any:
    """What the document is answered when it is run again and again, with what was called the last time."""
    document = parse(text)
    program = Program(SCHEMA._schema, Plans(PlainFields(SCHEMA), document), document, operations(document)[0])
    for _ in range(times):
        calls.together, calls.alone = [], 0
        answer = await seen(program.executor(calls, variables or {}, {}, max_errors=5))
    return answer


@pytest.mark.parametrize(
    "text",
    [
        "{ items { name price { amount currency several } } }",
        '{ items { price(currency: "DKK") { several(times: 3) } } }',
        "{ items { ...Priced } } fragment Priced on Item { price { amount } other: name }",
    ],
)
async def test_one_call_for_all(text: str) -> None:
    calls = Calls()
    answer = await asked(text, calls)
    assert (calls.together, calls.alone) == ([3], 0)
    assert [answer] == await Comparison(SCHEMA).run(parse(text), {}, Calls())


async def test_one_call_below_what_has_a_field_of_its_own_to_wait_for() -> None:
    text = "{ shelf { label items { price { amount } } } }"
    calls = Calls()
    answer = await asked(text, calls)
    assert (calls.together, calls.alone) == ([3], 0)
    assert [answer] == await Comparison(SCHEMA).run(parse(text), {}, Calls())


async def test_two_mentions_are_two_calls() -> None:
    calls = Calls()
    await asked('{ items { price { amount } other: price(currency: "X") { amount } } }', calls)
    assert (calls.together, calls.alone) == ([3, 3], 0)


@pytest.mark.parametrize("variables", [{"currency": "DKK", "times": 3}, {"currency": "X"}, {"times": 0}, {}])
async def test_arguments_may_stand_in_variables(variables: dict[str, Any]) -> None:
    text = """query ($currency: String! = "NOK", $times: Int) {
      items { price(currency: $currency) { amount several(times: $times) more: several(times: 2) } }
    }"""
    calls = Calls()
    answer = await asked(text, calls, variables)
    assert (calls.together, calls.alone) == ([3], 0)
    assert [answer] == await Comparison(SCHEMA).run(parse(text), variables, Calls())


async def test_each_operation_has_its_own_variables() -> None:
    document = parse("query ($times: Int!) { items { price { several(times: $times) } } }")
    program = Program(SCHEMA._schema, Plans(PlainFields(SCHEMA), document), document, operations(document)[0])
    for times in (1, 2, 3, 4):
        data, errors = await seen(program.executor(Calls(), {"times": times}, {}, max_errors=5))
        assert errors == []
        assert [item["price"]["several"] for item in json.loads(data)["items"]] == [3 * times] * 3
    assert program.plans.abandoned == 0


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ('{ items { price(at: "noon") { amount } } }', {}),
        ("query ($at: String) { items { price(at: $at) { amount } } }", {}),
        ("query ($at: String) { items { price(at: $at) { amount } } }", {"at": "noon"}),
    ],
)
async def test_the_method_answers_what_the_other_function_cannot(text: str, variables: dict[str, Any]) -> None:
    calls = Calls()
    answer = await asked(text, calls, variables)
    assert (calls.together, calls.alone) == ([], 3)
    assert [answer] == await Comparison(SCHEMA).run(parse(text), variables, Calls())


@pytest.mark.parametrize("odd", ["null", "class", "exception", "broken", "short"])
async def test_what_fails_is_answered_by_the_methods(odd: str) -> None:
    text = "{ items { name price { amount } } }"
    calls = Calls(odd)
    answer = await asked(text, calls)
    assert (calls.together, calls.alone) == ([3], 3)
    assert [answer] == await Comparison(SCHEMA).run(parse(text), {}, Calls(odd))


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("{ items { price { several(times: 10) } } }", {}),
        ("query ($times: Int) { items { price { several(times: $times) } } }", {"times": 10}),
        ("query ($times: Int = 2) { items { price { several(times: $times) } } }", {"times": None}),
        ('query ($currency: String = "X") { items { price(currency: $currency) { amount } } }', {"currency": None}),
    ],
)
async def test_an_argument_that_is_refused(text: str, variables: dict[str, Any]) -> None:
    answer = await asked(text, Calls(), variables)
    assert answer[1] != []
    assert [answer] == await Comparison(SCHEMA).run(parse(text), variables, Calls())


async def test_what_no_object_knows_is_asked_of_its_method() -> None:
    text = "{ items { unknown price { amount } } }"
    assert [await asked(text, Calls())] == await Comparison(SCHEMA).run(parse(text), {}, Calls())


@pytest.mark.parametrize(
    "text",
    [
        documents.PAGE,
        documents.LIVE_PAGE,
        documents.LIVE_PAGE.replace("nextFires(first: 3)", "nextFires(first: $first)"),
        documents.DEFERRED_PAGE,
        documents.LAST_RUN_PAGE,
        documents.LAST_THREE_PAGE,
        documents.LAST_THREE_PAGE.replace("runs(first: 3)", "runs(first: $first)"),
    ],
)
def test_a_whole_page_is_one_plan(text: str) -> None:
    schema = build_schema(schedules=True)
    document = parse(text)
    program = Program(schema._schema, Plans(PlainFields(schema), document), document, operations(document)[0])
    executor = program.executor(None, {"first": 50}, {}, max_errors=5)
    assert not isinstance(executor, list)
    page: Any = operations(document)[0].selection_set.selections[0]
    compiler = Compiler(PlainFields(schema), executor.collect_subfields, ready=True, together=True, defers=True)
    selection = compiler.of_type(schema._schema.type_map["ScheduleConnection"], [FieldDetails(page, None)])  # type: ignore[arg-type]
    assert isinstance(selection, Selection)
    assert selection.holes == ()
    assert selection.defers == ("@defer" in text)
