"""Schedules between their rows and their values."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, Row

from services.cadence import Cron, Interval
from services.cadence import compile as compile_cadence
from services.calendar import last_possible
from services.definition import to_json
from services.schedule import Columns, Definition, Schedule
from services.tables import schedules

COLUMNS = [
    column
    for column in schedules.c
    if column.name not in ("lease_id", "lease_until", "settled_until", "observed_hash", "clock_error_version")
]

PARTS: dict[str, tuple[str, ...]] = {
    "cadence": ("cron_expression", "time_zone", "interval_seconds", "interval_offset_seconds"),
    "clock": ("clock_status", "applied_version", "clock_version", "applied_at", "checked_at", "clock_error"),
    "initial_input": ("initial_input",),
    "task_params": ("task_params",),
    "task_metadata": ("task_metadata",),
    "labels": ("labels",),
    "creator": ("creator_principal",),
}
"""The columns that need not be read, by what is made of them; each costs more than it is worth where nobody asks."""
ALL_PARTS = frozenset(PARTS)


def columns(parts: frozenset[str]) -> list[Column[Any]]:
    """Those of the parts, and those that are always read."""
    left_out = {name for part in ALL_PARTS - parts for name in PARTS[part]}
    return [column for column in COLUMNS if column.name not in left_out]


FIELDS: dict[str, tuple[str, ...]] = {
    "cadence": ("cron_expression", "time_zone", "interval_seconds", "interval_offset_seconds", "finishes_at"),
    "endAt": ("end_at", "finishes_at"),
}
"""The columns of those fields of a definition that have more than the one of their name."""


def changed_columns(definition: Definition, fields: Iterable[str]) -> dict[str, Any]:
    """The columns that these fields of the definition decide, by the names of its JSON form."""
    row = to_row(definition)
    return {name: row[name] for field in fields for name in FIELDS.get(field) or (_snake_case(field),)}


def _snake_case(name: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name)


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
    """As `whole`, of a row of SQLAlchemy's."""
    return whole(row._mapping)


def whole(row: Columns) -> Schedule:
    """The schedule, read whole: a row that cannot be read raises here."""
    schedule = Schedule(row)
    _ = schedule.definition, schedule.clock, schedule.creator
    return schedule
