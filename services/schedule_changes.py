"""One change of a schedule within the caller's transaction: the row, its revision and its event, or none of them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services import schedule_rows
from services.definition import Difference, to_json
from services.errors import NotFound, VersionConflict
from services.event_log import append
from services.failpoints import Failpoint, reach
from services.feed_event import EventKind
from services.principals import Actor
from services.schedule import ChangeKind, ClockStatus, Schedule
from services.tables import schedule_revisions, schedules

CLOCK_COLUMNS = frozenset(
    {
        "cron_expression",
        "time_zone",
        "interval_seconds",
        "interval_offset_seconds",
        "start_at",
        "end_at",
        "jitter_seconds",
        "catch_up_window_seconds",
        "paused",
        "deleted_at",
    }
)
"""What a row's clock is made of. A change of none of these leaves a clock that is right as right as it was."""

# Whoever holds the lease compares the clock with the version that it has read, and writes down that one.
_IN_LINE = and_(schedules.c.applied_version == schedules.c.version, schedules.c.lease_id.is_(None))
_CLOCK_BEHIND = {"clock_status": ClockStatus.PENDING}
_CLOCK_KEPT = {
    "clock_status": case((_IN_LINE, schedules.c.clock_status), else_=ClockStatus.PENDING),
    "applied_version": case((_IN_LINE, schedules.c.version + 1), else_=schedules.c.applied_version),
    "applied_at": case((_IN_LINE, func.now()), else_=schedules.c.applied_at),
}


async def hold(connection: AsyncConnection, actor: Actor, schedule_id: UUID) -> None:
    """Take the lock of the schedule's row, if the actor's account has one, before anything is written.

    The events of a schedule are read in the order of their transactions' ids, and a transaction gets its id with the
    first row that it locks or writes. One that wrote something else first, such as an idempotency key, could wait for
    this row while a later one passes it by.
    """
    mine = (schedules.c.id == schedule_id, schedules.c.account_id == actor.account_id)
    await connection.execute(select(schedules.c.id).where(*mine).with_for_update())


async def locked(
    connection: AsyncConnection, actor: Actor, schedule_id: UUID, *, expected_version: int | None = None
) -> Schedule:
    """The live schedule under its row lock. Raises `NotFound` and `VersionConflict`."""
    query = (
        select(*schedule_rows.COLUMNS)
        .where(
            schedules.c.id == schedule_id,
            schedules.c.account_id == actor.account_id,
            schedules.c.deleted_at.is_(None),
        )
        .with_for_update()
    )
    row = (await connection.execute(query)).first()
    if row is None:
        raise NotFound("schedule", "input", "id")
    schedule = schedule_rows.to_schedule(row)
    if expected_version not in (None, schedule.version):
        raise VersionConflict(expected_version or 0, schedule.version, schedule, "input", "expectedVersion")
    return schedule


async def change(
    connection: AsyncConnection,
    actor: Actor,
    schedule: Schedule,
    kind: ChangeKind,
    columns: dict[str, Any],
    note: str | None,
    *,
    beside: Difference | None = None,
) -> Schedule:
    """Write the columns of a schedule that the caller has locked; its version grows by one.

    Where its clock was in line, and the columns are none that a clock is made of, the new version is applied with it.
    `beside` is what changed beside its definition: its skipped fires, or its creator.
    """
    changed = await connection.execute(
        update(schedules)
        .where(schedules.c.id == schedule.id)
        .values(
            **columns,
            **(_CLOCK_KEPT if CLOCK_COLUMNS.isdisjoint(columns) else _CLOCK_BEHIND),
            version=schedule.version + 1,
            updated_at=datetime.now(UTC),
        )
        .returning(*schedule_rows.COLUMNS)
    )
    after = schedule_rows.to_schedule(changed.one())
    await record(connection, actor, after, kind, note, beside=beside)
    return after


async def record(
    connection: AsyncConnection,
    actor: Actor,
    schedule: Schedule,
    kind: ChangeKind,
    note: str | None,
    *,
    beside: Difference | None = None,
) -> None:
    """The revision and the event of the version that the schedule is at."""
    definition = to_json(schedule.definition)
    if beside is not None:
        definition[beside.field] = {"before": beside.before, "after": beside.after}
    await connection.execute(
        schedule_revisions.insert().values(
            schedule_id=schedule.id,
            version=schedule.version,
            kind=kind,
            at=schedule.updated_at,
            by=actor.to_json(),
            note=note,
            definition=definition,
        )
    )
    await append(
        connection,
        account_id=schedule.account_id,
        kind=EventKind.SCHEDULE_CHANGED,
        schedule_id=schedule.id,
        run_id=None,
        agent_id=schedule.agent_id,
        payload={"version": schedule.version},
    )
    await reach(Failpoint.BEFORE_COMMIT)
