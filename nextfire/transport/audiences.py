"""Subscriptions that are answered alike, and the one execution of each event for all of them.

Executing and encoding an event costs a millisecond and statements of SQL; for a thousand subscribers of one page that
is a second in which nothing else is answered. So it is done once, and the bytes are sent to all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import aclosing
from datetime import timedelta
from typing import Any, cast
from weakref import WeakValueDictionary

import orjson
from graphql import DocumentNode, ExecutionResult, FieldNode, VariableNode, Visitor, visit
from graphql.execution import Executor, execute_subscription_event

from nextfire.transport.documents import Operation
from nextfire.transport.frames import Payload, result_payload
from nextfire.transport.masking import TIMEOUT, error_of, exception_errors
from nextfire.transport.refusal import Refused
from nextfire.transport.requests import GraphQLRequest
from nextfire.transport.streaming import encode_json
from resolvers.event_source import Source
from services.feed_batch import Batch

SHARED_FOR = timedelta(seconds=1)
"""How old an answer may be that a slower subscriber is given as well: rows and permissions go on."""

PLACE = "after"
"""The argument that says where a subscription begins, and nothing of what it is told."""

Answer = ExecutionResult | orjson.Fragment | None
"""Encoded where it can be sent to everyone. One with errors cannot, since they name the request that they came up in.
None where nothing of the batch is to be seen."""


class Audience:
    """All subscriptions of one operation with one set of variables, of callers who may see the same."""

    def __init__(
        self, executor: Executor[Any], source: Source[Any], refresh: Callable[[Any], Any], deadline: timedelta
    ) -> None:
        self._executor = executor
        self._show = source.show
        self._refresh = refresh
        self._deadline = deadline.total_seconds()

    async def payloads(self, batches: AsyncGenerator[Batch, None]) -> AsyncGenerator[Payload, None]:
        """What one of the subscriptions is sent. Raises Refused when it fails."""
        try:
            async with aclosing(batches):
                async for batch in batches:
                    answer = await self._answer(batch)
                    del batch  # the next one may take days
                    if isinstance(answer, ExecutionResult):
                        yield result_payload(answer.data, answer.errors)
                    elif answer is not None:
                        yield cast("Payload", answer)
        except TimeoutError as error:
            late = f"An event took longer than {self._deadline:g} s: go on behind the last one that you were told of."
            raise Refused(504, [error_of(late, TIMEOUT)]) from error
        except Exception as error:
            raise Refused(500, exception_errors(error, "graphql.subscribe")) from error

    def _answer(self, batch: Batch) -> Awaitable[Answer]:
        """The answer for a batch, executed unless another one has done so, or is about to.

        It runs in a task of its own: who began it may leave, and the others still wait for it.
        """
        made = batch.made
        if made is None:
            return self._execute(batch)
        task: asyncio.Task[Answer] | None = made.get(self)
        if task is None:
            task = made[self] = asyncio.create_task(self._execute(batch))
            asyncio.get_running_loop().call_later(SHARED_FOR.total_seconds(), made.pop, self, None)
        return task if task.done() else asyncio.shield(task)

    async def _execute(self, batch: Batch) -> Answer:
        async with asyncio.timeout(self._deadline):
            context = self._refresh(self._executor.context_value)
            shown = await self._show(context, batch)
            if not shown:
                return None
            one = self._executor.build_per_event_executor(shown)
            one.context_value = context
            result = execute_subscription_event(one)
            if one.is_awaitable(result):
                result = await result
        done = cast("ExecutionResult", result)
        return done if done.errors else orjson.Fragment(encode_json(result_payload(done.data, None)))


class Audiences:
    """The audiences of one schema, each for as long as somebody is in it."""

    def __init__(self, refresh: Callable[[Any], Any], deadline: timedelta) -> None:
        self._refresh = refresh
        self._deadline = deadline
        self._audiences: WeakValueDictionary[Hashable, Audience] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._audiences)

    def join(
        self, operation: Operation, request: GraphQLRequest, executor: Executor[Any], source: Source[Any]
    ) -> Audience:
        """The audience that a subscription belongs to. Its executor serves those who come after it as well."""
        place = _place_variable(operation)
        variables = {name: value for name, value in request.variables.items() if name != place}
        rest = json.dumps([variables, request.extensions], sort_keys=True)
        key = (operation.program, rest, source.visibility)
        audience = self._audiences.get(key)
        if audience is None:
            audience = self._audiences[key] = Audience(executor, source, self._refresh, self._deadline)
        return audience


def _place_variable(operation: Operation) -> str | None:
    """The variable that the place comes from; None where it is none, or one that is used for something else too."""
    for field in operation.program.operation.selection_set.selections:
        for argument in (field.arguments if isinstance(field, FieldNode) else None) or ():
            if argument.name.value == PLACE and isinstance(argument.value, VariableNode):
                name = argument.value.name.value
                return name if _uses(operation.document, name) == 1 else None
    return None


def _uses(document: DocumentNode, name: str) -> int:
    counter = _Counter(name)
    visit(document, counter)
    return counter.count - counter.defined


class _Counter(Visitor):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.count = 0
        self.defined = 0

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        self.count += node.name.value == self._name

    def enter_variable_definition(self, node: Any, *_: Any) -> None:
        self.defined += node.variable.name.value == self._name
