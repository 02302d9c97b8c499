"""Deferred fragments of many objects: told of at once, completed together, and graphql-core's where anything is odd."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
import strawberry
from graphql import parse
from graphql.execution import ExperimentalIncrementalExecutionResults
from strawberry.schema.config import StrawberryConfig

from schema.fields import resolved
from schema.plain_fields import PlainFields
from schema.plans import Plans
from schema.program import Program
from tests.schema.plans.comparing import Comparison, InParts, operations, seen

SECONDS = 20


class Calls:
    """The context of an operation: what happens to the price of the second of three items, and what was called."""

    def __init__(self, odd: str | None = None) -> None:
        self.odd = odd
        self.together: list[int] = []
        self.alone = 0
        self.begun = asyncio.Event()
        self.release = asyncio.Event()
        self.stopped = asyncio.Event()

    def price(self, name: str) -> Any:
        if self.odd == "broken" and name == "b":
            raise ValueError("broken")
        return None if self.odd == "null" and name == "b" else Price(amount=len(name))


@strawberry.type
class Price:
    amount: int


Info = strawberry.Info[Calls, None]


async def _prices(info: Info, items: "list[Item]") -> list[Any]:
    info.context.together.append(len(items))
    if info.context.odd == "cancelled":
        raise asyncio.CancelledError
    return [info.context.price(each.name) for each in items]


async def _held(info: Info, items: "list[Item]") -> list[str]:
    info.context.begun.set()
    try:
        await info.context.release.wait()
    finally:
        info.context.stopped.set()
    return [each.name for each in items]


@strawberry.type
class Item:
    name: str
    size: int = 1

    @resolved("Read together.", together=_prices)
    async def price(self, info: Info) -> Price:
        info.context.alone += 1
        price: Price = info.context.price(self.name)
        return price

    @resolved("Read together, once it is released.", together=_held)
    async def held(self, info: Info) -> str:
        return (await _held(info, [self]))[0]

    @strawberry.field
    async def later(self) -> str:
        return self.name


@strawberry.type
class Shelf:
    items: list[Item]

    @strawberry.field
    async def label(self) -> str:
        raise ValueError("no label")


@strawberry.type
class Query:
    @strawberry.field
    def items(self) -> list[Item | None]:
        return [Item(name=name) for name in "abc"]

    @strawberry.field
    def sized(self) -> list[Item | None]:
        return [Item(name="a"), Item(name="b", size=2**40), Item(name="c")]

    @strawberry.field
    def shelf(self) -> Shelf | None:
        return Shelf(items=[Item(name="a")])


SCHEMA = strawberry.Schema(query=Query, config=StrawberryConfig(enable_experimental_incremental_execution=True))


class Document:
    """One document with its plans."""

    def __init__(self, text: str) -> None:
        self._document = parse(text)
        self.plans = Plans(PlainFields(SCHEMA), self._document)
        self._program = Program(SCHEMA._schema, self.plans, self._document, operations(self._document)[0])

    async def warm(self) -> None:
        """Run it until all that can be compiled is."""
        for _ in range(3):
            calls = Calls()
            calls.release.set()
            await seen(self._program.executor(calls, {}, {}, max_errors=5))

    async def begin(self, calls: Calls) -> ExperimentalIncrementalExecutionResults:
        executor: Any = self._program.executor(calls, {}, {}, max_errors=5)
        result = executor.execute_operation()
        if executor.is_awaitable(result):
            result = await result
        assert isinstance(result, ExperimentalIncrementalExecutionResults)
        return result

    async def answer(self, calls: Calls) -> InParts:
        await self.warm()
        found = await seen(self._program.executor(calls, {}, {}, max_errors=5))
        assert isinstance(found, InParts)
        return found

    async def expected(self, calls: Calls) -> Any:
        """What graphql-core answers alone, and the plans as well."""
        (found,) = await Comparison(SCHEMA).run(self._document, {}, calls)
        return found


async def test_all_objects_are_read_by_one_call_once_the_first_part_is_told() -> None:
    # given
    document = Document('{ items { name ... @defer(label: "cost") { price { amount } } } }')
    await document.warm()
    calls = Calls()

    # when
    result = await document.begin(calls)

    # then
    first = result.initial_result
    assert first.data == {"items": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}
    assert [each.formatted for each in first.pending] == [
        {"id": str(number), "path": ["items", number], "label": "cost"} for number in range(3)
    ]
    assert calls.together == []
    (part,) = [each async for each in result.subsequent_results]
    assert part.formatted == {
        "hasNext": False,
        "incremental": [{"data": {"price": {"amount": 1}}, "id": str(number)} for number in range(3)],
        "completed": [{"id": str(number)} for number in range(3)],
    }
    assert (calls.together, calls.alone) == ([3], 0)


async def test_a_fragment_does_not_wait_for_another() -> None:
    # given
    document = Document("{ items { ... @defer { held } ... @defer { price { amount } } ... @defer { size } } }")
    await document.warm()
    calls = Calls()

    # when one of three fragments is held
    result = await document.begin(calls)
    async with aclosing(result.subsequent_results) as parts:
        async with asyncio.timeout(SECONDS):
            there, read = await anext(parts), await anext(parts)
            calls.release.set()
            rest = [each async for each in parts]

    # then the others come before it, what needs no reading first
    assert [each.data for each in there.incremental or ()] == [{"size": 1}] * 3  # type: ignore[union-attr]
    assert [each.id for each in there.completed or ()] == ["2", "5", "8"]
    assert [each.id for each in read.completed or ()] == ["1", "4", "7"]
    assert [[each.id for each in part.completed or ()] for part in rest] == [["0", "3", "6"]]
    assert [there.has_next, read.has_next, rest[0].has_next] == [True, True, False]


async def test_who_leaves_stops_the_reading() -> None:
    # given
    document = Document("{ items { name ... @defer { held } } }")
    await document.warm()
    calls = Calls()
    result = await document.begin(calls)
    part = asyncio.ensure_future(anext(result.subsequent_results))
    async with asyncio.timeout(SECONDS):
        await calls.begun.wait()

        # when
        part.cancel()
        with pytest.raises(asyncio.CancelledError):
            await part

        # then
        await calls.stopped.wait()
    assert not calls.release.is_set()


async def test_who_leaves_between_two_parts_stops_the_reading() -> None:
    # given
    document = Document("{ items { ... @defer { name } ... @defer { held } } }")
    await document.warm()
    calls = Calls()
    result = await document.begin(calls)
    async with aclosing(result.subsequent_results) as parts, asyncio.timeout(SECONDS):
        assert (await anext(parts)).has_next
        await calls.begun.wait()

        # when
        await parts.aclose()

        # then
        await calls.stopped.wait()
    assert not calls.release.is_set()


async def test_who_leaves_after_the_first_part_has_nothing_read() -> None:
    document = Document("{ items { name ... @defer { held } } }")
    await document.warm()
    calls = Calls()
    result = await document.begin(calls)
    await result.subsequent_results.aclose()
    assert not calls.begun.is_set()


@pytest.mark.parametrize("odd", ["null", "broken", "cancelled"])
async def test_what_fails_is_answered_object_by_object(odd: str) -> None:
    # given
    document = Document("{ items { name ... @defer { price { amount } } } }")
    calls = Calls(odd)
    # when
    answer = await document.answer(calls)
    # then
    assert (calls.together, calls.alone) == ([3], 3)
    expected = await document.expected(Calls(odd))
    assert (answer.first, answer.entries()) == (expected.first, expected.entries())
    failed = [entry for entry in answer.entries() if entry.startswith("completed") and "ValueError" in entry]
    assert len(failed) == (odd == "broken")


@pytest.mark.parametrize("odd", [None, "null", "broken"])
async def test_what_the_first_part_reads_together(odd: str | None) -> None:
    # given a page that reads something before it defers the rest
    document = Document("{ items { price { amount } ... @defer { name } } other: items { ... @defer { size } } }")
    calls = Calls(odd)
    # when
    answer = await document.answer(calls)
    # then what failed has no part, and all others are told of once, in their order
    expected = await document.expected(Calls(odd))
    assert (answer.first, answer.entries()) == (expected.first, expected.entries())
    assert len(answer.first["pending"]) == (6 if odd is None else 5)


@pytest.mark.parametrize(
    "text",
    [
        # below what becomes null
        "{ shelf { label items { ... @defer { price { amount } } } } items { ... @defer { name } } }",
        # an object that cannot be completed, in the first part and after it
        "{ sized { size ... @defer { price { amount } } } }",
        "{ sized { name ... @defer { size } } }",
        # what has to be called for each, what is deferred again, and what is deferred twice
        "{ items { name ... @defer { later price { amount } } } }",
        "{ items { ... @defer { name ... @defer { price { amount } } } } }",
        "{ items { ... @defer { price { ... @defer { amount } } } } }",
        "{ items { ... @defer { name size } ... @defer { name price { amount } } } }",
        "{ items { price { amount } ... @defer { price { amount cost: amount } } } }",
        # what is there anyhow, and nothing but deferred fragments
        "{ items { name ... @defer { name } ... @defer(if: false) { size } ... @defer { price { amount } } } }",
        "{ items { ... @defer { ...All } } } fragment All on Item { name price { amount } }",
        # beside what graphql-core defers
        "{ items { name ... @defer { price { amount } } } ... @defer { other: items { name } } }",
        "{ shelf { items { ... @defer { price { amount } } } } ... @defer { items { name ... @defer { size } } } }",
    ],
)
async def test_all_is_told_as_graphql_core_tells_it(text: str) -> None:
    document = Document(text)
    answer = await document.answer(Calls())
    expected = await document.expected(Calls())
    assert (answer.first, answer.entries()) == (expected.first, expected.entries())
