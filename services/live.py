"""The live values of schedules, read from Temporal: one list call for a page, shared by whoever asks at that moment."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class LiveStatus(StrEnum):
    AVAILABLE = "AVAILABLE"
    UNAVAILABLE = "UNAVAILABLE"
    TIMED_OUT = "TIMED_OUT"
    NOT_SYNCED = "NOT_SYNCED"


@dataclass(frozen=True, slots=True)
class Counters:
    """What only describe tells."""

    fire_count: int
    overlap_skipped: int
    missed_catch_up: int
    running_workflows: int


@dataclass(frozen=True, slots=True)
class LiveValues:
    """What Temporal says of one clock; `counters` is None where it was read by a list."""

    version: int | None
    paused: bool
    next_fires: tuple[datetime, ...]
    last_fire_at: datetime | None
    counters: Counters | None
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Live:
    """The answer for one schedule: the values, or the reason why there are none."""

    status: LiveStatus
    values: LiveValues | None = None
