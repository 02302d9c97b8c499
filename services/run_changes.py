"""One change of a run within the caller's transaction: the row and its event, or neither."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Insert as AnyInsert
from sqlalchemy import Update, bindparam, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert

from services import run_rows, schedule_rows
from services.feed_event import EventKind
from services.run import LOST, AttemptOutcome, Run, RunStatus, RunTrigger
from services.schedule import Schedule
from services.statements import Statement, given, new
from services.tables import attempts, events, runs, schedules
from services.transactions import Transaction

STATEMENTS_KEPT = 256

_LOCKED = Statement(select(*run_rows.COLUMNS).where(runs.c.id == bindparam("run")).with_for_update())
_LOCKED_SCHEDULE = Statement(
    select(*schedule_rows.COLUMNS)
    .join(runs, runs.c.schedule_id == schedules.c.id)
    .where(runs.c.id == bindparam("run"))
    .with_for_update(of=schedules)
)
_LOSE_ATTEMPTS = Statement(
    update(attempts)
    .where(attempts.c.run_id == bindparam("run"), attempts.c.outcome == AttemptOutcome.IN_FLIGHT)
    .values(outcome=AttemptOutcome.UNKNOWN, error=LOST.to_json())
)


async def locked(transaction: Transaction, run_id: UUID) -> Run:
    """The run under its row lock; it must exist."""
    (row,) = await transaction.rows(_LOCKED, {"run": run_id})
    return run_rows.whole(row)


async def locked_schedule(transaction: Transaction, run_id: UUID) -> Schedule | None:
    """The run's schedule under its row lock, deleted or not: taken before the run's, as the claim does."""
    rows = await transaction.rows(_LOCKED_SCHEDULE, {"run": run_id})
    return schedule_rows.whole(rows[0]) if rows else None


async def insert_once(transaction: Transaction, values: dict[str, Any]) -> Run | None:
    """Write a new run with its first event; None where the fire has its run already."""
    event = _event(values["status"], None, values["trigger"], values["fire_at"])
    rows = await transaction.rows(_insertion(frozenset(values)), {**new(values), "event": event})
    return run_rows.whole(rows[0]) if rows else None


async def set_status(transaction: Transaction, run: Run, status: RunStatus, **columns: Any) -> Run:
    """Move a run that the caller has locked; readers of the feed hear of it where the status is another one."""
    values = {**new(columns), "new_status": status, "run": run.id}
    if status is run.status:
        statement = _change(frozenset(columns))
    else:
        statement = _announced_change(frozenset(columns))
        values["event"] = _event(status, run.status, columns.get("trigger", run.trigger), run.fire_at)
    (row,) = await transaction.rows(statement, values)
    return run_rows.whole(row)


async def finish(transaction: Transaction, run: Run, status: RunStatus, **columns: Any) -> Run:
    """Move a run to its end; an attempt that a lost worker left open ends with it."""
    if run.attempt_count:
        await transaction.rows(_LOSE_ATTEMPTS, {"run": run.id})
    return await set_status(transaction, run, status, finished_at=datetime.now(UTC), **columns)


@lru_cache(maxsize=STATEMENTS_KEPT)
def _insertion(names: frozenset[str]) -> Statement:
    # Not the transaction's time, which several runs may share: it is the order of their turns.
    values = {**given(runs, names), "claimed_at": func.clock_timestamp()}
    return _announced(insert(runs).values(values).on_conflict_do_nothing())


@lru_cache(maxsize=STATEMENTS_KEPT)
def _change(names: frozenset[str]) -> Statement:
    return Statement(_update(names).returning(*run_rows.COLUMNS))


@lru_cache(maxsize=STATEMENTS_KEPT)
def _announced_change(names: frozenset[str]) -> Statement:
    return _announced(_update(names))


def _update(names: frozenset[str]) -> Update:
    return update(runs).where(runs.c.id == bindparam("run")).values(given(runs, {*names, "status"}))


def _announced(written: AnyInsert | Update) -> Statement:
    """The statement that writes a run's row with an event; it answers the row. No row, no event."""
    row = written.returning(*run_rows.COLUMNS).cte("written")
    told = select(
        row.c.account_id,
        literal_column(f"'{EventKind.FIRE_STATUS}'"),
        row.c.schedule_id,
        row.c.id,
        row.c.agent_id,
        bindparam("event", type_=JSONB),
    )
    names = ["account_id", "kind", "schedule_id", "run_id", "agent_id", "payload"]
    return Statement(select(row).add_cte(events.insert().from_select(names, told).cte("told")))


def _event(status: RunStatus, previous: RunStatus | None, trigger: RunTrigger, fire_at: datetime) -> dict[str, Any]:
    """What an event tells of a run."""
    return {
        "status": status.value,
        "previous": previous.value if previous else None,
        "trigger": trigger.value,
        "fireAt": fire_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
