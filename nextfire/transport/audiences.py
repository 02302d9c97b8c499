"""Subscriptions that are answered alike, and the one execution of each event for all of them.

Executing and encoding an event costs a millisecond and statements of SQL; for a thousand subscribers of one page that
is a second in which nothing else is answered. So it is done once, and the bytes are sent to all.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Hashable
from contextlib import aclosing
from datetime import timedelta
from enum import Enum, auto
from typing import Any, cast
from weakref import WeakValueDictionary

from graphql import DocumentNode, ExecutionResult, FieldNode, VariableNode, Visitor, visit
from graphql.execution import Executor, execute_subscription_event

from nextfire.transport.documents import Operation
from nextfire.transport.frames import Encoded, Payload, result_payload
from nextfire.transport.masking import TIMEOUT, error_of, exception_errors
from nextfire.transport.refusal import Refused
from nextfire.transport.requests import GraphQLRequest
from resolvers.event_source import Source
from services.feed_batch import Batch
from services.feed_subscription import Subscription

SHARED_FOR = timedelta(seconds=1)
"""How old an answer may be that a slower subscriber is given as well: rows and permissions go on."""

PLACE = "after"
"""The argument that says where a subscription begins, and nothing of what it is told."""

PORTION = 100
"""How many are written to before others may run, and what was written leaves."""

Answer = ExecutionResult | Encoded | None
"""Encoded where it can be sent to everyone. One with errors cannot, since they name the request that they came up in.
None where nothing of the batch is to be seen."""

Write = Callable[[Encoded], Coroutine[Any, Any, None] | None]
"""Begins to write a payload to one client. What is left to be awaited, if anything is."""


class Audience:
    """All subscriptions of one operation with one set of variables, of callers who may see the same."""

    def __init__(
        self, executor: Executor[Any], source: Source[Any], refresh: Callable[[Any], Any], deadline: timedelta
    ) -> None:
        self._executor = executor
        self._show = source.show
        self._refresh = refresh
        self._deadline = deadline.total_seconds()

    async def payloads(self, batches: Subscription) -> AsyncGenerator[Payload | Encoded, None]:
        """What one of the subscriptions is sent. Raises Refused when it fails."""
        try:
            async with aclosing(batches):
                async for batch in batches:
                    if (following := batch.following) is not None and following.made is not None:
                        self.execution(following, following.made)  # what it waits for comes meanwhile
                    answer = await self._answer(batch)
                    del following
                    del batch  # the next one may take days
                    if isinstance(answer, ExecutionResult):
                        yield result_payload(answer.data, answer.errors)
                    elif answer is not None:
                        yield answer
        except TimeoutError as error:
            late = f"An event took longer than {self._deadline:g} s: go on behind the last one that you were told of."
            raise Refused(504, [error_of(late, TIMEOUT)]) from error
        except Exception as error:
            raise Refused(500, exception_errors(error, "graphql.subscribe")) from error

    def execution(self, batch: Batch, made: dict[Any, Any]) -> Execution:
        """The one for a batch, begun unless another one has done so; `made` is what the batch has of that."""
        execution: Execution | None = made.get(self)
        if execution is None:
            execution = made[self] = Execution(self._execute(batch))
            asyncio.get_running_loop().call_later(SHARED_FOR.total_seconds(), made.pop, self, None)
        return execution

    def _answer(self, batch: Batch) -> Awaitable[Answer]:
        if batch.made is None:
            return self._execute(batch)
        task = self.execution(batch, batch.made).task
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
        return done if done.errors else Encoded(result_payload(done.data, None))


class Left(Enum):
    """What stands for an answer that is not for everyone: it has errors, or there is none."""

    TO_EACH = auto()


class Execution:
    """One execution of a batch, in a task of its own: who began it may leave, and the others still wait for it."""

    __slots__ = ("_waiting", "answer", "is_over", "task")

    def __init__(self, work: Coroutine[Any, Any, Answer]) -> None:
        self.task = asyncio.create_task(work)
        self.task.add_done_callback(self._on_over)
        self.is_over = False
        self.answer: Encoded | Left | None = Left.TO_EACH
        """What all are sent, when it is over; None where nothing of the batch is to be seen."""
        self._waiting: deque[Member] = deque()

    def tell_later(self, member: Member) -> None:
        """Deliver it to the member when it is over."""
        self._waiting.append(member)

    def _on_over(self, task: asyncio.Task[Answer]) -> None:
        self.is_over = True
        # Nobody may come for the answer, and asyncio complains of an exception that nobody looked at.
        if not task.cancelled() and task.exception() is None:
            answer = task.result()
            self.answer = Left.TO_EACH if isinstance(answer, ExecutionResult) else answer
        self._tell()

    def _tell(self) -> None:
        for _ in range(min(PORTION, len(self._waiting))):
            self._waiting.popleft().told(self.answer)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._tell)


class Member(AsyncIterator[Payload | Encoded]):
    """One subscription of an audience: what it is sent, to be iterated once and closed by `aclose`.

    Its guarantees are those of the iteration. What is written in place of an iteration that waits is what it would get
    next, and anything but a payload that can be sent to everyone is left to it.
    """

    __slots__ = ("_audience", "_batches", "_payloads", "_rest", "_subscriber", "_write")

    def __init__(self, audience: Audience, batches: Subscription) -> None:
        self._audience = audience
        self._batches = batches
        self._subscriber = batches.subscriber
        self._payloads = audience.payloads(batches)
        self._write: Write
        self._rest: asyncio.Task[None] | None = None

    async def __anext__(self) -> Payload | Encoded:
        return await self._payloads.__anext__()

    async def aclose(self) -> None:
        """Leave the audience; what is still being written is given up."""
        if self._rest is not None:
            self._rest.cancel()
        await self._payloads.aclose()

    def write_by(self, write: Write) -> None:
        """From now on, write what comes while the iteration waits, which then goes on waiting."""
        self._write = write
        self._batches.deliver_by(self._deliver)

    def told(self, answer: Encoded | Left | None) -> None:
        """The execution that the member waited for has ended."""
        if self._tell(answer):
            self._subscriber.settle(delivered=True)

    def _deliver(self, batch: Batch) -> bool:
        execution = self._audience.execution(batch, cast("dict[Any, Any]", batch.made))
        if execution.is_over:
            return self._tell(execution.answer)
        execution.tell_later(self)
        return False

    def _tell(self, answer: Encoded | Left | None) -> bool:
        """Whether that is done. If not, it goes on, or is left to the iteration."""
        if answer is Left.TO_EACH or not self._subscriber.waits:
            self._subscriber.settle(delivered=False)
            return False
        if answer is None:
            return True
        try:
            rest = self._write(answer)
        except Exception:  # the iteration comes upon it as well, and raises it where it is handled
            self._subscriber.settle(delivered=False)
            return False
        if rest is None:
            return True
        self._rest = asyncio.create_task(rest)
        self._rest.add_done_callback(self._on_rest_written)
        return False

    def _on_rest_written(self, rest: asyncio.Task[None]) -> None:
        self._rest = None
        self._subscriber.settle(delivered=not rest.cancelled() and rest.exception() is None)


Payloads = AsyncGenerator[Payload, None] | Member
"""What an operation is answered, one by one."""


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
    ) -> Member:
        """The subscription, in the audience that it belongs to. Its executor serves those who come later as well."""
        place = _place_variable(operation)
        variables = {name: value for name, value in request.variables.items() if name != place}
        rest = json.dumps([variables, request.extensions], sort_keys=True)
        key = (operation.program, rest, source.visibility)
        audience = self._audiences.get(key)
        if audience is None:
            audience = self._audiences[key] = Audience(executor, source, self._refresh, self._deadline)
        return Member(audience, source.batches)


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
