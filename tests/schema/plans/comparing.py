"""One document, run by graphql-core alone and with plans: everything that a client can see of both.

What is deferred comes in the same entries, in as many payloads as there are moments at which some are there. Those
moments are of each execution's own.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import strawberry
from graphql import DocumentNode, GraphQLError, OperationDefinitionNode, OperationType
from graphql.execution import ExperimentalIncrementalExecutionResults
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from schema.plain_fields import PlainFields
from schema.plans import Plans
from schema.program import Program
from schema.scalars import show_time

TIMES = 3
"""How often a document is run with plans: the first time graphql-core completes most of it, the third time none."""


class Comparison:
    """Runs documents both ways."""

    def __init__(self, schema: strawberry.Schema) -> None:
        self._schema = schema._schema
        self._fields = PlainFields(schema)
        self.used = 0
        self.abandoned = 0
        self.in_parts = 0
        self.other_payloads = 0

    async def run(self, document: DocumentNode, variables: dict[str, Any], context: Any, *others: Any) -> Any:
        """What graphql-core answers to each operation, if the plans answer the same.

        `others` are pairs of other variables and contexts, for which the same plans are used.
        """
        plans = Plans(self._fields, document)
        programs = [Program(self._schema, plans, document, each) for each in operations(document)]
        answers = [await self._run(document, each, variables, context, TIMES) for each in programs]
        for other_variables, other_context in others:
            for each in programs:
                await self._run(document, each, other_variables, other_context, 1)
        self.used += plans.used
        self.abandoned += plans.abandoned
        return answers

    async def _run(
        self, document: DocumentNode, program: Program, variables: dict[str, Any], context: Any, times: int
    ) -> Any:
        operation = program.operation
        alone = StrawberryGraphQLCoreExecutionContext.build(
            self._schema,
            document,
            context_value=context,
            operation_name=operation.name.value if operation.name else None,
            raw_variable_values=variables,
            is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]
            hide_suggestions=True,
            max_coercion_errors=5,
            operation_extensions={},
        )
        expected = await seen(alone)
        for _ in range(times):
            found = await seen(program.execution(context, variables, {}, max_errors=5))
            if isinstance(expected, InParts) and isinstance(found, InParts):
                self.in_parts += 1
                self.other_payloads += found != expected
                assert found.first == expected.first
                assert found.entries() == expected.entries()
            else:
                assert found == expected
        return expected


def operations(document: DocumentNode) -> list[OperationDefinitionNode]:
    """Those that are answered once."""
    found = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    return [each for each in found if each.operation is not OperationType.SUBSCRIPTION]


@dataclass(frozen=True)
class InParts:
    """An answer in parts: the first, and the payloads after it."""

    first: Any
    later: list[Any]

    def entries(self) -> list[str]:
        """All that is announced, told, and completed after the first part, by place and label; sorted.

        Fails where the payloads do not hang together.
        """
        announced = {each["id"]: each for each in self.first["pending"]}
        found = [f"announced {json.dumps(_place(each))}" for each in announced.values()]
        for payload in self.later:
            for each in payload["pending"]:
                assert each["id"] not in announced
                announced[each["id"]] = each
                found.append(f"announced {json.dumps(_place(each))}")
            for name, sub_path, data, errors in payload["incremental"]:
                path = [*announced[name]["path"], *(sub_path or [])]
                found.append(f"told {json.dumps([path, data, errors], default=repr)}")
            for name, errors in payload["completed"]:
                found.append(f"completed {json.dumps([_place(announced.pop(name)), errors], default=repr)}")
        assert [each["has_next"] for each in self.later] == [True] * (len(self.later) - 1) + [False]
        assert not announced
        return sorted(found)


def _place(announced: dict[str, Any]) -> Any:
    return [announced["path"], announced.get("label")]


async def seen(executor: Any) -> Any:
    """The result of an operation, or its payloads, with the order of the names in objects."""
    if isinstance(executor, list):
        return [shown(error) for error in executor]
    result = executor.execute_operation()
    if executor.is_awaitable(result):
        result = await result
    if not isinstance(result, ExperimentalIncrementalExecutionResults):
        return [json.dumps(result.data, default=written), errors_of(result.errors)]
    first = result.initial_result
    return InParts(
        {
            "data": json.dumps(first.data, default=written),
            "errors": errors_of(first.errors),
            "pending": [each.formatted for each in first.pending],
            "has_next": first.has_next,
        },
        [
            {
                "has_next": payload.has_next,
                "pending": [each.formatted for each in payload.pending or ()],
                "incremental": [
                    [
                        each.id,
                        each.sub_path,
                        json.dumps(getattr(each, "data", None), default=written),
                        errors_of(each.errors),
                    ]
                    for each in payload.incremental or ()
                ],
                "completed": [[each.id, errors_of(each.errors)] for each in payload.completed or ()],
            }
            async for payload in result.subsequent_results
        ],
    )


def written(value: Any) -> str:
    """What is made of a value that is no JSON: plans leave times in UTC to whoever writes the answer."""
    return show_time(value) if isinstance(value, datetime) and value.tzinfo is UTC else repr(value)


def errors_of(errors: list[GraphQLError] | None) -> list[Any]:
    return [shown(error) for error in errors or ()]


def shown(error: GraphQLError) -> Any:
    cause = type(error.original_error).__name__
    return [error.message, error.path, error.locations and [*error.locations], error.extensions, cause]
