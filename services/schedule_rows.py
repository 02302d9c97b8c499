"""Schedules between their rows and their values."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Row

from services.cadence import Cadence, Cron, Interval
from services.cadence import compile as compile_cadence
from services.calendar import last_possible
from services.definition import to_json
from services.principals import Principal
from services.schedule import (
    ClockRecord,
    ClockStatus,
    Definition,
    InitialInput,
    MissedFirePolicy,
    OnUnknown,
    OverlapPolicy,
    Schedule,
)
from services.tables import schedules

COLUMNS = [
    column
    for column in schedules.c
    if column.name not in ("lease_id", "lease_until", "settled_until", "observed_hash", "clock_error_version")
]


def to_row(definition: Definition) -> dict[str, Any]:
    """The columns that the definition decides."""
    d = definition
    stored = to_json(d)
    cron = d.cadence if isinstance(d.cadence, Cron) else None
    interval = d.cadence if isinstance(d.cadence, Interval) else None
    return {
        "name": d.name,
        "description": d.description,
        "cron_expression": cron.expression if cron else None,
        "time_zone": cron.time_zone if cron else None,
        "interval_seconds": int(interval.every.total_seconds()) if interval else None,
        "interval_offset_seconds": int(interval.offset.total_seconds()) if interval else None,
        "start_at": d.start_at,
        "end_at": d.end_at,
        "finishes_at": min((at for at in (d.end_at, last_possible(compile_cadence(d.cadence))) if at), default=None),
        "jitter_seconds": stored["jitterSeconds"],
        "overlap_policy": d.overlap_policy,
        "missed_fire_policy": d.missed_fire_policy,
        "catch_up_window_seconds": stored["catchUpWindowSeconds"],
        "on_unknown": d.on_unknown,
        "retry_horizon_seconds": stored["retryHorizonSeconds"],
        "pause_after_failures": d.pause_after_failures,
        "paused": d.paused,
        "pause_note": d.pause_note,
        "initial_input": stored["initialInput"],
        "task_params": d.task_params,
        "task_metadata": d.task_metadata,
        "labels": stored["labels"],
    }


def to_schedule(row: Row[Any]) -> Schedule:
    return Schedule(
        id=row.id,
        agent_id=row.agent_id,
        account_id=row.account_id,
        definition=_definition(row),
        creator=Principal.from_json(row.creator_principal) if row.creator_principal else None,
        consecutive_failures=row.consecutive_failures,
        finishes_at=row.finishes_at,
        version=row.version,
        clock=ClockRecord(
            status=ClockStatus(row.clock_status),
            applied_version=row.applied_version,
            clock_version=row.clock_version,
            applied_at=row.applied_at,
            checked_at=row.checked_at,
            error=row.clock_error,
        ),
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
    )


def _definition(row: Row[Any]) -> Definition:
    return Definition(
        name=row.name,
        description=row.description,
        cadence=_cadence(row),
        start_at=row.start_at,
        end_at=row.end_at,
        jitter=timedelta(seconds=row.jitter_seconds),
        overlap_policy=OverlapPolicy(row.overlap_policy),
        missed_fire_policy=MissedFirePolicy(row.missed_fire_policy),
        catch_up_window=timedelta(seconds=row.catch_up_window_seconds),
        on_unknown=OnUnknown(row.on_unknown),
        retry_horizon=timedelta(seconds=row.retry_horizon_seconds),
        pause_after_failures=row.pause_after_failures,
        paused=row.paused,
        pause_note=row.pause_note,
        initial_input=InitialInput.from_json(row.initial_input),
        task_params=row.task_params,
        task_metadata=row.task_metadata,
        labels=tuple((label["key"], label["value"]) for label in row.labels),
    )


def _cadence(row: Row[Any]) -> Cadence:
    if row.cron_expression is not None:
        return Cron(row.cron_expression, row.time_zone)
    return Interval(timedelta(seconds=row.interval_seconds), timedelta(seconds=row.interval_offset_seconds))
