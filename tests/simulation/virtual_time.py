"""An event loop whose time is its own: it stands still while anything can run, and then jumps to the next timer.

`datetime.now`, `time.time` and `time.monotonic` tell the loop's time to everyone in this process.
"""

import asyncio
import math
import selectors
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVarTuple
from unittest.mock import patch

import time_machine

from tests.simulation.processes import current

BEGINNING = datetime(2031, 3, 3, 8, tzinfo=UTC)
UPTIME_SECONDS = 1_000
"""What the monotonic clock shows at the beginning."""


Arguments = TypeVarTuple("Arguments")


class Stuck(AssertionError):
    """Everybody waits, and nothing is to come."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what is ready, and then moves the time on. Processes that stand still have their work kept for them.

    `connect` is what makes its connections: it knows none of its own.
    """

    def __init__(self, poll: Callable[[], bool], connect: Callable[..., Any]) -> None:
        self._microseconds = UPTIME_SECONDS * 1_000_000
        self._traveller: time_machine.Traveller | None = None
        self._connect = connect
        super().__init__(_Selector(poll, self._jump))

    def time(self) -> float:
        return self._microseconds / 1_000_000

    def call_soon(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        process = current.get() if context is None else context.get(current)
        if process is not None and process.stands_still:
            return process.keep(asyncio.Handle(callback, args, self, context))
        return super().call_soon(callback, *args, context=context)

    async def create_connection(  # type: ignore[override]  # no TLS, no socket that is there already
        self, factory: Callable[[], Any], host: str, port: int, **_: Any
    ) -> Any:
        return self._connect(factory, host, port)

    def _jump(self, seconds: float) -> None:
        moved = math.ceil(seconds * 1_000_000)
        self._microseconds += moved
        if self._traveller is not None:
            self._traveller.shift(timedelta(microseconds=moved))

    @contextmanager
    def rules(self) -> Iterator[None]:
        """For the block, its time is everybody's."""
        with time_machine.travel(BEGINNING, tick=False) as self._traveller, patch.object(time, "monotonic", self.time):
            yield


class _Selector(selectors.SelectSelector):
    """Waits for nothing: the loop has no socket but the one it wakes itself by."""

    def __init__(self, poll: Callable[[], bool], jump: Callable[[float], None]) -> None:
        super().__init__()
        self._poll = poll
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            return []
        if self._poll():
            return []
        if timeout is None:
            raise Stuck("Everybody waits, and no timer is set.")
        self._jump(timeout)
        return []
