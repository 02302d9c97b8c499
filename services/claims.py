"""The claim of a fire: one run for one due time, and what is decided about it.

`INSERT ... ON CONFLICT DO NOTHING` on the run is the lock on the fire; the lock on the schedule's row is the fence
that a pause, a skip or a delete puts up. Everything is decided here, in Postgres, whatever Temporal believes.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services import run_changes, run_rows, schedule_rows
from services.agent import Agent, AgentStatus
from services.agents import COLUMNS as AGENT_COLUMNS
from services.agents import to_agent
from services.cadence import compile as compile_cadence
from services.calendar import matches, next_fire
from services.database import Database
from services.definition import from_json
from services.failpoints import Failpoint, reach
from services.rendering import Order, freeze
from services.run import UNFINISHED, Run, RunStatus, RunTrigger, SkipReason, run_id, scheduled_key
from services.schedule import Definition, MissedFirePolicy, OverlapPolicy, Schedule
from services.tables import agents, runs, schedule_revisions, schedules, skipped_fires
from services.wakeup import Notifier

MISSED_AFTER = timedelta(seconds=60)
"""A fire that is claimed later than this counts as missed, and the schedule's policy for missed fires decides."""

NO_ACCOUNT = ""
"""The account of a run whose schedule was never there: nobody sees it but the operator."""


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


class Claims:
    def __init__(self, database: Database, notifier: Notifier) -> None:
        self._database = database
        self._notifier = notifier

    async def claim_scheduled(self, fire: Fire) -> Claim:
        """Make the one run of a due time. Repeating the call by the same workflow gives the same answer."""
        await reach(Failpoint.BEFORE_CLAIM)
        async with self._database.transaction() as connection:
            claim = await _claim(connection, fire)
        await reach(Failpoint.AFTER_CLAIM)
        self._notifier.poke()
        return claim

    async def claim_manual(self, claimed_run_id: UUID, temporal_run_id: str) -> Claim:
        """Take up a run whose row is there already: it runs though the schedule is paused, and whatever overlaps."""
        async with self._database.transaction() as connection:
            run = await run_changes.locked(connection, claimed_run_id)
            if run.finished_at is not None:
                return Claim(run.id, Next.END)
            reason = await _gone(connection, run)
            if reason is not None:
                await run_changes.finish(connection, run, RunStatus.SKIPPED, skip_reason=reason)
            else:
                await run_changes.set_status(connection, run, run.status, temporal_run_id=temporal_run_id)
        self._notifier.poke()
        return Claim(run.id, Next.END if reason else Next.DELIVER)

    async def take_turn(self, waiting_run_id: UUID) -> Claim:
        """Whether a queued run may start: its schedule has no earlier run that has not ended."""
        async with self._database.transaction() as connection:
            run = await run_changes.locked(connection, waiting_run_id)
            if run.finished_at is not None:
                return Claim(run.id, Next.END)
            earlier = await _unfinished(connection, run.schedule_id, before=run)
            return Claim(run.id, Next.WAIT if earlier else Next.DELIVER)


async def _claim(connection: AsyncConnection, fire: Fire) -> Claim:
    query = select(*schedule_rows.COLUMNS).where(schedules.c.id == fire.schedule_id).with_for_update()
    row = (await connection.execute(query)).first()
    if row is None:
        return await _record(connection, fire, None, None, SkipReason.SCHEDULE_NOT_FOUND, RunTrigger.SCHEDULED)
    schedule = schedule_rows.to_schedule(row)
    if (known := await _known(connection, fire)) is not None:
        return known
    agent = await _agent(connection, schedule.agent_id)
    trigger = await _trigger(connection, schedule, fire.nominal)
    unfinished = await _unfinished(connection, schedule.id)
    skipped = trigger is RunTrigger.SCHEDULED and await _skip_requested(connection, fire)
    now = datetime.now(UTC)
    reason = decide(schedule, agent, trigger, fire.nominal, now, skipped=skipped, unfinished=unfinished)
    claim = await _record(connection, fire, schedule, agent, reason, trigger, queued=bool(unfinished))
    cancels = schedule.definition.overlap_policy is OverlapPolicy.CANCEL_PREVIOUS and claim.next is not Next.END
    return Claim(claim.run_id, claim.next, tuple(run.temporal_workflow_id for run in unfinished) if cancels else ())


