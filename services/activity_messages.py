"""What workflows and activities say to each other; kept in histories, so fields are only ever added, with defaults."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class FireRequest:
    schedule_id: UUID
    nominal: datetime
    workflow_id: str
    temporal_run_id: str


@dataclass(frozen=True)
class RunRequest:
    run_id: UUID
    temporal_run_id: str


@dataclass(frozen=True)
class ClaimAnswer:
    """`next` is DELIVER, WAIT or END; `cancel` names the workflows of earlier runs to end first. With `stops_earlier`
    the agent is told before the delivery to stop what earlier runs gave it to do.
    """

    run_id: UUID
    next: str
    cancel: list[str]
    stops_earlier: bool = False


@dataclass(frozen=True)
class DeliverAnswer:
    """`status` is the run's last one."""

    status: str
    error: dict[str, Any] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class SettleRequest:
    run_id: UUID
    status: str
    error: dict[str, Any] | None = None
    reason: str | None = None
