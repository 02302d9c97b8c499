"""Statements that only read, on connections of asyncpg itself: no session of SQLAlchemy's, and nothing done between two
statements to make the connection as new.

Nobody asks a connection whether it lives before it is used: a statement that only reads can be asked twice. One that
finds its connection lost, or has no answer in `FIRST_ANSWER_TIMEOUT`, is asked once more on a new connection, and all
others that lie idle are given up with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg

from services.outages import is_lost, unavailable
from services.statements import Statement

FIRST_ANSWER_TIMEOUT = timedelta(seconds=3)
"""As long as a new connection may take."""
WAIT_FOR_CONNECTION = timedelta(seconds=10)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connect: TypeAlias = Callable[[], Awaitable[Connection]]


class Reads:
    """At most `size` connections, opened as they are needed. One instance a database, closed by its owner.

    With `transactions`, for a pooler that hands out a server for each transaction, a statement is one transaction.
    """

    def __init__(self, connect: Connect, size: int, *, transactions: bool = False) -> None:
        self.watchers: list[Callable[[str], None]] = []
        """Told of the text of each statement before it is sent."""
        self._connect = connect
        self._transactions = transactions
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []

    async def rows(self, statement: Statement, values: Mapping[str, Any]) -> list[asyncpg.Record]:
        """All rows that it answers. Raises `Unavailable` where Postgres does not answer."""
        arguments = statement.arguments(values)
        for watcher in self.watchers:
            watcher(statement.sql)
        with unavailable():
            if self._slots.locked():
                async with asyncio.timeout(WAIT_FOR_CONNECTION.total_seconds()):
                    await self._slots.acquire()
            else:
                await self._slots.acquire()
            try:
                return await self._read(statement.sql, arguments)
            finally:
                self._slots.release()

    async def close(self) -> None:
        """Close what lies idle; to be called when nothing is read any more."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def _read(self, sql: str, arguments: list[Any]) -> list[asyncpg.Record]:
        if (used := self._take_idle()) is not None:
            try:
                return await self._ask(used, sql, arguments, FIRST_ANSWER_TIMEOUT.total_seconds())
            except Exception as error:
                if not is_lost(error):
                    raise
                self._give_up_idle()
        return await self._ask(await self._connect(), sql, arguments)

    async def _ask(
        self, connection: Connection, sql: str, arguments: list[Any], seconds: float | None = None
    ) -> list[asyncpg.Record]:
        try:
            if self._transactions:
                async with connection.transaction(readonly=True):
                    rows = await connection.fetch(sql, *arguments, timeout=seconds)
            else:
                rows = await connection.fetch(sql, *arguments, timeout=seconds)
        except BaseException as error:
            if isinstance(error, asyncpg.PostgresError) and not is_lost(error):
                self._idle.append(connection)
            else:
                connection.terminate()
            raise
        self._idle.append(connection)
        return rows

    def _take_idle(self) -> "Connection | None":
        """The one that was used last, so that few stay in use."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    def _give_up_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.terminate()
