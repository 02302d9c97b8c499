"""The values of a run: the record of one fire, from claim to its end."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from services.agent import DeliveryMethod
from services.principals import Principal


class RunTrigger(StrEnum):
    SCHEDULED = "SCHEDULED"
    MANUAL = "MANUAL"
    BACKFILL = "BACKFILL"
    EXTERNAL = "EXTERNAL"


class RunStatus(StrEnum):
    CLAIMED = "CLAIMED"
    QUEUED = "QUEUED"
    DELIVERING = "DELIVERING"
    RETRYING = "RETRYING"
    DELIVERED = "DELIVERED"
    SKIPPED = "SKIPPED"
    MISSED = "MISSED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


UNFINISHED = (RunStatus.CLAIMED, RunStatus.QUEUED, RunStatus.DELIVERING, RunStatus.RETRYING)


class SkipReason(StrEnum):
    SCHEDULE_NOT_FOUND = "SCHEDULE_NOT_FOUND"
    SCHEDULE_DELETED = "SCHEDULE_DELETED"
    SCHEDULE_PAUSED = "SCHEDULE_PAUSED"
    SKIP_REQUESTED = "SKIP_REQUESTED"
    OVERLAP = "OVERLAP"
    OUTSIDE_WINDOW = "OUTSIDE_WINDOW"
    TOO_LATE = "TOO_LATE"
    AGENT_DELETED = "AGENT_DELETED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    INPUT_ALREADY_DELIVERED = "INPUT_ALREADY_DELIVERED"


class AttemptOutcome(StrEnum):
    IN_FLIGHT = "IN_FLIGHT"
    DELIVERED = "DELIVERED"
    REFUSED = "REFUSED"
    RETRY = "RETRY"
    UNKNOWN = "UNKNOWN"


class Resolution(StrEnum):
    """What a person found out about a run of which nobody could know whether the agent got it."""

    DELIVERED = "DELIVERED"
    NOT_DELIVERED = "NOT_DELIVERED"


class InterventionKind(StrEnum):
    RETRIED = "RETRIED"
    RESOLVED_DELIVERED = "RESOLVED_DELIVERED"
    RESOLVED_NOT_DELIVERED = "RESOLVED_NOT_DELIVERED"


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed or is being retried; `retryable` says whether the same request may yet succeed."""

    code: str
    message: str
    retryable: bool

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "retryable": self.retryable}

    @classmethod
    def from_json(cls, stored: dict[str, Any] | None) -> "RunError | None":
        return cls(**stored) if stored else None


LOST = RunError(
    "WORKER_LOST", "The worker was lost while the request was under way; whether it arrived is unknown.", True
)
"""What becomes of an attempt that nobody closes."""


@dataclass(frozen=True, slots=True)
class Attempt:
    run_id: UUID
    number: int
    at: datetime
    duration_ms: int | None
    outcome: AttemptOutcome
    error: RunError | None


@dataclass(frozen=True, slots=True)
class Intervention:
    """What a person did about a run that had ended: who, when, why."""

    kind: InterventionKind
    at: datetime
    by: Principal | None
    note: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "at": self.at.astimezone(UTC).isoformat(),
            "by": self.by.to_json() if self.by else None,
            "note": self.note,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Intervention":
        return cls(
            kind=InterventionKind(stored["kind"]),
            at=datetime.fromisoformat(stored["at"]),
            by=Principal.from_json(stored["by"]) if stored["by"] else None,
            note=stored["note"],
        )


@dataclass(frozen=True, slots=True)
class Run:
    id: UUID
    account_id: str
    schedule_id: UUID | None
    agent_id: UUID | None
    trigger: RunTrigger
    fire_at: datetime
    status: RunStatus
    skip_reason: SkipReason | None
    error: RunError | None
    delivery_method: DeliveryMethod | None
    task_id: UUID | None
    attempt_count: int
    schedule_version: int
    note: str | None
    claimed_at: datetime
    delivered_at: datetime | None
    finished_at: datetime | None
    temporal_workflow_id: str
    interventions: tuple[Intervention, ...]

    @property
    def not_delivered_at(self) -> datetime | None:
        """When a person last said that the agent had got nothing of it."""
        kind = InterventionKind.RESOLVED_NOT_DELIVERED
        return max((each.at for each in self.interventions if each.kind is kind), default=None)

    @property
    def latency_ms(self) -> int | None:
        """From the nominal fire to the agent's acknowledgement, in milliseconds."""
        if self.delivered_at is None:
            return None
        return max(0, round((self.delivered_at - self.fire_at).total_seconds() * 1000))


@dataclass(frozen=True, slots=True)
class Task:
    """One conversation at the agent, created by a run."""

    id: UUID
    account_id: str
    agent_id: UUID
    run_id: UUID
    name: str
    display_name: str
    params: dict[str, Any] | None
    metadata: dict[str, Any] | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TaskCancellation:
    """That the agent was asked to stop what a task gave it to do; `run_id` is the later run that it makes way for."""

    task_id: UUID
    run_id: UUID
    requested_at: datetime
    attempt_count: int
    outcome: AttemptOutcome
    error: RunError | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Message:
    id: UUID
    task_id: UUID
    author: str
    content: str
    sequence: int
    created_at: datetime


def scheduled_key(nominal: datetime) -> str:
    """The fire key of a scheduled fire: its nominal time in UTC, to the second as Temporal keeps it."""
    return f"{nominal.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def manual_key(asked: UUID) -> str:
    """The fire key of a run that someone asks for. No idempotency key is in it: two callers may each have the same one,
    and each may use it again once it is forgotten.
    """
    return f"manual:{asked}"


def run_id(owner_id: UUID, fire_key: str) -> UUID:
    """The id of the run of one fire: the same for everyone who computes it, so it can be known before the row is there.

    `owner_id` is the schedule's id, or the agent's for a run without a schedule.
    """
    return uuid5(owner_id, fire_key)


def task_name(owner_id: UUID, fire_key: str) -> str:
    """The deterministic name under which a task is got or created."""
    return f"scheduled-run:{owner_id}:{fire_key}"
