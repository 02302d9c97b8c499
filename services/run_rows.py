"""Runs, attempts, tasks and messages between their rows and their values."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from services.agent import DeliveryMethod
from services.run import (
    Attempt,
    AttemptOutcome,
    Intervention,
    Message,
    Run,
    RunError,
    RunStatus,
    RunTrigger,
    SkipReason,
    Task,
    TaskCancellation,
)
from services.schedule import Columns
from services.tables import messages, runs, task_cancellations, tasks

COLUMNS = [
    runs.c.id,
    runs.c.account_id,
    runs.c.schedule_id,
    runs.c.agent_id,
    runs.c.trigger,
    runs.c.fire_at,
    runs.c.status,
    runs.c.skip_reason,
    runs.c.error,
    runs.c.delivery_method,
    runs.c.task_id,
    runs.c.attempt_count,
    runs.c.schedule_version,
    runs.c.note,
    runs.c.claimed_at,
    runs.c.delivered_at,
    runs.c.finished_at,
    runs.c.temporal_workflow_id,
    runs.c.interventions,
]
_NAMES = [column.name for column in COLUMNS]
_TRIGGERS = {each.value: each for each in RunTrigger}
_STATUSES = {each.value: each for each in RunStatus}
_SKIP_REASONS: dict[str | None, SkipReason | None] = {None: None, **{each.value: each for each in SkipReason}}
_METHODS: dict[str | None, DeliveryMethod | None] = {None: None, **{each.value: each for each in DeliveryMethod}}
TASK_COLUMNS = [
    tasks.c.id,
    tasks.c.account_id,
    tasks.c.agent_id,
    tasks.c.run_id,
    tasks.c.name,
    tasks.c.display_name,
    tasks.c.params,
    tasks.c.metadata,
    tasks.c.created_at,
]
CANCELLATION_COLUMNS = [
    task_cancellations.c.task_id,
    task_cancellations.c.run_id,
    task_cancellations.c.requested_at,
    task_cancellations.c.attempt_count,
    task_cancellations.c.outcome,
    task_cancellations.c.error,
    task_cancellations.c.ended_at,
]
MESSAGE_COLUMNS = [
    messages.c.id,
    messages.c.task_id,
    messages.c.author,
    messages.c.content,
    messages.c.sequence,
    messages.c.created_at,
]


def to_run(row: Row[Any]) -> Run:
    """As `whole`, of a row of SQLAlchemy's."""
    return whole(row._mapping)


def whole(row: Columns) -> Run:
    """The run of a row that has all of `COLUMNS`."""
    return run_of([row[name] for name in _NAMES])


def run_of(values: Sequence[Any]) -> Run:
    """The run with these values of `COLUMNS`, in the order of its attributes."""
    (
        id_,
        account_id,
        schedule_id,
        agent_id,
        trigger,
        fire_at,
        status,
        skip_reason,
        error,
        delivery_method,
        task_id,
        attempt_count,
        schedule_version,
        note,
        claimed_at,
        delivered_at,
        finished_at,
        temporal_workflow_id,
        interventions,
    ) = values
    return Run(
        id_,
        account_id,
        schedule_id,
        agent_id,
        _TRIGGERS[trigger],
        fire_at,
        _STATUSES[status],
        _SKIP_REASONS[skip_reason],
        RunError.from_json(error) if error else None,
        _METHODS[delivery_method],
        task_id,
        attempt_count,
        schedule_version,
        note,
        claimed_at,
        delivered_at,
        finished_at,
        temporal_workflow_id,
        tuple(map(Intervention.from_json, interventions)) if interventions else (),
    )


def to_attempt(row: Row[Any]) -> Attempt:
    return Attempt(
        run_id=row.run_id,
        number=row.n,
        at=row.at,
        duration_ms=row.duration_ms,
        outcome=AttemptOutcome(row.outcome),
        error=RunError.from_json(row.error),
    )


def to_task(row: Row[Any]) -> Task:
    return Task(**row._mapping)


def to_cancellation(row: Row[Any]) -> TaskCancellation:
    values = dict(row._mapping)
    return TaskCancellation(**values | {"outcome": AttemptOutcome(row.outcome), "error": RunError.from_json(row.error)})


def to_message(row: Row[Any]) -> Message:
    return Message(**row._mapping)
