"""Statements that only read, on connections of asyncpg itself: no session of SQLAlchemy's, and nothing done between two
statements to make the connection as new.

Nobody asks a connection whether it lives before it is used: a statement that only reads can be asked twice. One that
finds its connection lost, or has no answer in `FIRST_ANSWER_TIMEOUT`, is asked once more on a new connection, and all
others that lie idle are given up with it.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

from services.connections import FIRST_ANSWER_TIMEOUT, Connection, Connections, acquire
from services.outages import is_lost, unavailable
from services.statements import Statement

_FIRST_ANSWER_SECONDS = FIRST_ANSWER_TIMEOUT.total_seconds()


class Reads:
    """With `transactions`, for a pooler that hands out a server for each transaction, a statement is one of these."""

    def __init__(self, connections: Connections, *, transactions: bool = False) -> None:
        self._connections = connections
        self._transactions = transactions

    async def rows(self, statement: Statement, values: Mapping[str, Any]) -> list[asyncpg.Record]:
        """All rows that it answers. Raises `Unavailable` where Postgres does not answer."""
        arguments = statement.arguments(values)
        for watcher in self._connections.watchers:
            watcher(statement.sql)
        slots = self._connections.slots
        with unavailable():
            await acquire(slots)
            try:
                return await self._read(statement.sql, arguments)
            finally:
                slots.release()

    async def _read(self, sql: str, arguments: list[Any]) -> list[asyncpg.Record]:
        if (used := self._connections.take_idle()) is not None:
            try:
                return await self._ask(used, sql, arguments, _FIRST_ANSWER_SECONDS)
            except Exception as error:
                if not is_lost(error):
                    raise
                self._connections.give_up_idle()
        return await self._ask(await self._connections.connect(), sql, arguments)

    async def _ask(
        self, connection: Connection, sql: str, arguments: list[Any], seconds: float | None = None
    ) -> list[asyncpg.Record]:
        try:
            if self._transactions:
                rows = await _in_transaction(connection, sql, arguments, seconds)
            else:
                rows = await connection.fetch(sql, *arguments, timeout=seconds)
        except BaseException as error:
            if isinstance(error, asyncpg.PostgresError) and not is_lost(error):
                self._connections.keep(connection)
            else:
                connection.terminate()
            raise
        self._connections.keep(connection)
        return rows


async def _in_transaction(
    connection: Connection, sql: str, arguments: list[Any], seconds: float | None
) -> list[asyncpg.Record]:
    """asyncpg's own transactions begin and end in their own time, so that a first answer could take longer."""
    await connection.execute("BEGIN READ ONLY", timeout=seconds)
    try:
        rows = await connection.fetch(sql, *arguments, timeout=seconds)
    except asyncpg.PostgresError as error:
        if not is_lost(error):
            await connection.execute("ROLLBACK", timeout=_FIRST_ANSWER_SECONDS)
        raise
    await connection.execute("COMMIT", timeout=seconds)
    return rows
