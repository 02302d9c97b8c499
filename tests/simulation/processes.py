"""The processes of a simulated installation: tasks that live, stand still and die together."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")


class Process:
    """What one real process would run. All that its tasks start belongs to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.stands_still = False
        self.on_death: list[Callable[[], None]] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self._kept: list[asyncio.Handle] = []
        self.context = copy_context()
        self.context.run(current.set, self)

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run this in the process."""
        task = asyncio.get_running_loop().create_task(work, context=self.context.copy())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def keep(self, handle: asyncio.Handle) -> asyncio.Handle:
        """What would run now, for when the process goes on."""
        self._kept.append(handle)
        return handle

    def freeze(self) -> None:
        """As by SIGSTOP: nothing of it runs, and nobody is told."""
        self.stands_still = True

    def thaw(self) -> None:
        if self.is_dead:
            return
        self._go_on()

    def die(self) -> None:
        """As by SIGKILL: not a line of it runs any more, no `finally` either."""
        if self.is_dead:
            return
        self.is_dead = self.stands_still = True
        for each in self.on_death:
            each()

    async def bury(self) -> None:
        """At the end of the simulation: let its tasks be cancelled, so that nothing is left of them."""
        self._go_on()
        while left := {task for task in self.tasks if not task.done()}:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=30)

    def _go_on(self) -> None:
        self.stands_still = False
        kept, self._kept = self._kept, []
        for handle in kept:
            if not handle.cancelled():
                asyncio.get_running_loop().call_soon(handle._run)


current: ContextVar[Process | None] = ContextVar("process", default=None)
"""The process that the running code belongs to; None for the world around."""
