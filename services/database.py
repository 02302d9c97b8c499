"""The way to Postgres: a pool, short transactions, and one error for "it did not answer"."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import orjson
from sqlalchemy import make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from services.errors import Unavailable
from services.pool_checks import PromptConnection, check_before_use

CONNECT_TIMEOUT = timedelta(seconds=3)
STATEMENT_TIMEOUT = timedelta(seconds=10)
ANSWER_TIMEOUT = timedelta(seconds=12)
"""On our side, for a connection whose other end is gone without a word."""
IDLE_IN_TRANSACTION_TIMEOUT = timedelta(seconds=10)
"""A writing transaction that is left open anywhere holds back the event log for everyone."""
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


class Database:
    """A pool of connections. One instance a process, closed by its owner."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self.engine: AsyncEngine = create_async_engine(
            asyncpg_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=STATEMENT_TIMEOUT.total_seconds(),
            hide_parameters=True,  # an error's text goes into the log
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
            connect_args={
                "connection_class": PromptConnection,
                "timeout": CONNECT_TIMEOUT.total_seconds(),
                "command_timeout": ANSWER_TIMEOUT.total_seconds(),
                "server_settings": {
                    "application_name": "nextfire",
                    "statement_timeout": _milliseconds(STATEMENT_TIMEOUT),
                    "idle_in_transaction_session_timeout": _milliseconds(IDLE_IN_TRANSACTION_TIMEOUT),
                },
            },
        )
        check_before_use(self.engine)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One short transaction, committed at the end; no RPC may be made inside.

        Raises `Unavailable` where Postgres does not answer, and lets every other error through.
        """
        with _unavailable():
            async with self.engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading; statements see each its own snapshot."""
        with _unavailable():
            async with self.engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                yield connection

    async def ping(self) -> None:
        """Raises `Unavailable` unless Postgres answers within three seconds."""
        with _unavailable():
            async with asyncio.timeout(CONNECT_TIMEOUT.total_seconds()), self.read() as connection:
                await connection.execute(text("SELECT 1"))

    async def identity(self) -> str:
        """Twelve hexadecimal digits that tell this database from every other, a restored copy of it included.

        Raises `Unavailable`.
        """
        async with self.read() as connection:
            return str((await connection.execute(_IDENTITY)).scalar_one())

    async def close(self) -> None:
        await self.engine.dispose()


@contextmanager
def _unavailable() -> Iterator[None]:
    """Turns every way in which a driver says "no server" into `Unavailable`."""
    try:
        yield
    except Exception as error:
        if is_outage(error):
            raise Unavailable from error
        raise


def is_outage(error: BaseException) -> bool:
    """Whether the error says that Postgres is away, full or too slow, rather than that a statement is wrong."""
    if isinstance(error, IntegrityError):
        return False
    if isinstance(error, PoolTimeout | OSError | asyncio.TimeoutError | asyncpg.InternalClientError):
        return True
    if isinstance(error, asyncpg.InterfaceError):
        return True
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "")[:2] in {"08", "53", "57", "58"} or error.sqlstate == "55P03"
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        cause = error.orig.__cause__ if error.orig is not None else None
        return cause is not None and is_outage(cause)
    return False


def is_unique_violation(error: IntegrityError, constraint: str) -> bool:
    """Whether the error is a violation of this very UNIQUE constraint or index."""
    cause = error.orig.__cause__ if error.orig is not None else None
    return isinstance(cause, asyncpg.UniqueViolationError) and cause.constraint_name == constraint


def _milliseconds(duration: timedelta) -> str:
    return str(int(duration.total_seconds() * 1000))
