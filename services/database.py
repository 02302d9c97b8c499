"""The way to Postgres: a pool, short transactions, and one error for "it did not answer"."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
from sqlalchemy import make_url, text
from sqlalchemy.exc import ArgumentError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from services.connections import Connection, Connections
from services.outages import unavailable
from services.pool_checks import PromptConnection, check_before_use
from services.reads import Reads
from services.transactions import Transactions

CONNECT_TIMEOUT = timedelta(seconds=3)
STATEMENT_TIMEOUT = timedelta(seconds=10)
ANSWER_TIMEOUT = timedelta(seconds=12)
"""On our side, for a connection whose other end is gone without a word."""
IDLE_IN_TRANSACTION_TIMEOUT = timedelta(seconds=10)
"""A writing transaction that is left open anywhere holds back the event log for everyone."""
LEFT_TO_READS = 2
"""Connections that no change may have, since changes may all be waiting for one lock."""
_SESSION_LIMITS = {
    "statement_timeout": STATEMENT_TIMEOUT // timedelta(milliseconds=1),
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT // timedelta(milliseconds=1),
}
_LIMITS = "SELECT " + ", ".join(f"set_config('{name}', '{limit}', true)" for name, limit in _SESSION_LIMITS.items())
"""The same for one transaction."""
_SET_LIMITS = text(_LIMITS)
_NO_STATEMENTS_KEPT: Mapping[str, Any] = {
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: f"__nextfire_{uuid4()}__",
}
_IDENTITY = text(
    "SELECT left(encode(sha256(format('%s:%s', (pg_control_system()).system_identifier, oid)::bytea), 'hex'), 12)"
    " FROM pg_database WHERE datname = current_database()"
)


def asyncpg_url(database_url: str) -> str:
    """The SQLAlchemy form of a libpq URL: `postgres://` and `postgresql://` are both taken.

    Raises `ValueError`, which quotes nothing of the URL: it may hold a password.
    """
    _, separator, rest = database_url.partition("://")
    url = f"postgresql+asyncpg://{rest}"
    try:
        make_url(url if separator else "")
    except (ArgumentError, ValueError):
        raise ValueError("DATABASE_URL must look like postgresql://user:password@host:5432/name") from None
    return url


def plain_url(database_url: str) -> str:
    """The form that asyncpg itself takes."""
    return "postgresql://" + asyncpg_url(database_url).partition("://")[2]


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


def _connect_arguments(transaction_pooler: bool) -> dict[str, Any]:
    settings = {} if transaction_pooler else {name: str(limit) for name, limit in _SESSION_LIMITS.items()}
    return {
        "connection_class": PromptConnection,
        "timeout": CONNECT_TIMEOUT.total_seconds(),
        "command_timeout": ANSWER_TIMEOUT.total_seconds(),
        "server_settings": {"application_name": "nextfire", **settings},
        **({"statement_cache_size": 0} if transaction_pooler else {}),
    }


class Database:
    """Two pools, one for `reads` and `changes`, and one for what SQLAlchemy runs.

    One instance a process, closed by its owner.

    Args:
        url: Where Postgres is, or a pooler in front of it.
        pool_size: The connections of both pools.
        readers: How many of them `reads` gets, of which `changes` may use all but two; seven of ten by default.
        transaction_pooler: Whether the URL leads to a pooler that hands out a server for each transaction: then
            nothing is kept in a session, no prepared statement and no setting.
    """

    def __init__(
        self, url: str, *, pool_size: int = 10, readers: int | None = None, transaction_pooler: bool = False
    ) -> None:
        self.url = url
        self._pooled = transaction_pooler
        readers = max(1, pool_size - max(1, pool_size * 3 // 10)) if readers is None else readers
        self.direct = Connections(self._connect, readers)
        self.reads = Reads(self.direct, transactions=transaction_pooler)
        begin = f"BEGIN; {_LIMITS}" if transaction_pooler else "BEGIN"
        self.changes = Transactions(self.direct, max(1, readers - LEFT_TO_READS), begin=begin)
        self.engine: AsyncEngine = create_async_engine(
            asyncpg_url(url),
            pool_size=max(1, pool_size - readers),
            max_overflow=0,
            pool_timeout=STATEMENT_TIMEOUT.total_seconds(),
            hide_parameters=True,  # an error's text goes into the log
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
            connect_args={
                **_connect_arguments(transaction_pooler),
                **(_NO_STATEMENTS_KEPT if transaction_pooler else {}),
            },
        )
        check_before_use(self.engine)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One short transaction, committed at the end; no RPC may be made inside.

        Raises `Unavailable` where Postgres does not answer, and lets every other error through.
        """
        with unavailable() as stage:
            async with self.engine.begin() as connection:
                if self._pooled:
                    await connection.execute(_SET_LIMITS)
                yield connection
                stage.commits = True

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading; statements see each its own snapshot."""
        with unavailable():
            async with self.engine.connect() as connection:
                # A statement outside a transaction is two round trips, which a pooler may send to two servers.
                if not self._pooled:
                    await connection.execution_options(isolation_level="AUTOCOMMIT")
                yield connection
                if self._pooled:
                    await connection.commit()

    async def ping(self) -> None:
        """Raises `Unavailable` unless Postgres answers within three seconds."""
        with unavailable():
            async with asyncio.timeout(CONNECT_TIMEOUT.total_seconds()), self.read() as connection:
                await connection.execute(text("SELECT 1"))

    async def identity(self) -> str:
        """Twelve hexadecimal digits that tell this database from every other, a restored copy of it included.

        Raises `Unavailable`.
        """
        async with self.read() as connection:
            return str((await connection.execute(_IDENTITY)).scalar_one())

    async def close(self) -> None:
        await self.direct.close()
        await self.engine.dispose()

    async def _connect(self) -> Connection:
        connection: Connection = await asyncpg.connect(
            plain_url(self.url), **_connect_arguments(self._pooled), max_cached_statement_lifetime=0
        )
        try:
            await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_dumps, decoder=orjson.loads)
        except BaseException:  # whoever waited may be gone, and nobody else would end it
            connection.terminate()
            raise
        return connection


def is_unique_violation(error: IntegrityError, constraint: str) -> bool:
    """Whether the error is a violation of this very UNIQUE constraint or index."""
    cause = error.orig.__cause__ if error.orig is not None else None
    return isinstance(cause, asyncpg.UniqueViolationError) and cause.constraint_name == constraint
