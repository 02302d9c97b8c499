"""What becomes of a due time: decided from values alone, the same for whoever claims it."""

from datetime import datetime, timedelta

from services.agent import Agent, AgentStatus
from services.run import Run, RunStatus, RunTrigger, SkipReason
from services.schedule import Definition, MissedFirePolicy, OverlapPolicy, Schedule

MISSED_AFTER = timedelta(seconds=60)
"""A fire that is claimed later than this counts as missed, and the schedule's policy for missed fires decides."""


def decide(
    schedule: Schedule,
    agent: Agent,
    trigger: RunTrigger,
    nominal: datetime,
    now: datetime,
    *,
    skipped: bool,
    is_latest: bool,
    unfinished: list[Run],
) -> SkipReason | None:
    """Why the fire is not run, or None where it is. An external trigger is a person's wish, as a manual one is.

    `is_latest` is asked for where `needs_latest` says so: whether nothing that is to be run has been due since.
    """
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
        if _too_late(definition, nominal, now, is_latest=is_latest):
            return SkipReason.TOO_LATE
    if agent.status is AgentStatus.DELETED:
        return SkipReason.AGENT_DELETED
    return SkipReason.OVERLAP if _overlaps(definition.overlap_policy, unfinished) else None


def first_status(policy: OverlapPolicy, unfinished: list[Run]) -> RunStatus:
    """The status of a run that is to be delivered: it waits for the earlier ones, unless they may overlap."""
    return RunStatus.QUEUED if unfinished and policy is not OverlapPolicy.ALLOW else RunStatus.CLAIMED


def needs_latest(definition: Definition, nominal: datetime, now: datetime) -> bool:
    """Whether it depends on later due times what becomes of this one."""
    late = _lateness(definition, nominal, now)
    return definition.missed_fire_policy is MissedFirePolicy.RUN_LATEST and (
        MISSED_AFTER < late <= definition.catch_up_window
    )


def _too_late(definition: Definition, nominal: datetime, now: datetime, *, is_latest: bool) -> bool:
    """Whether the policy for missed fires gives this one up."""
    late = _lateness(definition, nominal, now)
    if late > definition.catch_up_window:
        return True
    if late <= MISSED_AFTER or definition.missed_fire_policy is MissedFirePolicy.RUN_ALL:
        return False
    return definition.missed_fire_policy is MissedFirePolicy.RUN_NONE or not is_latest


def _lateness(definition: Definition, nominal: datetime, now: datetime) -> timedelta:
    return now - nominal - definition.jitter


def _outside(definition: Definition, nominal: datetime) -> bool:
    start, end = definition.start_at, definition.end_at
    return bool((start and nominal < start.replace(microsecond=0)) or (end and nominal > end))


def _overlaps(policy: OverlapPolicy, unfinished: list[Run]) -> bool:
    if policy is OverlapPolicy.SKIP:
        return bool(unfinished)
    return policy is OverlapPolicy.QUEUE_ONE and any(run.status is RunStatus.QUEUED for run in unfinished)
