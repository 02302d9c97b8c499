"""Reads what the fields of one request ask for at one moment by one call, and keeps it for the request."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Loader(Generic[K, V]):
    """Each key is read once; what is asked for until the call begins, a turn of the loop later, is read by it.

    Whoever asks waits for the call and not for each key: a page asks for a hundred keys at once, and a future for each
    costs more than what is read. What a call fails with is raised for all who ask for any of its keys. A call that
    nobody waits for any more is cancelled.
    """

    def __init__(
        self, read: Callable[[list[K]], Awaitable[Sequence[V]]], *, name: Callable[[K], Hashable] | None = None
    ) -> None:
        """`read` answers the value of each key, in order. Keys with one `name` are one; else those that are equal."""
        self._read = read
        self._name = name
        self._values: dict[Hashable, V] = {}
        self._calls: dict[Hashable, _Call] = {}
        """Those that read a key or have failed to, by its name."""
        self._next: dict[Hashable, K] = {}
        """What the next call is to read."""
        self._next_call: _Call | None = None

    async def load(self, key: K) -> V:
        (value,) = await self.load_many([key])
        return value

    async def load_many(self, keys: Sequence[K]) -> list[V]:
        """The value of each, in order."""
        names: Sequence[Hashable] = [self._name(key) for key in keys] if self._name is not None else keys
        values = self._values
        missing = {name: key for name, key in zip(names, keys, strict=True) if name not in values}
        while missing:
            # Once for most: a call that all others gave up while we waited for another is made anew.
            self._ask(missing)
            await self._calls[next(iter(missing))].wait()
            missing = {name: key for name, key in missing.items() if name not in values}
        return [values[name] for name in names]

    def prime(self, key: K, value: V) -> None:
        """Nobody need read this key any more. A value that is there stays."""
        self._values.setdefault(self._name(key) if self._name is not None else key, value)

    def prime_many(self, values: Mapping[K, V]) -> None:
        for key, value in values.items():
            self.prime(key, value)

    def _ask(self, wanted: Mapping[Hashable, K]) -> None:
        """See to it that there is a call for each."""
        calls = self._calls
        new = {name: key for name, key in wanted.items() if name not in calls or calls[name].is_given_up}
        if new:
            if self._next_call is None or self._next_call.is_given_up:
                self._next_call, self._next = _Call(self._read_next), {}
            self._next |= new
            calls |= dict.fromkeys(new, self._next_call)

    async def _read_next(self) -> None:
        wanted = {name: key for name, key in self._next.items() if name not in self._values}
        self._next_call = None
        if wanted:
            found = await self._read([*wanted.values()])
            self._values |= dict(zip(wanted, found, strict=True))


class _Call:
    """One call, which begins when all who are ready now have asked."""

    def __init__(self, read: Callable[[], Awaitable[None]]) -> None:
        self.is_given_up = False
        self._waiting = 0
        self._task = asyncio.create_task(self._run(read))
        self._task.add_done_callback(_look_at)

    async def _run(self, read: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(0)
        await read()

    async def wait(self) -> None:
        """Until it has ended. Raises what it failed with."""
        self._waiting += 1
        try:
            await asyncio.shield(self._task)
        finally:
            self._waiting -= 1
            if not self._waiting and not self._task.done():
                self.is_given_up = True
                self._task.cancel()


def _look_at(task: asyncio.Task[None]) -> None:
    """So that asyncio does not report a failure that nobody waits for."""
    if not task.cancelled():
        task.exception()
