"""How the drivers say that Postgres is away, and the one error that it becomes."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import asyncpg
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.errors import CommitUnknown, Unavailable


@dataclass(slots=True)
class Stage:
    commits: bool = False
    """Whether Postgres is asked to keep what was written: one that does not answer then may have kept it."""


@contextmanager
def unavailable() -> Iterator[Stage]:
    """Turns every way in which a driver says "no server" into `Unavailable`, from a COMMIT on into `CommitUnknown`."""
    stage = Stage()
    try:
        yield stage
    except Exception as error:
        if is_outage(error):
            raise (CommitUnknown() if stage.commits else Unavailable()) from error
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


def is_lost(error: BaseException) -> bool:
    """Whether the error says that this connection is of no more use, rather than that a statement failed on it."""
    if isinstance(error, asyncpg.PostgresError):
        # 57P: the server goes down, or someone ended the session.
        return (error.sqlstate or "")[:2] == "08" or (error.sqlstate or "")[:3] == "57P"
    return is_outage(error)
