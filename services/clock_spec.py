"""What a clock should be, as Temporal's message, and the canonical form in which two clocks are compared.

The clock is dumb: cadence, window, jitter, catch-up and paused. Overlap is ALLOW_ALL, since Postgres decides at the
claim.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload, Payloads, WorkflowType
from temporalio.api.enums.v1 import ScheduleOverlapPolicy, TaskQueueKind
from temporalio.api.schedule.v1 import (
    IntervalSpec,
    Range,
    Schedule,
    ScheduleAction,
    SchedulePolicies,
    ScheduleSpec,
    ScheduleState,
    StructuredCalendarSpec,
)
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import NewWorkflowExecutionInfo

from services.cadence import Cadence, Cron
from services.cadence import compile as compile_cadence
from services.cron import Calendar, Ranges
from services.schedule import Definition, clock_id

WORKFLOW_TYPE = "ScheduledAgentRun"
EXECUTION_TIMEOUT = timedelta(days=8)
"""Beyond the longest retry horizon, so that no workflow stays open for ever."""
WORDS = {
    "calendars": "the calendar",
    "intervals": "the interval",
    "others": "a further calendar",
    "cron": "the cron text",
    "window": "the window (seconds since 1970)",
    "jitter": "the jitter (seconds)",
    "zone": "the time zone",
    "overlap": "the overlap policy",
    "catch_up": "the catch-up window (seconds)",
    "policies": "a further policy",
    "limited": "the limit of actions",
    "workflow_id": "the workflow's id",
    "workflow_type": "the workflow's type",
    "task_queue": "the task queue",
    "told": "what the workflow is told",
    "timeout": "the workflow's timeout (seconds)",
    "start": "what else the workflow is started with",
}
"""What the parts of a clock are called in a repair's note."""
LONGEST_SHOWN = 100
CALENDAR_FIELDS = ("second", "minute", "hour", "day_of_month", "month", "year", "day_of_week")


@dataclass(frozen=True, slots=True)
class DesiredClock:
    """What a row wants its clock to be."""

    schedule_id: UUID
    version: int
    definition: Definition


def arguments(desired: DesiredClock) -> list[str]:
    """What the workflow is told, but for the version where that goes with it."""
    return [str(desired.schedule_id), "scheduled"]


def message(desired: DesiredClock, task_queue: str, args: list[Payload]) -> Schedule:
    d = desired.definition
    return Schedule(
        spec=_spec(d.cadence, d.start_at, d.end_at, d.jitter),
        action=ScheduleAction(
            start_workflow=NewWorkflowExecutionInfo(
                workflow_id=clock_id(desired.schedule_id),
                workflow_type=WorkflowType(name=WORKFLOW_TYPE),
                task_queue=TaskQueue(name=task_queue),
                input=Payloads(payloads=args),
                workflow_execution_timeout=_duration(EXECUTION_TIMEOUT),
            )
        ),
        policies=SchedulePolicies(
            overlap_policy=ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL,
            catchup_window=_duration(d.catch_up_window),
        ),
        state=ScheduleState(paused=d.paused, notes=d.pause_note or ""),
    )


def canonical(schedule: Schedule, told: Sequence[str]) -> str:
    """A digest of all that matters about a clock, the same however the server has rewritten it.

    `told` is what its workflow is told: the message itself may hold that encrypted, and anew at every write.
    """
    return _digest(_form(schedule, told))


def listed_form(spec: ScheduleSpec, paused: bool) -> str:
    """A digest of what a list shows of a clock: when it is due, and whether it is paused."""
    return _digest(_spec_form(spec) | {"paused": paused})


def desired_listed_form(definition: Definition) -> str:
    """The `listed_form` that the clock of this definition has."""
    d = definition
    return _desired_listed_form(d.cadence, d.start_at, d.end_at, d.jitter, d.paused)


@lru_cache(maxsize=16_384)
def _desired_listed_form(
    cadence: Cadence, start_at: datetime | None, end_at: datetime | None, jitter: timedelta, paused: bool
) -> str:
    """Kept, since a sweep asks it of every row, and most are as they were."""
    return listed_form(_spec(cadence, start_at, end_at, jitter), paused)


def differences(found: Schedule, found_told: Sequence[str], wanted: Schedule, wanted_told: Sequence[str]) -> list[str]:
    """What matters about two clocks and is not the same, in words."""
    is_now, should_be = _form(found, found_told), _form(wanted, wanted_told)
    return [
        f"{WORDS.get(key, key)} was {_shown(is_now[key])} instead of {_shown(should_be[key])}"
        for key in should_be
        if is_now[key] != should_be[key]
    ]


