"""Connections of asyncpg itself, opened as they are needed and kept for the next use."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeAlias

import asyncpg

FIRST_ANSWER_TIMEOUT = timedelta(seconds=3)
"""How long the first answer of a connection that has been used may take: as long as a new connection may."""
WAIT_FOR_CONNECTION = timedelta(seconds=10)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connect: TypeAlias = Callable[[], Awaitable[Connection]]


class Connections:
    """At most `size` of them. One instance a database, closed by its owner.

    Nothing is done between two uses to make a connection as new, and nobody asks whether it lives before it is used:
    where its first answer does not come, whoever finds out gives up all that lie idle.
    """

    def __init__(self, connect: Connect, size: int) -> None:
        self.watchers: list[Callable[[str], None]] = []
        """Told of the text of each statement before it is sent."""
        self.connect = connect
        self.slots = asyncio.Semaphore(size)
        """The rights to a connection each: see `acquire`."""
        self._idle: list[Connection] = []

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """The right to one connection. Raises `TimeoutError` where none comes free."""
        await acquire(self.slots)
        try:
            yield
        finally:
            self.slots.release()

    def take_idle(self) -> "Connection | None":
        """The one that was used last, so that few stay in use."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    def keep(self, connection: Connection) -> None:
        """Let the next one use it."""
        self._idle.append(connection)

    def give_up_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.terminate()

    async def close(self) -> None:
        """Close what lies idle; to be called when nothing is asked any more."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()


async def acquire(slots: asyncio.Semaphore) -> None:
    """Take one of them. Raises `TimeoutError` where none comes free."""
    if slots.locked():
        async with asyncio.timeout(WAIT_FOR_CONNECTION.total_seconds()):
            await slots.acquire()
    else:
        await slots.acquire()
