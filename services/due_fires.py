"""Due times that have no run: found by the history of their schedule, and claimed as the clock's own fire is.

A run made here is a row first; its workflow follows by an id of the run's own, so that starting it twice starts it
once. The schedule's row is locked while it is decided, which is the fence of every claim.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, any_, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP

from services import schedule_rows
from services.agent import Agent
from services.database import Database
from services.decisions import decide, first_status
from services.due import Regime, expected_fires
from services.histories import Histories, History
from services.latest_fires import LaterFires, later_fires
from services.new_runs import agent_of, delivery_columns, insert, scheduled_order, skip_requested, unfinished
from services.run import Run, RunError, RunStatus, RunTrigger, SkipReason, run_id, scheduled_key
from services.schedule import Schedule
from services.starter import manual_workflow_id
from services.statements import Statement
from services.tables import runs, schedules
from services.transactions import Transaction

SETTLED_OF = 1_000
SETTLED_AT_ONCE = 50
"""So that it fits into the lease of the one who settles, with much left of it."""

_THERE = Statement(select(runs.c.id).where(runs.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))))
_LOCKED = Statement(select(*schedule_rows.COLUMNS).where(schedules.c.id == bindparam("schedule")).with_for_update())
_marks = (
    func.unnest(bindparam("ids", type_=ARRAY(Uuid)), bindparam("until", type_=ARRAY(TIMESTAMP(timezone=True))))
    .table_valued("id", "until")
    .render_derived("marks")
)
_MARK = Statement(
    update(schedules)
    .where(schedules.c.id == _marks.c.id)
    .values(settled_until=func.greatest(schedules.c.settled_until, _marks.c.until))
)


@dataclass(frozen=True, slots=True)
class Missing:
    """A schedule's due times that have no run, in order."""

    schedule_id: UUID
    fires: tuple[datetime, ...]


class DueFires:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._histories = Histories(database)

    async def settle(self, schedule: Schedule) -> list[Run]:
        """Make the runs that one schedule lacks by now. What is more than a few is left to the auditor."""
        if schedule.version == 1 and not _due(_first_history(schedule)):
            return []
        history = await self._histories.of(schedule.id)
        if history is None or not (fires := _due(history)):
            return []
        made: list[Run] = []
        for missing in await self.missing([Missing(schedule.id, fires)]):
            made += await self.claim(Missing(schedule.id, missing.fires[:SETTLED_AT_ONCE]))
        return made

    async def missing(self, due: Sequence[Missing]) -> list[Missing]:
        """Of these due times, those without a run; schedules that lack none are left out."""
        ids = {run_id(each.schedule_id, scheduled_key(fire)) for each in due for fire in each.fires}
        found = {row["id"] for row in await self._database.reads.rows(_THERE, {"ids": list(ids)})}
        lacking = [
            Missing(
                each.schedule_id,
                tuple(fire for fire in each.fires if run_id(each.schedule_id, scheduled_key(fire)) not in found),
            )
            for each in due
        ]
        return [each for each in lacking if each.fires]

    async def claim(self, missing: Missing) -> list[Run]:
        """Make the runs of these due times, whatever becomes of each; those that were there meanwhile are left out."""
        made = []
        async with self._database.changes.begin() as transaction:
            (row,) = await transaction.rows(_LOCKED, {"schedule": missing.schedule_id})
            schedule = schedule_rows.whole(row)
            agent = await agent_of(transaction, schedule.agent_id)
            earlier = await unfinished(transaction, schedule.id)
            later = await later_fires(transaction, schedule, *missing.fires)
            for fire in missing.fires:
                run = await _claim(transaction, schedule, agent, fire, earlier, later)
                if run is not None:
                    made.append(run)
                    earlier += [run] if run.finished_at is None else []
        return made

    async def mark(self, schedule_ids: Sequence[UUID], until: Sequence[datetime]) -> None:
        """Note up to when each of these schedules has all its runs; a mark never goes back."""
        async with self._database.changes.begin() as transaction:
            await transaction.rows(_MARK, {"ids": list(schedule_ids), "until": list(until)})


def _due(history: History) -> tuple[datetime, ...]:
    until = history.due_by(datetime.now(UTC))
    return tuple(islice(expected_fires(history.regimes, history.after, until), SETTLED_OF))


def _first_history(schedule: Schedule) -> History:
    """All that has been of a schedule at its first version: its row tells as much as its one revision."""
    definition, since = schedule.definition, schedule.updated_at
    regime = Regime(
        since=since,
        cadence=definition.cadence,
        start_at=definition.start_at,
        end_at=definition.end_at,
        jitter=definition.jitter,
        active=not definition.paused,
    )
    return History(schedule.id, since, (regime,))


async def _claim(
    transaction: Transaction, schedule: Schedule, agent: Agent, fire: datetime, earlier: list[Run], later: LaterFires
) -> Run | None:
    now = datetime.now(UTC)
    skipped, is_latest = await skip_requested(transaction, schedule.id, fire), later.none_since(fire, now)
    trigger = RunTrigger.SCHEDULED
    reason = decide(schedule, agent, trigger, fire, now, skipped=skipped, is_latest=is_latest, unfinished=earlier)
    order = scheduled_order(schedule, scheduled_key(fire), trigger, fire)
    values: dict[str, Any] = {
        **delivery_columns(schedule.definition, schedule, agent),
        **_outcome(schedule, reason, now, earlier),
        "schedule_version": schedule.version,
        "temporal_workflow_id": manual_workflow_id(order.run_id),
    }
    return await insert(transaction, order, agent, values)


def _outcome(schedule: Schedule, reason: SkipReason | None, now: datetime, earlier: list[Run]) -> dict[str, Any]:
    """The columns that say what becomes of it. What nobody claimed in time was missed rather than skipped."""
    if reason is None:
        return {"status": first_status(schedule.definition.overlap_policy, earlier)}
    if reason is not SkipReason.TOO_LATE:
        return {"status": RunStatus.SKIPPED, "skip_reason": reason, "finished_at": now}
    policy = schedule.definition.missed_fire_policy
    error = RunError(
        reason, f"Nothing took this fire up in time, and by {policy} it is not run as late as this.", retryable=False
    )
    return {"status": RunStatus.MISSED, "error": error.to_json(), "finished_at": now}
