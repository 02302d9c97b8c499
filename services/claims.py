"""The claim of a fire: one run for one due time, and what its workflow does next.

`INSERT ... ON CONFLICT DO NOTHING` on the run is the lock on the fire; the lock on the schedule's row is the fence
that a pause, a skip or a delete puts up. Everything is decided here, in Postgres, whatever Temporal believes.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, Uuid, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from services import run_changes, run_rows, schedule_rows
from services.agent import Agent, AgentProtocol, AgentStatus
from services.cadence import compile as compile_cadence
from services.calendar import matches
from services.database import Database
from services.decisions import decide, first_status
from services.definition import from_json
from services.deliveries import no_more_sent
from services.failpoints import Failpoint, reach
from services.latest_fires import later_fires
from services.new_runs import agent_of, delivery_columns, insert, scheduled_order, skip_requested, unfinished
from services.run import Run, RunStatus, RunTrigger, SkipReason, run_id, scheduled_key
from services.schedule import Columns, OverlapPolicy, Schedule
from services.settlements import finish
from services.statements import Statement
from services.tables import agents, runs, schedule_revisions, schedules
from services.transactions import Transaction
from services.wakeup import Notifier

NO_ACCOUNT = ""
"""The account of a run whose schedule was never there: nobody sees it but the operator."""
KEEP_TO_POLICY = (RunTrigger.SCHEDULED, RunTrigger.EXTERNAL)
"""What the overlap policy holds for: what a person asks for runs whatever overlaps."""

EARLY = timedelta(seconds=5)
"""How much sooner than by our own clock a fire may come: the server's is another."""
LOOK_AGAIN = timedelta(hours=1)

_LOCKED = Statement(select(*schedule_rows.COLUMNS).where(schedules.c.id == bindparam("schedule")).with_for_update())
_KNOWN = Statement(select(*run_rows.COLUMNS, runs.c.temporal_run_id).where(runs.c.id == bindparam("run")))
_UNSTARTED = Statement(
    select(*run_rows.COLUMNS)
    .where(
        runs.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))),
        runs.c.temporal_run_id.is_(None),
        runs.c.finished_at.is_(None),
    )
    .with_for_update(skip_locked=True)
)
"""But for those that someone is at: whoever takes one up there has a workflow."""
_STANDING = Statement(
    select(
        agents.c.status,
        agents.c.protocol,
        schedules.c.id.label("schedule_id"),
        schedules.c.deleted_at,
        schedules.c.overlap_policy,
        runs.c.deadline_at,
    )
    .select_from(runs.outerjoin(agents).outerjoin(schedules, schedules.c.id == runs.c.schedule_id))
    .where(runs.c.id == bindparam("run"))
)
"""How the run's agent and schedule stand now; null for what it has none of."""


def _definitions() -> Statement:
    """Those of the versions that the clock may still hold: from the applied one on, or the one in force at the time."""
    revisions, of_schedule = schedule_revisions.c, schedule_revisions.c.schedule_id == bindparam("schedule")
    in_force = select(func.max(revisions.version)).where(of_schedule, revisions.at <= bindparam("nominal"))
    oldest = func.least(bindparam("applied", type_=Integer), func.coalesce(in_force.scalar_subquery(), 1))
    return Statement(select(revisions.definition).where(of_schedule, revisions.version >= oldest))


_DEFINITIONS = _definitions()


class Next(StrEnum):
    """What the workflow does after the claim."""

    DELIVER = "DELIVER"
    WAIT = "WAIT"
    END = "END"


@dataclass(frozen=True, slots=True)
class Fire:
    """A fire as the clock brings it: the nominal time, and the workflow that carries it."""

    schedule_id: UUID
    nominal: datetime
    workflow_id: str
    temporal_run_id: str


@dataclass(frozen=True, slots=True)
class Claim:
    run_id: UUID
    next: Next
    cancel: tuple[str, ...] = ()
    """Workflows of earlier runs that the policy wants ended first."""
    stops_earlier: bool = False
    """Whether the agent is to be told, before the delivery, to stop what earlier runs gave it to do."""