def _form(schedule: Schedule, told: Sequence[str]) -> dict[str, Any]:
    """Left out: the note, for a rename or an operator's remark is no drift."""
    action, policies = schedule.action.start_workflow, schedule.policies
    return _spec_form(schedule.spec) | {
        "overlap": MessageToDict(policies).get("overlapPolicy"),
        "catch_up": _length(policies.catchup_window),
        "policies": _rest(policies, "overlap_policy", "catchup_window"),
        "paused": schedule.state.paused,
        "limited": schedule.state.limited_actions,
        "workflow_id": action.workflow_id,
        "workflow_type": action.workflow_type.name,
        "task_queue": action.task_queue.name,
        "told": list(told),
        "timeout": _length(action.workflow_execution_timeout),
        "start": _further_start(action),
    }


def _further_start(action: NewWorkflowExecutionInfo) -> dict[str, Any]:
    """How else the workflow is started: its retries and further timeouts, and what its task queue is besides named."""
    rest = _rest(action, "workflow_id", "workflow_type", "task_queue", "input", "workflow_execution_timeout")
    queue = _rest(action.task_queue, "name")
    # The server says of what kind a queue is though nobody has said so.
    if action.task_queue.kind == TaskQueueKind.TASK_QUEUE_KIND_NORMAL:
        del queue["kind"]
    return rest | ({"taskQueue": queue} if queue else {})


def _rest(message: Message, *known: str) -> dict[str, Any]:
    """What a message says besides these fields."""
    rest = type(message)()
    rest.CopyFrom(message)
    for name in known:
        rest.ClearField(name)
    return {name: value for name, value in MessageToDict(rest).items() if value != {}}


def _spec_form(spec: ScheduleSpec) -> dict[str, Any]:
    others = (spec.calendar, spec.exclude_calendar, spec.exclude_structured_calendar)
    return {
        "calendars": sorted(_calendar_form(c) for c in spec.structured_calendar),
        "intervals": sorted([_length(i.interval), _length(i.phase)] for i in spec.interval),
        "others": [MessageToDict(other) for kind in others for other in kind],
        "cron": list(spec.cron_string),
        "window": [_seconds(spec, "start_time"), _seconds(spec, "end_time")],
        "jitter": _length(spec.jitter),
        "zone": spec.timezone_name or "UTC",
    }


def _digest(form: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(form, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _shown(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _spec(cadence: Cadence, start_at: datetime | None, end_at: datetime | None, jitter: timedelta) -> ScheduleSpec:
    compiled = compile_cadence(cadence)
    spec = ScheduleSpec(
        start_time=_timestamp(start_at),
        end_time=_timestamp(end_at),
        jitter=_duration(jitter) if jitter else None,
    )
    if isinstance(compiled, Calendar):
        spec.timezone_name = compiled.time_zone
        calendar = spec.structured_calendar.add()
        for field in CALENDAR_FIELDS:
            getattr(calendar, field).extend(_ranges(getattr(compiled, field)))
        if isinstance(cadence, Cron):
            calendar.comment = cadence.expression
    else:
        spec.interval.append(IntervalSpec(interval=_duration(compiled.every), phase=_duration(compiled.offset)))
    return spec


def _ranges(ranges: Ranges) -> list[Range]:
    return [Range(start=r.start, end=r.end, step=r.step) for r in ranges]


def _calendar_form(calendar: StructuredCalendarSpec) -> list[Any]:
    """The ranges with the defaults written out: no end is the start, no step is one."""
    return [
        [[r.start, max(r.start, r.end), max(1, r.step)] for r in getattr(calendar, field)] for field in CALENDAR_FIELDS
    ]


def _length(duration: Duration) -> float:
    """In seconds, and whole ones without a point."""
    return duration.seconds + duration.nanos / 1e9 if duration.nanos else duration.seconds


def _seconds(spec: ScheduleSpec, field: str) -> int | None:
    return getattr(spec, field).seconds if spec.HasField(field) else None  # type: ignore[arg-type]


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at.astimezone(UTC).replace(microsecond=0))
    return stamp


def _duration(duration: timedelta) -> Duration:
    converted = Duration()
    converted.FromTimedelta(duration)
    return converted
