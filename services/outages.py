"""How the drivers say that Postgres is away, and the one error that it becomes."""

import asyncio
from types import TracebackType
from typing import Self

import asyncpg
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.errors import CommitUnknown, Unavailable


def unavailable() -> "Stage":
    """Turns every way in which a driver says "no server" into `Unavailable`, from a COMMIT on into `CommitUnknown`."""
    return Stage()


class Stage:
    """How far the block has come."""

    __slots__ = ("commits",)

    def __init__(self) -> None:
        self.commits = False
        """Whether Postgres is asked to keep what was written: one that does not answer then may have kept it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, Exception) and is_outage(error):
            raise (CommitUnknown() if self.commits else Unavailable()) from error


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


def is_lost(error: BaseException) -> bool:
    """Whether the error says that this connection is of no more use, rather than that a statement failed on it."""
    if isinstance(error, asyncpg.PostgresError):
        # 57P: the server goes down, or someone ended the session. 26000: what was prepared in it is gone, in which the
        # driver believes for as long as it has the connection.
        sqlstate = error.sqlstate or ""
        return sqlstate[:2] == "08" or sqlstate[:3] == "57P" or sqlstate == "26000"
    return is_outage(error)
