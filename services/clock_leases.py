"""The lease on a schedule's clock: one process at a time writes it, and the row keeps what was found."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import and_, bindparam, case, func, or_, update

from services import schedule_rows
from services.database import Database
from services.failpoints import Failpoint, reach
from services.principals import Actor
from services.schedule import ChangeKind, ClockStatus, Schedule
from services.schedule_changes import recorded, revision
from services.statements import Statement, given, new
from services.tables import schedules

LEASE = timedelta(seconds=15)
LEASE_MARGIN = timedelta(seconds=6)
"""No write begins with less than this left of the lease: a write may take 5 s."""
LONGEST_NOTE = 1_000
STATEMENTS_KEPT = 64

_TAKE = Statement(
    update(schedules)
    .where(
        schedules.c.id == bindparam("wanted"),
        or_(schedules.c.lease_until.is_(None), schedules.c.lease_until < func.now()),
    )
    .values(lease_id=bindparam("new_lease_id"), lease_until=func.now() + LEASE)
    .returning(*schedule_rows.COLUMNS)
)
_HELD = and_(schedules.c.id == bindparam("leased"), schedules.c.lease_id == bindparam("by_lease"))
_NOTE_REPAIR = recorded(
    update(schedules)
    .where(_HELD, schedules.c.version == bindparam("read"))
    .values(version=schedules.c.version + 1, updated_at=bindparam("at"), clock_status=bindparam("status"))
)


class LeaseLost(Exception):
    """This process was held up for so long that another may be at work on the schedule."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write one clock, and the row as it was when the right was given."""

    id: UUID
    schedule: Schedule
    writes_until: float

    def check(self) -> None:
        """Raises `LeaseLost` where a write begun now could end after another has taken over."""
        if time.monotonic() > self.writes_until:
            raise LeaseLost


class ClockLeases:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, schedule_id: UUID) -> Lease | None:
        """None where another has it, or there is no such schedule."""
        lease_id, taken = uuid4(), time.monotonic()
        async with self._database.changes.begin() as transaction:
            rows = await transaction.rows(_TAKE, {"wanted": schedule_id, "new_lease_id": lease_id})
        if not rows:
            return None
        writes_until = taken + (LEASE - LEASE_MARGIN).total_seconds()
        return Lease(lease_id, schedule_rows.whole(rows[0]), writes_until)

    async def note_repair(self, lease: Lease, status: ClockStatus, note: str) -> Lease | None:
        """Give the schedule a version that only says what will be put right: its definition stays as it is.

        It is written before the clock is, so that no repair goes unrecorded. None where the row has moved meanwhile.
        """
        schedule = lease.schedule
        values = {
            "leased": schedule.id,
            "by_lease": lease.id,
            "read": schedule.version,
            "at": datetime.now(UTC),
            "status": status,
            **revision(Actor(schedule.account_id), ChangeKind.REPAIRED, schedule.definition, note[:LONGEST_NOTE]),
        }
        async with self._database.changes.begin() as transaction:
            rows = await transaction.rows(_NOTE_REPAIR, values)
            await reach(Failpoint.BEFORE_COMMIT)
        return replace(lease, schedule=schedule_rows.whole(rows[0])) if rows else None

    async def give_back(self, lease: Lease, **columns: Any) -> int | None:
        """Give the row back with what was found; its version now, or None where another holds it."""
        values = {**new(columns), "leased": lease.schedule.id, "by_lease": lease.id}
        async with self._database.changes.begin() as transaction:
            rows = await transaction.rows(_giving_back(frozenset(columns)), values)
        return rows[0]["version"] if rows else None


@lru_cache(maxsize=STATEMENTS_KEPT)
def _giving_back(names: frozenset[str]) -> Statement:
    columns: dict[str, Any] = given(schedules, names)
    if "applied_version" in names:
        in_sync = schedules.c.version == columns["applied_version"]
        columns["clock_status"] = case((in_sync, ClockStatus.IN_SYNC), else_=ClockStatus.PENDING)
    return Statement(
        update(schedules).where(_HELD).values(**columns, lease_id=None, lease_until=None).returning(schedules.c.version)
    )
