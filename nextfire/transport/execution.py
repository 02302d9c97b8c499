"""Runs one operation to its payloads, the same for every transport.

Strawberry's own `Schema.execute` and `Schema.stream` are not used: they take the first operation when none is
named, cannot tell a request error from a field error, log every error a second time, and let a deferred part
outlive the operation that it belongs to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import aclosing
from datetime import timedelta
from typing import Any, cast

import strawberry
from graphql import ExecutionResult, GraphQLError
from graphql.execution import (
    Executor,
    ExperimentalIncrementalExecutionResults,
    create_source_event_stream,
    execute_subscription_event,
    map_source_to_response_event,
)

from nextfire.transport.audiences import Audiences, Payloads
from nextfire.transport.documents import Documents, Operation
from nextfire.transport.frames import IncrementalFrames, Payload, result_payload
from nextfire.transport.masking import (
    BAD_USER_INPUT,
    TIMEOUT,
    JsonError,
    error_of,
    exception_errors,
    field_errors,
    request_errors,
    veiled_error,
)
from nextfire.transport.refusal import Misfit, Refused
from nextfire.transport.requests import GraphQLRequest
from nextfire.transport.trusted import TrustedDocuments
from resolvers.event_source import Source
from schema.limits import TOO_COMPLEX, Limits

DOCUMENTS_KEPT = 128
LARGEST_COST = 2**53
"""What is told of a cost that is larger: sizes in variables can make it one of a hundred digits."""

Refresh = Callable[[Any], Any]
"""Makes of a subscription's context the one for its next event: the same caller, nothing loaded yet."""


class Engine:
    """Runs the operations of one schema."""

    def __init__(
        self,
        schema: strawberry.Schema,
        limits: Limits,
        deadline: timedelta,
        refresh: Refresh | None,
        *,
        trusted: Mapping[str, str] | None = None,
        reports_cost: bool = False,
    ) -> None:
        if schema.extensions or schema.directives:
            raise ValueError("The endpoint runs no schema extensions, and no directives of Strawberry's.")
        self._limits = limits
        self._deadline = deadline
        self._refresh = refresh
        self._reports_cost = reports_cost
        self._trusted = TrustedDocuments(trusted)
        self._documents = Documents(schema, limits, size=max(DOCUMENTS_KEPT, len(trusted or ())))
        self._audiences = Audiences(refresh or (lambda context: context), deadline)

    @property
    def audiences(self) -> int:
        """How many kinds of subscriptions are open: those of one kind share their executions."""
        return len(self._audiences)

    def prepare(self, request: GraphQLRequest) -> Operation:
        """The valid operation that a request names."""
        return self._documents.operation(self._trusted.source(request), request.operation_name)

    def check_cost(self, operation: Operation, request: GraphQLRequest) -> int:
        """The cost of the operation with the variables of the request. Raises Refused where that is too much."""
        cost = min(operation.cost.of(request.variables), LARGEST_COST)
        if cost > self._limits.max_cost:
            message = (
                f"The operation costs {cost:,}, and at most {self._limits.max_cost:,} is allowed: "
                "ask for smaller pages, select less in them, or ask in several operations."
            )
            raise Refused(422, [error_of(message, TOO_COMPLEX, cost=self._cost(cost))])
        return cost

    async def run(
        self, operation: Operation, request: GraphQLRequest, context: Any, *, in_parts: bool = False
    ) -> Payload | AsyncGenerator[Payload, None]:
        """The result of a query or a mutation: one payload, or its parts when it may come in parts and does."""
        program = operation.program if in_parts else operation.at_once
        executor = program.execution(context, request.variables, request.extensions, max_errors=self._limits.max_errors)
        if isinstance(executor, list):
            raise _misfit(executor)
        deadline = asyncio.get_running_loop().time() + self._deadline.total_seconds()
        try:
            async with asyncio.timeout_at(deadline):
                result = executor.execute_operation()
                if executor.is_awaitable(result):
                    result = await result
        except TimeoutError:
            raise Refused(504, [self._too_late()]) from None
        if isinstance(result, ExperimentalIncrementalExecutionResults):
            return self._parts(result, deadline, self._extensions(operation, request))
        done = cast("ExecutionResult", result)
        return result_payload(done.data, done.errors) | self._extensions(operation, request)

    async def subscribe(self, operation: Operation, request: GraphQLRequest, context: Any) -> Payloads:
        """The payloads of a subscription, one for each event. Raises Refused when it fails to start, or fails."""
        executor = operation.at_once.executor(
            context, request.variables, request.extensions, max_errors=self._limits.max_errors
        )
        if isinstance(executor, list):
            raise _misfit(executor)
        source = create_source_event_stream(executor)
        if executor.is_awaitable(source):
            source = await source
        if isinstance(source, ExecutionResult):
            raise Refused(422, field_errors(source.errors or [], "graphql.subscribe"))
        if isinstance(source, Source):
            return self._audiences.join(operation, request, executor, source)
        return self._events(executor, cast("AsyncIterable[Any]", source))

    async def _parts(
        self, result: ExperimentalIncrementalExecutionResults, deadline: float, extensions: Payload
    ) -> AsyncGenerator[Payload, None]:
        frames = IncrementalFrames()
        yield frames.initial(result.initial_result) | extensions
        async with aclosing(result.subsequent_results) as parts:
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        part = await anext(parts, None)
                except TimeoutError:
                    yield frames.broken_off([self._too_late()])
                    return
                except Exception as error:  # the answer has begun: it can only end with an error
                    yield frames.broken_off(exception_errors(error, "graphql.defer"))
                    return
                if part is None:
                    return
                yield frames.subsequent(part)

    async def _events(self, executor: Executor[Any], source: AsyncIterable[Any]) -> AsyncGenerator[Payload, None]:
        def run_event(one: Executor[Any]) -> Any:
            if self._refresh is not None:
                one.context_value = self._refresh(one.context_value)
            return execute_subscription_event(one)

        try:
            async with aclosing(map_source_to_response_event(executor, source, run_event)) as results:
                async for result in results:
                    yield result_payload(result.data, result.errors)
        except Exception as error:
            raise Refused(500, exception_errors(error, "graphql.subscribe")) from error

    def _extensions(self, operation: Operation, request: GraphQLRequest) -> Payload:
        return {"extensions": {"cost": self._cost(operation.cost.of(request.variables))}} if self._reports_cost else {}

    def _cost(self, requested: int) -> dict[str, int]:
        return {"requested": requested, "limit": self._limits.max_cost}

    def _too_late(self) -> JsonError:
        seconds = f"{self._deadline.total_seconds():g}"
        return error_of(
            f"The operation took longer than {seconds} s and was stopped; a mutation may have taken effect.",
            TIMEOUT,
        )


def _misfit(errors: list[GraphQLError]) -> Misfit:
    """What is wrong with the variables. Veiled it is one error, as of a document: with several, one request would test
    several guesses."""
    return Misfit(request_errors(errors, BAD_USER_INPUT), [veiled_error(errors[0], BAD_USER_INPUT)])
