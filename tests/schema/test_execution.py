"""What is compiled, and what becomes of it: the differential tests hold that it is right."""

import gc
import weakref
from typing import Any

import pytest
import strawberry
from graphql import OperationDefinitionNode, parse

from schema.build import answer_what_is_ready
from schema.fields import NOT_READ, NotRead, resolved
from schema.plain_fields import Attribute, Method, PlainFields, Ready
from schema.plans import MOST_CONDITIONS, Plans
from schema.program import Program
from tests.schema.plans.comparing import seen


@strawberry.type
class Leaf:
    name: str
    size: int = 1

    ready_twin: strawberry.Private[str | NotRead] = NOT_READ

    @resolved("Another one.", ready="ready_twin")
    async def twin(self) -> str:
        return f"asked of {self.name}"

    @strawberry.field
    def loud(self) -> str:
        return self.name.upper()

    @strawberry.field
    async def later(self) -> str:
        return f"later {self.name}"

    @strawberry.field
    def repeated(self, times: int = 2) -> str:
        return self.name * times


@strawberry.type
class Query:
    @strawberry.field
    def leaves(self, info: strawberry.Info[list[Leaf], None]) -> list[Leaf | None]:
        return [*info.context]


SCHEMA = strawberry.Schema(query=Query)
answer_what_is_ready(SCHEMA._schema)
FIELDS = PlainFields(SCHEMA)
NAMES = [Leaf(name="a"), Leaf(name="b"), Leaf(name="c")]


class Leaves(list[Any]):
    """A list that one can tell of whether it is still there."""


class Document:
    """One document, run again and again with its plans."""

    def __init__(self, text: str) -> None:
        document = parse(text)
        (operation,) = (each for each in document.definitions if isinstance(each, OperationDefinitionNode))
        self.plans = Plans(FIELDS, document)
        self._program = Program(SCHEMA._schema, self.plans, document, operation)

    async def answer(self, leaves: list[Any], **variables: Any) -> Any:
        return await seen(self._program.executor(leaves, variables, {}, max_errors=5))


def test_plain_are_attributes_and_methods_of_self_alone() -> None:
    type_: Any = SCHEMA._schema.type_map["Leaf"]
    found = {name: FIELDS.field(type_, name) for name in type_.fields}
    assert found["name"] == Attribute("name", None)
    methods = {name: how.is_plain for name, how in found.items() if isinstance(how, Method)}
    assert methods == {"loud": True, "later": False}
    assert found["repeated"] is None
    assert found["twin"] == Ready("ready_twin")


async def test_a_list_is_completed_at_once_from_the_second_time_on() -> None:
    # given
    document = Document("{ leaves { name big: size loud __typename } }")

    # when
    first = await document.answer(NAMES)
    items = document.plans.used
    second = await document.answer(NAMES)

    # then the first answer has a plan for the second item and on, the second one for the list
    assert (items, document.plans.used) == (2, 3)
    assert first == second
    assert first[0].count('"loud": "A"') == 1


async def test_what_is_not_plain_is_filled_in_its_place() -> None:
    document = Document("{ leaves { later name repeated(times: 1) loud } }")
    answers = [await document.answer(NAMES[:1]) for _ in range(3)]
    # neither the list nor its item has a plan the first time, and the list has none at all
    assert document.plans.used == 2
    expected = '{"leaves": [{"later": "later a", "name": "a", "repeated": "a", "loud": "A"}]}'
    assert answers == [[expected, []]] * 3


async def test_what_an_operation_has_read_is_freed_with_its_answer() -> None:
    # given an operation whose plans are made, and nothing that looks for cycles
    document = Document("{ leaves { name later } }")
    leaves = Leaves(NAMES)
    kept = weakref.ref(leaves)
    gc.disable()
    try:
        for _ in range(3):
            await document.answer(leaves)
        # when nobody holds what it has read
        del leaves
        # then it is gone
        assert kept() is None
    finally:
        gc.enable()


async def test_what_is_ready_is_completed_with_the_list() -> None:
    # given
    document = Document("{ leaves { name twin } }")
    leaves = [Leaf(name="a", ready_twin="b"), Leaf(name="c", ready_twin="d")]
    for _ in range(2):
        await document.answer(leaves)
    used = document.plans.used
    # when
    data, _errors = await document.answer(leaves)
    # then
    assert data == '{"leaves": [{"name": "a", "twin": "b"}, {"name": "c", "twin": "d"}]}'
    assert document.plans.used == used + 1


async def test_what_is_not_ready_is_asked_for() -> None:
    # given plans that take the field for ready
    document = Document("{ leaves { name twin } }")
    for _ in range(3):
        await document.answer([Leaf(name="a", ready_twin="b")])
    # when
    answers = [await document.answer([Leaf(name="a", ready_twin="b"), Leaf(name="c")]) for _ in range(3)]
    # then what is there is taken, and nothing was odd
    expected = '{"leaves": [{"name": "a", "twin": "b"}, {"name": "c", "twin": "asked of c"}]}'
    assert answers == [[expected, []]] * 3
    assert document.plans.abandoned == 0


@pytest.mark.parametrize("odd", [None, 2**31, "1", ValueError("odd")])
async def test_what_is_unexpected_is_left_to_graphql_core(odd: Any) -> None:
    # given plans that have been used
    document = Document("{ leaves { name size } }")
    await document.answer(NAMES)
    await document.answer(NAMES)
    used = document.plans.used
    # when
    data, errors = await document.answer([NAMES[0], Leaf(name="odd", size=odd), NAMES[1]])
    # then the list and the item were given up, and the others were not
    whole = odd == "1"
    assert document.plans.abandoned == 2
    assert document.plans.used == used + 2
    assert ("null" in data, len(errors)) == ((False, 0) if whole else (True, 1))


async def test_conditions_have_plans_of_their_own_and_not_without_end() -> None:
    # given
    names = [f"v{number}" for number in range(5)]
    declared = ", ".join(f"${name}: Boolean!" for name in names)
    fields = " ".join(f"{name}: name @include(if: ${name})" for name in names)
    document = Document(f"query ({declared}) {{ leaves {{ size {fields} }} }}")

    # when
    for _ in range(2):
        for number in range(2**5):
            values = {name: bool(number >> place & 1) for place, name in enumerate(names)}
            data, _errors = await document.answer(NAMES, **values)
            # then
            assert [name for name in names if f'"{name}"' in data] == [name for name in names if values[name]]
    assert len(document.plans._plans) <= MOST_CONDITIONS
    assert document.plans.abandoned == 0


async def test_a_document_keeps_its_plans_and_nothing_of_an_answer() -> None:
    document = Document("{ leaves { ...Names later } } fragment Names on Leaf { name }")
    for _ in range(4):
        await document.answer(NAMES)
    before = {key: dict(known) for key, known in document.plans._plans.items()}
    for _ in range(4):
        await document.answer([Leaf(name="other")])
    assert document.plans._plans == before
