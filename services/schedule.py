"""The values of a schedule: at these times, start a run of this agent with this input, as this principal."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol
from uuid import UUID

from services.cadence import Cadence, Cron, Interval
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


class Columns(Protocol):
    """The values of a row by their names, as either driver has them."""

    def __getitem__(self, name: str, /) -> Any: ...

    def items(self) -> Iterable[tuple[Any, Any]]: ...


class Schedule:
    """A schedule as its row has it; what is nested is made when it is asked for.

    A row may have been read in part: asking for what was not read raises `KeyError`.
    """

    def __init__(self, row: Columns) -> None:
        self.row = row

    @property
    def id(self) -> UUID:
        schedule_id: UUID = self.row["id"]
        return schedule_id

    @property
    def agent_id(self) -> UUID:
        agent_id: UUID = self.row["agent_id"]
        return agent_id

    @property
    def version(self) -> int:
        version: int = self.row["version"]
        return version

    @property
    def deleted_at(self) -> datetime | None:
        at: datetime | None = self.row["deleted_at"]
        return at

    @property
    def account_id(self) -> str:
        account_id: str = self.row["account_id"]
        return account_id

    @property
    def name(self) -> str:
        name: str = self.row["name"]
        return name

    @property
    def consecutive_failures(self) -> int:
        failures: int = self.row["consecutive_failures"]
        return failures

    @property
    def finishes_at(self) -> datetime | None:
        at: datetime | None = self.row["finishes_at"]
        return at

    @property
    def created_at(self) -> datetime:
        at: datetime = self.row["created_at"]
        return at

    @property
    def updated_at(self) -> datetime:
        at: datetime = self.row["updated_at"]
        return at

    @property
    def is_applied(self) -> bool:
        """Whether its clock was seen to be as this version wants it."""
        applied: bool = self.row["applied_version"] == self.version
        return applied

    @cached_property
    def creator(self) -> Principal | None:
        stored = self.row["creator_principal"]
        return Principal.from_json(stored) if stored else None

    @cached_property
    def cadence(self) -> Cadence:
        row = self.row
        if row["cron_expression"] is not None:
            return Cron(row["cron_expression"], row["time_zone"])
        return Interval(timedelta(seconds=row["interval_seconds"]), timedelta(seconds=row["interval_offset_seconds"]))

    @cached_property
    def definition(self) -> Definition:
        row = self.row
        return Definition(
            name=row["name"],
            description=row["description"],
            cadence=self.cadence,
            start_at=row["start_at"],
            end_at=row["end_at"],
            jitter=timedelta(seconds=row["jitter_seconds"]),
            overlap_policy=OverlapPolicy(row["overlap_policy"]),
            missed_fire_policy=MissedFirePolicy(row["missed_fire_policy"]),
            catch_up_window=timedelta(seconds=row["catch_up_window_seconds"]),
            on_unknown=OnUnknown(row["on_unknown"]),
            retry_horizon=timedelta(seconds=row["retry_horizon_seconds"]),
            pause_after_failures=row["pause_after_failures"],
            paused=row["paused"],
            pause_note=row["pause_note"],
            initial_input=InitialInput.from_json(row["initial_input"]),
            task_params=row["task_params"],
            task_metadata=row["task_metadata"],
            labels=tuple((label["key"], label["value"]) for label in row["labels"]),
        )

    @cached_property
    def clock(self) -> ClockRecord:
        row = self.row
        return ClockRecord(
            status=ClockStatus(row["clock_status"]),
            applied_version=row["applied_version"],
            clock_version=row["clock_version"],
            applied_at=row["applied_at"],
            checked_at=row["checked_at"],
            error=row["clock_error"],
        )

    def state(self, now: datetime) -> ScheduleState:
        if self.deleted_at is not None:
            return ScheduleState.DELETED
        finishes_at = self.row["finishes_at"]
        if finishes_at is not None and finishes_at < now:
            return ScheduleState.FINISHED
        return ScheduleState.PAUSED if self.row["paused"] else ScheduleState.ACTIVE

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and dict(self.row.items()) == dict(other.row.items())

    def __hash__(self) -> int:
        return hash((self.id, self.version))


CLOCK_PREFIX = "agent-run-schedule:"


def clock_id(schedule_id: UUID) -> str:
    """The id of the Temporal Schedule that belongs to a schedule row."""
    return f"{CLOCK_PREFIX}{schedule_id}"
