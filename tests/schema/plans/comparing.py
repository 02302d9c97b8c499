"""One document, run by graphql-core alone and with plans: everything that a client can see of both."""

import json
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

    async def run(self, document: DocumentNode, variables: dict[str, Any], context: Any) -> Any:
        """What graphql-core answers to each operation, if the plans answer the same."""
        return [await self._run(document, each, variables, context) for each in operations(document)]

    async def _run(
        self, document: DocumentNode, operation: OperationDefinitionNode, variables: dict[str, Any], context: Any
    ) -> Any:
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
        plans = Plans(self._fields, document)
        program = Program(self._schema, plans, document, operation)
        for _ in range(TIMES):
            assert await seen(program.execution(context, variables, {}, max_errors=5)) == expected
        self.used += plans.used
        self.abandoned += plans.abandoned
        return expected


def operations(document: DocumentNode) -> list[OperationDefinitionNode]:
    """Those that are answered once."""
    found = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    return [each for each in found if each.operation is not OperationType.SUBSCRIPTION]


async def seen(executor: Any) -> Any:
    """The result of an operation, or its frames, with the order of the names in objects."""
    if isinstance(executor, list):
        return [shown(error) for error in executor]
    result = executor.execute_operation()
    if executor.is_awaitable(result):
        result = await result
    if not isinstance(result, ExperimentalIncrementalExecutionResults):
        return [json.dumps(result.data, default=written), errors_of(result.errors)]
    first = result.initial_result
    frames: list[Any] = [
        [json.dumps(first.data, default=written), errors_of(first.errors), [p.formatted for p in first.pending]]
    ]
    async for frame in result.subsequent_results:
        frames.append(
            [
                frame.has_next,
                [pending.formatted for pending in frame.pending or ()],
                [
                    [
                        part.id,
                        part.sub_path,
                        json.dumps(getattr(part, "data", None), default=written),
                        errors_of(part.errors),
                    ]
                    for part in frame.incremental or ()
                ],
                [[done.id, errors_of(done.errors)] for done in frame.completed or ()],
            ]
        )
    return frames


def written(value: Any) -> str:
    """What is made of a value that is no JSON: plans leave times in UTC to whoever writes the answer."""
    return show_time(value) if isinstance(value, datetime) and value.tzinfo is UTC else repr(value)


def errors_of(errors: list[GraphQLError] | None) -> list[Any]:
    return [shown(error) for error in errors or ()]


def shown(error: GraphQLError) -> Any:
    cause = type(error.original_error).__name__
    return [error.message, error.path, error.locations and [*error.locations], error.extensions, cause]