class Claims:
    def __init__(self, database: Database, notifier: Notifier) -> None:
        self._database = database
        self._notifier = notifier

    async def claim_scheduled(self, fire: Fire) -> Claim:
        """Make the one run of a due time. Repeating the call by the same workflow gives the same answer."""
        await reach(Failpoint.BEFORE_CLAIM)
        async with self._database.changes.begin() as transaction:
            claim = await _claim(transaction, fire)
        await reach(Failpoint.AFTER_CLAIM)
        self._notifier.poke()
        return claim

    async def take_up(self, claimed_run_id: UUID, temporal_run_id: str) -> Claim:
        """Take up a run whose row is there already, though its schedule is paused; one that is queued waits.

        One of which something was sent goes on though its schedule or agent is gone: its delivery tells the end. One
        that was retried, and of which nothing was sent since, ends: as UNKNOWN where it may have arrived before.
        """
        async with self._database.changes.begin() as transaction:
            run = await run_changes.locked(transaction, claimed_run_id)
            if run.finished_at is not None:
                return Claim(run.id, Next.END)
            (row,) = await transaction.rows(_STANDING, {"run": run.id})
            run = await _ended_if_gone(transaction, run, row)
            if run.finished_at is None:
                run = await run_changes.set_status(transaction, run, run.status, temporal_run_id=temporal_run_id)
            claim = await _next(transaction, run, row["overlap_policy"], row["protocol"])
        self._notifier.poke()
        return claim

    async def take_turn(self, waiting_run_id: UUID) -> Claim:
        """Whether a queued run may start: its schedule and agent are there, and no earlier run that has not ended."""
        async with self._database.changes.begin() as transaction:
            run = await run_changes.locked(transaction, waiting_run_id)
            if run.finished_at is not None:
                return Claim(run.id, Next.END)
            (row,) = await transaction.rows(_STANDING, {"run": run.id})
            run = await _ended_if_gone(transaction, run, row)
            if run.finished_at is None:
                earlier = await unfinished(transaction, run.schedule_id, before=run)
                return Claim(run.id, Next.WAIT if earlier else Next.DELIVER)
        self._notifier.poke()
        return Claim(run.id, Next.END)


def not_due_for(nominal: datetime, now: datetime) -> timedelta | None:
    """How long a fire should wait and ask again; None where it may be claimed.

    A backfill in Temporal itself brings any time to come at once, and the run of that time would be over before it.
    """
    ahead = nominal - now
    return min(ahead, LOOK_AGAIN) if ahead > EARLY else None


async def _claim(transaction: Transaction, fire: Fire) -> Claim:
    rows = await transaction.rows(_LOCKED, {"schedule": fire.schedule_id})
    if not rows:
        return await _claim_without_schedule(transaction, fire)
    schedule = schedule_rows.whole(rows[0])
    claimed_run_id = run_id(schedule.id, scheduled_key(fire.nominal))
    known = await transaction.rows(_KNOWN, {"run": claimed_run_id})
    if known and known[0]["temporal_run_id"] != fire.temporal_run_id:
        return Claim(claimed_run_id, Next.END)
    agent = await agent_of(transaction, schedule.agent_id)
    run = run_rows.whole(known[0]) if known else await _make(transaction, fire, schedule, agent)
    return await _next(transaction, run, schedule.definition.overlap_policy, agent.protocol)


async def _make(transaction: Transaction, fire: Fire, schedule: Schedule, agent: Agent) -> Run:
    trigger = await _trigger(transaction, schedule, fire.nominal)
    skipped = trigger is RunTrigger.SCHEDULED and await skip_requested(transaction, schedule.id, fire.nominal)
    earlier = await unfinished(transaction, schedule.id)
    later = await later_fires(transaction, schedule, fire.nominal)
    now = datetime.now(UTC)
    is_latest = later.none_since(fire.nominal, now)
    reason = decide(
        schedule, agent, trigger, fire.nominal, now, skipped=skipped, is_latest=is_latest, unfinished=earlier
    )
    status = RunStatus.SKIPPED if reason else first_status(schedule.definition.overlap_policy, earlier)
    values = {
        **delivery_columns(schedule.definition, schedule, agent),
        **_carried_by(fire),
        "status": status,
        "skip_reason": reason,
        "schedule_version": schedule.version,
        "finished_at": now if reason else None,
    }
    order = scheduled_order(schedule, scheduled_key(fire.nominal), trigger, fire.nominal)
    run = await insert(transaction, order, agent, values)
    assert run is not None  # noqa: S101 - the schedule is locked, and the run was not there
    return run


