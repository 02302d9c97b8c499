"""Schedules between their rows and their values."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Column

from services.cadence import Cron, Interval
from services.cadence import compile as compile_cadence
from services.calendar import last_possible
from services.definition import seconds
from services.schedule import Columns, Definition, Schedule
from services.tables import schedules

PARTS: dict[str, tuple[str, ...]] = {
    "cadence": ("cron_expression", "time_zone", "interval_seconds", "interval_offset_seconds"),
    "applied": ("applied_version", "clock_version"),
    "clock": ("clock_status", "applied_at", "checked_at", "clock_error"),
    "initial_input": ("initial_input",),
    "task_params": ("task_params",),
    "task_metadata": ("task_metadata",),
    "labels": ("labels",),
    "creator": ("creator_principal",),
}
"""The columns that need not be read, by what is made of them; each costs more than it is worth where nobody asks."""
ALL_PARTS = frozenset(PARTS)
_IN_PARTS = frozenset(name for names in PARTS.values() for name in names)
_NEVER_READ = frozenset({"lease_id", "lease_until", "settled_until", "observed_hash", "clock_error_version"})
ALWAYS_READ = tuple(column.name for column in schedules.c if column.name not in _IN_PARTS | _NEVER_READ)
"""The other columns, in the order in which a row that was read begins."""


def columns(parts: frozenset[str]) -> list[Column[Any]]:
    """Those that are always read, and behind them those of the parts."""
    names = {name for part in parts for name in PARTS[part]}
    return [*(schedules.c[name] for name in ALWAYS_READ), *(column for column in schedules.c if column.name in names)]


COLUMNS = columns(ALL_PARTS)
"""Those of a row that is read whole."""


def to_row(definition: Definition, fields: Iterable[str] | None = None) -> dict[str, Any]:
    """The columns that the definition decides, or of these fields only: by the names that a revision has for them."""
    row: dict[str, Any] = {}
    for field in _OF_FIELDS if fields is None else fields:
        row |= _OF_FIELDS[field](definition)
    return row


def _of_cadence(d: Definition) -> dict[str, Any]:
    cron = d.cadence if isinstance(d.cadence, Cron) else None
    interval = d.cadence if isinstance(d.cadence, Interval) else None
    return {
        "cron_expression": cron.expression if cron else None,
        "time_zone": cron.time_zone if cron else None,
        "interval_seconds": seconds(interval.every) if interval else None,
        "interval_offset_seconds": seconds(interval.offset) if interval else None,
        "finishes_at": _finishes_at(d),
    }


def _finishes_at(d: Definition) -> datetime | None:
    return min((at for at in (d.end_at, last_possible(compile_cadence(d.cadence))) if at), default=None)


_OF_FIELDS: dict[str, Callable[[Definition], dict[str, Any]]] = {
    "name": lambda d: {"name": d.name},
    "description": lambda d: {"description": d.description},
    "cadence": _of_cadence,
    "startAt": lambda d: {"start_at": d.start_at},
    "endAt": lambda d: {"end_at": d.end_at, "finishes_at": _finishes_at(d)},
    "jitterSeconds": lambda d: {"jitter_seconds": seconds(d.jitter)},
    "overlapPolicy": lambda d: {"overlap_policy": d.overlap_policy},
    "missedFirePolicy": lambda d: {"missed_fire_policy": d.missed_fire_policy},
    "catchUpWindowSeconds": lambda d: {"catch_up_window_seconds": seconds(d.catch_up_window)},
    "onUnknown": lambda d: {"on_unknown": d.on_unknown},
    "retryHorizonSeconds": lambda d: {"retry_horizon_seconds": seconds(d.retry_horizon)},
    "pauseAfterFailures": lambda d: {"pause_after_failures": d.pause_after_failures},
    "paused": lambda d: {"paused": d.paused},
    "pauseNote": lambda d: {"pause_note": d.pause_note},
    "initialInput": lambda d: {"initial_input": d.initial_input.to_json()},
    "taskParams": lambda d: {"task_params": d.task_params},
    "taskMetadata": lambda d: {"task_metadata": d.task_metadata},
    "labels": lambda d: {"labels": [{"key": key, "value": value} for key, value in d.labels]},
}
"""What a row keeps of each field."""


def whole(row: Columns) -> Schedule:
    """The schedule, read whole: a row that cannot be read raises here."""
    schedule = Schedule(row)
    _ = schedule.definition, schedule.clock, schedule.creator
    return schedule
