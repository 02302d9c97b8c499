"""Transactions for compiled statements: on connections of asyncpg itself, or within a transaction of SQLAlchemy's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from services.connections import FIRST_ANSWER_TIMEOUT, Connection, Connections, acquire
from services.outages import is_lost, unavailable
from services.schedule import Columns
from services.statements import Statement


class Transaction(Protocol):
    """What a compiled statement is run in."""

    async def rows(self, statement: Statement, values: Mapping[str, Any], /) -> Sequence[Columns]:
        """All rows that it answers."""
        ...


class CoreTransaction:
    """A transaction of SQLAlchemy's that is open already, for what is written along with other things."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def rows(self, statement: Statement, values: Mapping[str, Any], /) -> Sequence[Columns]:
        result = await self._connection.execute(statement.query, dict(values))
        return result.mappings().all() if result.returns_rows else ()


class Transactions:
    """At most `size` at a time, so that those that wait for a lock leave connections to others.

    Each begins with `begin`, which may also set what is to hold for it alone. What is begun can be begun again, so
    this is also what finds out whether a connection lives; after it, nothing is asked twice.
    """

    def __init__(self, connections: Connections, size: int, *, begin: str = "BEGIN") -> None:
        self._connections = connections
        self._slots = asyncio.Semaphore(size)
        self._begin = begin

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Transaction]:
        """One short transaction, committed at the end; no RPC may be made inside.

        Raises `Unavailable` where Postgres does not answer, and lets every other error through.
        """
        with unavailable() as stage:
            await acquire(self._slots)
            try:
                async with self._connections.slot():
                    connection = await self._begun()
                    try:
                        yield _AsyncpgTransaction(connection, self._connections.watchers)
                        stage.commits = True
                        await _commit(connection)
                    except BaseException as error:
                        await self._undo(connection, error)
                        raise
                    self._connections.keep(connection)
            finally:
                self._slots.release()

    async def _begun(self) -> Connection:
        if (used := self._connections.take_idle()) is not None:
            try:
                return await self._start(used, FIRST_ANSWER_TIMEOUT.total_seconds())
            except Exception as error:
                if not is_lost(error):
                    raise
                self._connections.give_up_idle()
        return await self._start(await self._connections.connect())

    async def _start(self, connection: Connection, seconds: float | None = None) -> Connection:
        try:
            await connection.execute(self._begin, timeout=seconds)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _undo(self, connection: Connection, error: BaseException) -> None:
        """Postgres undoes what a lost connection has begun; one that still serves is asked to."""
        if not isinstance(error, Exception) or is_lost(error):
            connection.terminate()
            return
        try:
            await connection.execute("ROLLBACK", timeout=FIRST_ANSWER_TIMEOUT.total_seconds())
        except BaseException as lost:
            connection.terminate()
            if not isinstance(lost, Exception):
                raise
            return
        self._connections.keep(connection)


async def _commit(connection: Connection) -> None:
    if await connection.execute("COMMIT") != "COMMIT":
        raise RuntimeError("A statement had failed, and Postgres has kept nothing.")


class _AsyncpgTransaction:
    def __init__(self, connection: Connection, watchers: list[Callable[[str], None]]) -> None:
        self._connection = connection
        self._watchers = watchers

    async def rows(self, statement: Statement, values: Mapping[str, Any], /) -> Sequence[Columns]:
        arguments = statement.arguments(values)
        for watcher in self._watchers:
            watcher(statement.sql)
        rows: list[asyncpg.Record] = await self._connection.fetch(statement.sql, *arguments)
        return rows
