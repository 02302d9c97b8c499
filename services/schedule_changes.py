"""One change of a schedule within the caller's transaction: the row, its revision and its event, or none of them."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Insert, Text, Update, and_, bindparam, case, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import JSONB

from services import schedule_rows
from services.definition import Difference, to_json
from services.errors import NotFound, VersionConflict
from services.failpoints import Failpoint, reach
from services.feed_event import EventKind
from services.principals import Actor
from services.schedule import ChangeKind, ClockStatus, Definition, Schedule
from services.statements import Statement, given, new
from services.tables import events, schedule_revisions, schedules
from services.transactions import Transaction

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
STATEMENTS_KEPT = 256

_MINE = and_(schedules.c.id == bindparam("id"), schedules.c.account_id == bindparam("account_id"))
_HOLD = Statement(select(schedules.c.id).where(_MINE).with_for_update())
_LOCKED = Statement(select(*schedule_rows.COLUMNS).where(_MINE, schedules.c.deleted_at.is_(None)).with_for_update())

# Whoever holds the lease compares the clock with the version that it has read, and writes down that one.
_IN_LINE = and_(schedules.c.applied_version == schedules.c.version, schedules.c.lease_id.is_(None))
_CLOCK_BEHIND = {"clock_status": ClockStatus.PENDING}
_CLOCK_KEPT = {
    "clock_status": case((_IN_LINE, schedules.c.clock_status), else_=ClockStatus.PENDING),
    "applied_version": case((_IN_LINE, schedules.c.version + 1), else_=schedules.c.applied_version),
    "applied_at": case((_IN_LINE, func.now()), else_=schedules.c.applied_at),
}


async def hold(transaction: Transaction, actor: Actor, schedule_id: UUID) -> None:
    """Take the lock of the schedule's row, if the actor's account has one, before anything is written.

    The events of a schedule are read in the order of their transactions' ids, and a transaction gets its id with the
    first row that it locks or writes. One that wrote something else first, such as an idempotency key, could wait for
    this row while a later one passes it by.
    """
    await transaction.rows(_HOLD, {"id": schedule_id, "account_id": actor.account_id})


async def locked(
    transaction: Transaction, actor: Actor, schedule_id: UUID, *, expected_version: int | None = None
) -> Schedule:
    """The live schedule under its row lock. Raises `NotFound` and `VersionConflict`."""
    rows = await transaction.rows(_LOCKED, {"id": schedule_id, "account_id": actor.account_id})
    if not rows:
        raise NotFound("schedule", "input", "id")
    schedule = schedule_rows.whole(rows[0])
    if expected_version not in (None, schedule.version):
        raise VersionConflict(expected_version or 0, schedule.version, schedule, "input", "expectedVersion")
    return schedule


async def insert(
    transaction: Transaction, actor: Actor, schedule_id: UUID, agent_id: UUID, definition: Definition
) -> Schedule:
    """Write a new schedule of an agent; whoever makes it is its creator."""
    columns = schedule_rows.to_row(definition)
    columns |= {"id": schedule_id, "agent_id": agent_id}
    columns |= {"account_id": actor.account_id, "creator_principal": actor.to_json()}
    values = new(columns) | revision(actor, ChangeKind.CREATED, definition, None)
    (row,) = await transaction.rows(_insertion(frozenset(columns)), values)
    await reach(Failpoint.BEFORE_COMMIT)
    return Schedule(row)


async def change(
    transaction: Transaction,
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
    after = Schedule({**dict(schedule.row.items()), **columns})
    values = new(columns) | {"schedule_id": schedule.id, "at": datetime.now(UTC)}
    values |= revision(actor, kind, after.definition, note, beside=beside)
    (row,) = await transaction.rows(_change(frozenset(columns)), values)
    await reach(Failpoint.BEFORE_COMMIT)
    return Schedule(row)


def recorded(written: Insert | Update) -> Statement:
    """The statement that writes a schedule's row with the revision and the event of the version that it is at then.

    It answers the row, and takes the values of `revision` beside its own; no row, no revision and no event.
    """
    row = written.returning(*schedule_rows.COLUMNS).cte("written")
    made = select(
        row.c.id,
        row.c.version,
        row.c.updated_at,
        bindparam("kind", type_=Text),
        bindparam("by", type_=JSONB(none_as_null=True)),
        bindparam("note", type_=Text),
        bindparam("definition", type_=JSONB),
    )
    names = ["schedule_id", "version", "at", "kind", "by", "note", "definition"]
    told = select(
        row.c.account_id,
        literal_column(f"'{EventKind.SCHEDULE_CHANGED}'"),
        row.c.id,
        row.c.agent_id,
        func.jsonb_build_object(literal_column("'version'"), row.c.version),
    )
    return Statement(
        select(row).add_cte(
            schedule_revisions.insert().from_select(names, made).cte("made"),
            events.insert().from_select(["account_id", "kind", "schedule_id", "agent_id", "payload"], told).cte("told"),
        )
    )


def revision(
    actor: Actor, kind: ChangeKind, definition: Definition, note: str | None, *, beside: Difference | None = None
) -> dict[str, Any]:
    """What a statement of `recorded` keeps of a change: who made which, and the definition after it."""
    stored = to_json(definition)
    if beside is not None:
        stored[beside.field] = {"before": beside.before, "after": beside.after}
    return {"kind": kind, "by": actor.to_json(), "note": note, "definition": stored}


@lru_cache(maxsize=1)
def _insertion(names: frozenset[str]) -> Statement:
    return recorded(schedules.insert().values(given(schedules, names)))


@lru_cache(maxsize=STATEMENTS_KEPT)
def _change(names: frozenset[str]) -> Statement:
    clock = _CLOCK_KEPT if CLOCK_COLUMNS.isdisjoint(names) else _CLOCK_BEHIND
    return recorded(
        update(schedules)
        .where(schedules.c.id == bindparam("schedule_id"))
        .values(**given(schedules, names), **clock, version=schedules.c.version + 1, updated_at=bindparam("at"))
    )
