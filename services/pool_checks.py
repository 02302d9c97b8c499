"""Connections of a pool are asked whether they are alive before they are used, and given up without ado.

A connection whose other end is gone without a word looks like any other. SQLAlchemy's own check asks in three round
trips, waits as long as any statement may take, and then finds the next dead one (measured: 14 s for each connection of
the pool). This one asks once, and where the answer does not come it takes all the others for dead as well.
"""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine

ANSWER_TIMEOUT = timedelta(seconds=3)
"""As long as a new connection may take."""
GOODBYE_TIMEOUT = timedelta(milliseconds=200)


class PromptConnection(asyncpg.Connection):
    """Takes its leave, and does not wait for long to hear it returned."""

    async def close(self, *, timeout: float | None = None) -> None:
        try:
            await super().close(timeout=GOODBYE_TIMEOUT.total_seconds())
        except TimeoutError:
            self.terminate()


def check_before_use(engine: AsyncEngine) -> None:
    """Let the engine's pool hand out only connections that have just answered."""
    event.listen(engine.sync_engine, "checkout", _check)


def _check(connection: Any, *_: object) -> None:
    connection.run_async(_ask)


async def _ask(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT.total_seconds()):
            await connection.execute("SELECT 1")
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        connection.terminate()
        raise InvalidatePoolError("the connection does not answer") from error
