"""The values of a schedule: at these times, start a run of this agent with this input, as this principal."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from services.cadence import Cadence
from services.principals import Principal


class ScheduleState(StrEnum):
    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    FINISHED = "FINISHED"
    DELETED = "DELETED"


class OverlapPolicy(StrEnum):
    SKIP = "SKIP"
    QUEUE_ONE = "QUEUE_ONE"
    CANCEL_PREVIOUS = "CANCEL_PREVIOUS"
    ALLOW = "ALLOW"


class MissedFirePolicy(StrEnum):
    RUN_ALL = "RUN_ALL"
    RUN_LATEST = "RUN_LATEST"
    RUN_NONE = "RUN_NONE"


class OnUnknown(StrEnum):
    RETRY = "RETRY"
    HOLD = "HOLD"


class ClockStatus(StrEnum):
    IN_SYNC = "IN_SYNC"
    PENDING = "PENDING"
    DRIFTED = "DRIFTED"
    MISSING = "MISSING"
    UNKNOWN = "UNKNOWN"


class ChangeKind(StrEnum):
    CREATED = "CREATED"
    UPDATED = "UPDATED"
    PAUSED = "PAUSED"
    RESUMED = "RESUMED"
    SKIPPED = "SKIPPED"
    UNSKIPPED = "UNSKIPPED"
    DELETED = "DELETED"
    REPAIRED = "REPAIRED"


class Author(StrEnum):
    USER = "USER"
    AGENT = "AGENT"


@dataclass(frozen=True, slots=True)
class InitialInput:
    """The text that a fire sends."""

    content: str
    author: Author = Author.USER
    type: str = "TEXT"

    def to_json(self) -> dict[str, Any]:
        return {"type": self.type, "author": self.author.value, "content": self.content}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "InitialInput":
        return cls(content=stored["content"], author=Author(stored["author"]), type=stored["type"])


@dataclass(frozen=True, slots=True)
class Definition:
    """All that a caller decides about a schedule; one revision keeps one of these whole."""

    name: str
    description: str | None
    cadence: Cadence
    start_at: datetime | None
    end_at: datetime | None
    jitter: timedelta
    overlap_policy: OverlapPolicy
    missed_fire_policy: MissedFirePolicy
    catch_up_window: timedelta
    on_unknown: OnUnknown
    retry_horizon: timedelta
    pause_after_failures: int | None
    paused: bool
    pause_note: str | None
    initial_input: InitialInput
    task_params: dict[str, Any] | None
    task_metadata: dict[str, Any] | None
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ClockRecord:
    """What is known in Postgres about the schedule's clock."""

    status: ClockStatus
    applied_version: int | None
    clock_version: int | None
    applied_at: datetime | None
    checked_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Schedule:
    id: UUID
    agent_id: UUID
    account_id: str
    definition: Definition
    creator: Principal | None
    consecutive_failures: int
    finishes_at: datetime | None
    version: int
    clock: ClockRecord
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None

    def state(self, now: datetime) -> ScheduleState:
        if self.deleted_at is not None:
            return ScheduleState.DELETED
        if self.finishes_at is not None and self.finishes_at < now:
            return ScheduleState.FINISHED
        return ScheduleState.PAUSED if self.definition.paused else ScheduleState.ACTIVE


CLOCK_PREFIX = "agent-run-schedule:"


def clock_id(schedule_id: UUID) -> str:
    """The id of the Temporal Schedule that belongs to a schedule row."""
    return f"{CLOCK_PREFIX}{schedule_id}"
