"""Strays: clocks of ours that no row has ever stood behind, or none that this database knows.

Rows are only ever marked as deleted, and are there before their clocks; so a stray is left by a database that was lost
or restored to an earlier day. In a namespace there may also be clocks of another installation, and those are not
ours to touch: an installation is known by its task queue, which one database alone can serve
(decisions/0006-one-worker-sweeps-by-a-lease-in-postgres.md).
"""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import select

from services.clock import Clock, Described
from services.database import Database
from services.tables import schedules

log = structlog.get_logger(__name__)

LEAST_AGE = timedelta(seconds=10)
AT_ONCE = 50
"""How many are removed in one sweep: a worker that was pointed at the wrong database is found out before it is done."""
LOOKED_AT = 1_000
"""How many are described in one sweep: a neighbour's clocks may be many, and ours wait for the next sweep meanwhile."""
DESCRIBED_AT_ONCE = 8
FOREIGN_KEPT = 100_000


class Strays:
    """One instance a process: it remembers which clocks are not ours, and describes each only once."""

    def __init__(
        self, database: Database, clock: Clock, least_age: timedelta = LEAST_AGE, *, looked_at: int = LOOKED_AT
    ) -> None:
        self._database = database
        self._clock = clock
        self._least_age = least_age
        self._looked_at = looked_at
        self._foreign: set[UUID] = set()

    async def among(self, candidates: Iterable[UUID]) -> list[tuple[UUID, str]]:
        """Of these clocks, for which no row was found, those to remove; with what they are. Raises `TemporalAway`."""
        if len(self._foreign) > FOREIGN_KEPT:
            self._foreign.clear()
        unknown = sorted(set(candidates) - self._foreign)[: self._looked_at]
        found: list[tuple[UUID, str]] = []
        for start in range(0, len(unknown), DESCRIBED_AT_ONCE):
            some = unknown[start : start + DESCRIBED_AT_ONCE]
            strays = await asyncio.gather(*(self._stray(schedule_id) for schedule_id in some))
            pairs = zip(some, strays, strict=True)
            found += [(schedule_id, _note(stray)) for schedule_id, stray in pairs if stray is not None]
            if len(found) >= AT_ONCE:
                break
        return found[:AT_ONCE]

    async def remove(self, schedule_id: UUID) -> bool:
        """Remove it if it still is a stray. Raises `TemporalAway` and `Unavailable`."""
        described = await self._stray(schedule_id)
        if described is None:
            return False
        log.warning(
            "A clock without a row was removed",
            action="stray_removed",
            schedule_id=str(schedule_id),
            clock=described.message.SerializeToString().hex(),
        )
        await self._clock.delete(schedule_id)
        return True

    async def _stray(self, schedule_id: UUID) -> Described | None:
        """The row is read after the clock: the row of a clock that is being made is there before the clock."""
        described = await self._clock.describe(schedule_id)
        if described is None:
            return None
        if not self._clock.owns(schedule_id, described):
            self._foreign.add(schedule_id)
            return None
        if datetime.now(UTC) - described.created_at < self._least_age:
            return None
        query = select(schedules.c.id).where(schedules.c.id == schedule_id)
        async with self._database.read() as connection:
            return None if (await connection.execute(query)).first() else described


def _note(stray: Described) -> str:
    note = stray.message.state.notes
    made = f"There is no row for this clock, made at {stray.created_at:%Y-%m-%dT%H:%M:%SZ}"
    return f"{made}{f' ({note})' if note else ''}."