async def _next(transaction: Transaction, run: Run, policy: str | None, protocol: str | None) -> Claim:
    """What the workflow of this run does now: the same however often it asks."""
    if run.finished_at is not None:
        return Claim(run.id, Next.END)
    waits = run.status is RunStatus.QUEUED
    earlier = await unfinished(transaction, run.schedule_id, before=run) if waits else []
    cancels = policy == OverlapPolicy.CANCEL_PREVIOUS and run.trigger in KEEP_TO_POLICY
    if cancels and earlier:
        earlier = await _cancel_unstarted(transaction, earlier)
    return Claim(
        run.id,
        Next.WAIT if earlier else Next.DELIVER,
        cancel=tuple(each.temporal_workflow_id for each in earlier) if cancels else (),
        stops_earlier=cancels and protocol != AgentProtocol.SYNC,
    )


async def _cancel_unstarted(transaction: Transaction, earlier: list[Run]) -> list[Run]:
    """Those that have a workflow to be cancelled: the others, whose start Temporal has not taken yet, end here."""
    rows = await transaction.rows(_UNSTARTED, {"ids": [run.id for run in earlier]})
    unstarted = {row["id"] for row in rows}
    for row in rows:
        await run_changes.finish(transaction, run_rows.whole(row), RunStatus.CANCELLED)
    return [run for run in earlier if run.id not in unstarted]


async def _trigger(transaction: Transaction, schedule: Schedule, nominal: datetime) -> RunTrigger:
    """SCHEDULED for a due time of any version that the clock may still hold; EXTERNAL for a time that is none."""
    if matches(compile_cadence(schedule.definition.cadence), nominal):
        return RunTrigger.SCHEDULED
    applied = schedule.clock.applied_version or 1
    values = {"schedule": schedule.id, "nominal": nominal, "applied": applied}
    for row in await transaction.rows(_DEFINITIONS, values):
        if matches(compile_cadence(from_json(row["definition"]).cadence), nominal):
            return RunTrigger.SCHEDULED
    return RunTrigger.EXTERNAL


async def _claim_without_schedule(transaction: Transaction, fire: Fire) -> Claim:
    key = scheduled_key(fire.nominal)
    values = {
        **_carried_by(fire),
        "id": run_id(fire.schedule_id, key),
        "account_id": NO_ACCOUNT,
        "schedule_id": fire.schedule_id,
        "fire_key": key,
        "trigger": RunTrigger.SCHEDULED,
        "fire_at": fire.nominal,
        "status": RunStatus.SKIPPED,
        "skip_reason": SkipReason.SCHEDULE_NOT_FOUND,
        "schedule_version": 0,
        "finished_at": datetime.now(UTC),
    }
    await run_changes.insert_once(transaction, values)
    return Claim(values["id"], Next.END)


def _carried_by(fire: Fire) -> dict[str, Any]:
    return {"temporal_workflow_id": fire.workflow_id, "temporal_run_id": fire.temporal_run_id}


async def _ended_if_gone(transaction: Transaction, run: Run, row: Columns) -> Run:
    """The run, which ends here where its schedule or agent is gone before anything of it is sent."""
    reason = _gone(run, row) if row["deadline_at"] is None else None
    if reason is None:
        return run
    return await finish(transaction, run, await no_more_sent(transaction, run, reason))


def _gone(run: Run, row: Columns) -> SkipReason | None:
    if row["status"] in (None, AgentStatus.DELETED):
        return SkipReason.AGENT_DELETED
    if run.schedule_id is None:
        return None
    if row["schedule_id"] is None:
        return SkipReason.SCHEDULE_NOT_FOUND
    return SkipReason.SCHEDULE_DELETED if row["deleted_at"] is not None else None
