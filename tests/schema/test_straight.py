"""Queries and mutations of one field, past graphql-core: what they answer is held by the differential tests; here is
how."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import strawberry
from graphql import OperationDefinitionNode, parse

from schema.execution import PlanExecutor
from schema.plain_fields import PlainFields
from schema.plans import Plans
from schema.program import Program
from schema.straight import Straight
from tests.schema.plans.comparing import seen


@strawberry.type
class Box:
    name: str
    size: int = 1

    @strawberry.field
    async def later(self) -> str:
        return f"later {self.name}"


@strawberry.input
class Wanted:
    name: str = "plain"
    tags: list[str] | None = None


@dataclass
class Asked:
    """The context: how the field answers, and what it was asked."""

    answer: Callable[[], Any] = lambda: Box(name="a")
    calls: list[tuple[Any, ...]] = field(default_factory=list)


Info = strawberry.Info[Asked, None]


@strawberry.type
class Query:
    @strawberry.field
    async def box(
        self, info: Info, first: int | None = 7, wanted: Wanted | None = None, on: bool = False
    ) -> Box | None:
        info.context.calls.append((first, wanted, on))
        found: Box | None = info.context.answer()
        return found

    @strawberry.field
    def sure(self, info: Info) -> Box:
        info.context.calls.append(())
        found: Box = info.context.answer()
        return found

    @strawberry.field
    def plain(self) -> str:
        return "plain"


@strawberry.type
class Mutation:
    @strawberry.field
    async def change(self, info: Info) -> Box | None:
        info.context.calls.append(())
        found: Box | None = info.context.answer()
        return found


SCHEMA = strawberry.Schema(query=Query, mutation=Mutation)
FIELDS = PlainFields(SCHEMA)


def program(text: str) -> Program:
    document = parse(text)
    (operation,) = (each for each in document.definitions if isinstance(each, OperationDefinitionNode))
    return Program(SCHEMA._schema, Plans(FIELDS, document), document, operation)


async def answers(asked: Program, context: Asked, times: int = 3, **variables: Any) -> list[Any]:
    return [await seen(asked.execution(context, variables, {}, max_errors=5)) for _ in range(times)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ box { name } }", Straight),
        ("{ a: box { ...Named } } fragment Named on Box { name }", Straight),
        ("query ($no: Boolean!) { box { name } plain @include(if: $no) }", Straight),
        ("mutation { change { name } }", Straight),
        ("mutation { a: change { name } b: change { name } }", PlanExecutor),
        ("{ box { name } plain }", PlanExecutor),
        ("{ box { name } box { size } }", PlanExecutor),
        ("{ plain }", PlanExecutor),
        ("{ __typename }", PlanExecutor),
    ],
)
def test_what_goes_straight(text: str, expected: type) -> None:
    assert isinstance(program(text).execution(Asked(), {"no": False}, {}, max_errors=5), expected)


@pytest.mark.parametrize("text", ["{ box { name } }", "mutation { box: change { name } }"])
async def test_from_the_third_time_on_a_plan_makes_the_answer(text: str) -> None:
    # given
    asked, context = program(text), Asked()
    # when
    found = await answers(asked, context)
    # then
    assert found == [['{"box": {"name": "a"}}', []]] * 3
    assert len(context.calls) == 3
    assert (asked.plans.used, asked.plans.abandoned) == (2, 0)


@pytest.mark.parametrize(
    "text", ["{ box { name } }", "{ sure { name } }", "{ box { later name } }", "mutation { change { later name } }"]
)
@pytest.mark.parametrize("odd", [None, Box(name=3), object(), ValueError("odd")])  # type: ignore[arg-type]
async def test_whatever_the_field_answers_it_is_called_once(text: str, odd: Any) -> None:
    # given a document with its plans
    asked, context = program(text), Asked()
    await answers(asked, context)
    # when the field answers something else
    alone, other = Asked(answer=lambda: odd), Asked(answer=lambda: odd)
    expected = await seen(asked.executor(alone, {}, {}, max_errors=5))
    # then the answer is graphql-core's
    assert await answers(asked, other, times=1) == [expected]
    assert len(other.calls) == len(alone.calls) == 1


@pytest.mark.parametrize("text", ["{ a: box { name } }", "mutation { a: change { name } }"])
async def test_what_the_field_raises_is_told_where_it_is(text: str) -> None:
    def broken() -> Any:
        raise RuntimeError("broken")

    context = Asked(answer=broken)
    found = await answers(program(text), context)
    assert [errors[0][:2] for _, errors in found] == [["broken", ["a"]]] * 3
    assert len(context.calls) == 3


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        ("", {}, (7, None, False)),
        ("first: $first", {"first": 3}, (3, None, False)),
        ("first: $first", {"first": None}, (None, None, False)),
        ("first: $first", {}, (7, None, False)),
        ("wanted: {name: $name}", {"name": "x"}, (7, Wanted(name="x"), False)),
        (
            'wanted: {name: $name, tags: [$tag, "b"]}',
            {"name": "x", "tag": "a"},
            (7, Wanted(name="x", tags=["a", "b"]), False),
        ),
        ("wanted: $wanted, on: true", {"wanted": {"tags": ["c"]}}, (7, Wanted(tags=["c"]), True)),
        ("wanted: {}", {}, (7, Wanted(), False)),
    ],
)
async def test_arguments_are_those_of_graphql_core(
    arguments: str, variables: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    declared = [each for each in DECLARED if f"${each.partition(':')[0]}" in arguments]
    head = f"query ({', '.join(f'${each}' for each in declared)})" if declared else "query"
    asked, context = program(f"{head} {{ box{f'({arguments})' if arguments else ''} {{ name }} }}"), Asked()
    await answers(asked, context, **variables)
    assert context.calls == [expected] * 3


DECLARED = ("first: Int", "name: String!", "tag: String!", "wanted: Wanted")


async def test_wrong_variables_are_told_as_graphql_core_does() -> None:
    asked = program("query ($first: Int) { box(first: $first) { name } }")
    wrongs: list[Any] = ["3", 2**31, 1.5, True, [1, 2], {}]
    for wrong in wrongs:
        (errors,) = await answers(asked, Asked(), times=1, first=wrong)
        assert "got invalid value" in errors[0][0] or "invalid value" in errors[0][0], errors