def decide(
    schedule: Schedule,
    agent: Agent,
    trigger: RunTrigger,
    nominal: datetime,
    now: datetime,
    *,
    skipped: bool,
    unfinished: list[Run],
) -> SkipReason | None:
    """Why the fire is not run, or None where it is. An external trigger is a person's wish, as a manual one is."""
    definition = schedule.definition
    if schedule.deleted_at is not None:
        return SkipReason.SCHEDULE_DELETED
    if trigger is RunTrigger.SCHEDULED:
        if definition.paused:
            return SkipReason.SCHEDULE_PAUSED
        if skipped:
            return SkipReason.SKIP_REQUESTED
        if _outside(definition, nominal):
            return SkipReason.OUTSIDE_WINDOW
        if too_late(definition, nominal, now):
            return SkipReason.TOO_LATE
    if agent.status is AgentStatus.DELETED:
        return SkipReason.AGENT_DELETED
    return SkipReason.OVERLAP if _overlaps(definition.overlap_policy, unfinished) else None


def too_late(definition: Definition, nominal: datetime, now: datetime) -> bool:
    """Whether the policy for missed fires gives this one up."""
    late = now - nominal - definition.jitter
    if late > definition.catch_up_window:
        return True
    if late <= MISSED_AFTER or definition.missed_fire_policy is MissedFirePolicy.RUN_ALL:
        return False
    if definition.missed_fire_policy is MissedFirePolicy.RUN_NONE:
        return True
    newer = next_fire(compile_cadence(definition.cadence), nominal, start=definition.start_at, end=definition.end_at)
    return newer is not None and newer <= now


def _outside(definition: Definition, nominal: datetime) -> bool:
    start, end = definition.start_at, definition.end_at
    return bool((start and nominal < start.replace(microsecond=0)) or (end and nominal > end))


def _overlaps(policy: OverlapPolicy, unfinished: list[Run]) -> bool:
    if policy is OverlapPolicy.SKIP:
        return bool(unfinished)
    return policy is OverlapPolicy.QUEUE_ONE and any(run.status is RunStatus.QUEUED for run in unfinished)


async def _known(connection: AsyncConnection, fire: Fire) -> Claim | None:
    """The answer for a fire that has its run: go on where this very workflow made it, else leave it to its owner."""
    claimed_run_id = run_id(fire.schedule_id, scheduled_key(fire.nominal))
    query = select(runs.c.temporal_run_id, runs.c.status).where(runs.c.id == claimed_run_id)
    row = (await connection.execute(query)).first()
    if row is None:
        return None
    mine = row.temporal_run_id == fire.temporal_run_id and row.status in UNFINISHED
    if not mine:
        return Claim(claimed_run_id, Next.END)
    return Claim(claimed_run_id, Next.WAIT if row.status == RunStatus.QUEUED else Next.DELIVER)


async def _trigger(connection: AsyncConnection, schedule: Schedule, nominal: datetime) -> RunTrigger:
    """SCHEDULED for a due time of any version that the clock may still hold; EXTERNAL for a time that is none."""
    if matches(compile_cadence(schedule.definition.cadence), nominal):
        return RunTrigger.SCHEDULED
    revisions = schedule_revisions.c
    in_force = select(func.max(revisions.version)).where(revisions.schedule_id == schedule.id, revisions.at <= nominal)
    oldest = func.least(schedule.clock.applied_version or 1, func.coalesce(in_force.scalar_subquery(), 1))
    query = select(revisions.definition).where(revisions.schedule_id == schedule.id, revisions.version >= oldest)
    for row in await connection.execute(query):
        if matches(compile_cadence(from_json(row.definition).cadence), nominal):
            return RunTrigger.SCHEDULED
    return RunTrigger.EXTERNAL


