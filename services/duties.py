"""Duties: what one worker at a time does for all of them, by a lease in Postgres that also keeps the time.

A holder that dies or freezes loses the lease within seconds. It may then go on beside its successor for a while, so a
duty must be harmless when it is done twice at once: the lease saves work, and protects nothing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import func, or_, update
from sqlalchemy.dialects.postgresql import insert

from services.database import Database
from services.errors import Unavailable
from services.tables import duties

HELD_FOR = timedelta(seconds=12)
RENEWED_EVERY = timedelta(seconds=3)


class Duty:
    """One duty of this process: `step` is done every `every`, by whichever process comes first."""

    def __init__(self, database: Database, name: str, every: timedelta, step: Callable[[], Awaitable[object]]) -> None:
        self._database = database
        self._name = name
        self._every = every
        self._step = step

    async def turn(self) -> bool:
        """Do it if it is due and nobody is at it; whether it was done. Raises `Unavailable` and what the step does."""
        holder = uuid4()
        if not await self._take(holder):
            return False
        async with self._held(holder):
            await self._step()
        return True

    async def _take(self, holder: UUID) -> bool:
        values = {"holder": holder, "begun_at": func.now(), "held_until": func.now() + HELD_FOR}
        taken = insert(duties).values(name=self._name, **values)
        taken = taken.on_conflict_do_update(
            index_elements=["name"],
            set_=values,
            where=(duties.c.begun_at <= func.now() - self._every)
            & or_(duties.c.held_until.is_(None), duties.c.held_until < func.now()),
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(taken.returning(duties.c.name))).first() is not None

    @asynccontextmanager
    async def _held(self, holder: UUID) -> AsyncIterator[None]:
        renewing = asyncio.create_task(self._renew(holder))
        try:
            yield
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing
            with contextlib.suppress(Unavailable):
                await self._hold(holder, for_=None)

    async def _renew(self, holder: UUID) -> None:
        while True:
            await asyncio.sleep(RENEWED_EVERY.total_seconds())
            with contextlib.suppress(Unavailable):
                await self._hold(holder, for_=HELD_FOR)

    async def _hold(self, holder: UUID, *, for_: timedelta | None) -> None:
        query = (
            update(duties)
            .where(duties.c.name == self._name, duties.c.holder == holder)
            .values(held_until=func.now() + for_ if for_ else None)
        )
        async with self._database.transaction() as connection:
            await connection.execute(query)
