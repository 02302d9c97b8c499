"""One change of a run within the caller's transaction: the row and its event, or neither."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services import run_rows, schedule_rows
from services.event_log import append
from services.feed_event import EventKind
from services.run import LOST, AttemptOutcome, Run, RunStatus
from services.schedule import Schedule
from services.tables import attempts, runs, schedules


async def locked(connection: AsyncConnection, run_id: UUID) -> Run:
    """The run under its row lock; it must exist."""
    query = select(*run_rows.COLUMNS).where(runs.c.id == run_id).with_for_update()
    return run_rows.to_run((await connection.execute(query)).one())


async def locked_schedule(connection: AsyncConnection, run_id: UUID) -> Schedule | None:
    """The run's schedule under its row lock, deleted or not: taken before the run's, as the claim does."""
    query = (
        select(*schedule_rows.COLUMNS)
        .join(runs, runs.c.schedule_id == schedules.c.id)
        .where(runs.c.id == run_id)
        .with_for_update(of=schedules)
    )
    row = (await connection.execute(query)).first()
    return schedule_rows.to_schedule(row) if row is not None else None


async def insert_once(connection: AsyncConnection, values: dict[str, Any]) -> Run | None:
    """Write a new run with its first event; None where the fire has its run already."""
    inserted = await connection.execute(
        insert(runs).values(values).on_conflict_do_nothing().returning(*run_rows.COLUMNS)
    )
    row = inserted.first()
    if row is None:
        return None
    run = run_rows.to_run(row)
    await _announce(connection, run, previous=None)
    return run


async def set_status(connection: AsyncConnection, run: Run, status: RunStatus, **columns: Any) -> Run:
    """Move a run that the caller has locked; readers of the feed hear of it where the status is another one."""
    changed = await connection.execute(
        update(runs).where(runs.c.id == run.id).values(status=status, **columns).returning(*run_rows.COLUMNS)
    )
    after = run_rows.to_run(changed.one())
    if after.status is not run.status:
        await _announce(connection, after, previous=run.status)
    return after


async def finish(connection: AsyncConnection, run: Run, status: RunStatus, **columns: Any) -> Run:
    """Move a run to its end; an attempt that a lost worker left open ends with it."""
    if run.attempt_count:
        open_attempts = (attempts.c.run_id == run.id) & (attempts.c.outcome == AttemptOutcome.IN_FLIGHT)
        values = {"outcome": AttemptOutcome.UNKNOWN, "error": LOST.to_json()}
        await connection.execute(update(attempts).where(open_attempts).values(values))
    return await set_status(connection, run, status, finished_at=datetime.now(UTC), **columns)


async def _announce(connection: AsyncConnection, run: Run, previous: RunStatus | None) -> None:
    await append(
        connection,
        account_id=run.account_id,
        kind=EventKind.FIRE_STATUS,
        schedule_id=run.schedule_id,
        run_id=run.id,
        agent_id=run.agent_id,
        payload={
            "status": run.status.value,
            "previous": previous.value if previous else None,
            "trigger": run.trigger.value,
            "fireAt": run.fire_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        },
    )