async def _record(
    connection: AsyncConnection,
    fire: Fire,
    schedule: Schedule | None,
    agent: Agent | None,
    reason: SkipReason | None,
    trigger: RunTrigger,
    *,
    queued: bool = False,
) -> Claim:
    key = scheduled_key(fire.nominal)
    claimed_run_id = run_id(fire.schedule_id, key)
    waits = queued and schedule is not None and schedule.definition.overlap_policy is not OverlapPolicy.ALLOW
    status = RunStatus.SKIPPED if reason else RunStatus.QUEUED if waits else RunStatus.CLAIMED
    values: dict[str, Any] = {
        "id": claimed_run_id,
        "account_id": schedule.account_id if schedule else NO_ACCOUNT,
        "schedule_id": fire.schedule_id,
        "agent_id": agent.id if agent else None,
        "fire_key": key,
        "trigger": trigger,
        "fire_at": fire.nominal,
        "status": status,
        "skip_reason": reason,
        "schedule_version": schedule.version if schedule else 0,
        "finished_at": datetime.now(UTC) if reason else None,
        "temporal_workflow_id": fire.workflow_id,
        "temporal_run_id": fire.temporal_run_id,
    }
    order = None
    if schedule is not None and agent is not None:
        values |= delivery_columns(schedule.definition, schedule, agent)
        order = scheduled_order(schedule, key, trigger, fire.nominal)
        if reason is None:
            values["task_id"] = order.task_id
    run = await run_changes.insert_once(connection, values)
    if run is not None and reason is None and order is not None and agent is not None:
        await freeze(connection, order, agent)
    ended = run is None or reason is not None
    return Claim(claimed_run_id, Next.END if ended else Next.WAIT if waits else Next.DELIVER)


def delivery_columns(definition: Definition, schedule: Schedule, agent: Agent) -> dict[str, Any]:
    """What a run keeps of its definition, so that a later change does not touch it."""
    return {
        "input": definition.initial_input.to_json(),
        "delivery_method": agent.delivery_method,
        "on_unknown": definition.on_unknown,
        "retry_horizon_seconds": int(definition.retry_horizon.total_seconds()),
        "creator_principal": schedule.creator.to_json() if schedule.creator else None,
    }


def scheduled_order(schedule: Schedule, key: str, trigger: RunTrigger, fire_at: datetime) -> Order:
    definition = schedule.definition
    return Order(
        owner_id=schedule.id,
        schedule_id=schedule.id,
        fire_key=key,
        trigger=trigger,
        fire_at=fire_at,
        display_name=definition.name,
        input=definition.initial_input,
        params=definition.task_params,
        metadata=definition.task_metadata,
        principal=schedule.creator.to_json() if schedule.creator else None,
    )


async def _agent(connection: AsyncConnection, agent_id: UUID) -> Agent:
    query = select(*AGENT_COLUMNS).where(agents.c.id == agent_id)
    return to_agent((await connection.execute(query)).one())


async def _gone(connection: AsyncConnection, run: Run) -> SkipReason | None:
    if run.agent_id is None or (await _agent(connection, run.agent_id)).status is AgentStatus.DELETED:
        return SkipReason.AGENT_DELETED
    if run.schedule_id is None:
        return None
    query = select(schedules.c.deleted_at).where(schedules.c.id == run.schedule_id)
    row = (await connection.execute(query)).first()
    if row is None:
        return SkipReason.SCHEDULE_NOT_FOUND
    return SkipReason.SCHEDULE_DELETED if row.deleted_at is not None else None


async def _skip_requested(connection: AsyncConnection, fire: Fire) -> bool:
    query = select(skipped_fires.c.fire_at).where(
        skipped_fires.c.schedule_id == fire.schedule_id, skipped_fires.c.fire_at == fire.nominal
    )
    return (await connection.execute(query)).first() is not None


async def _unfinished(connection: AsyncConnection, schedule_id: UUID | None, *, before: Run | None = None) -> list[Run]:
    """The schedule's runs that have not ended, or of those the ones claimed before this one; but for backfills."""
    query = select(*run_rows.COLUMNS).where(
        runs.c.schedule_id == schedule_id, runs.c.finished_at.is_(None), runs.c.trigger != RunTrigger.BACKFILL
    )
    if before is not None:
        query = query.where(runs.c.id != before.id, runs.c.claimed_at < before.claimed_at)
    return [run_rows.to_run(row) for row in await connection.execute(query)]
