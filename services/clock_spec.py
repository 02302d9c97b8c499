"""What a clock should be, as Temporal's message, and the canonical form in which two clocks are compared.

The clock is dumb: cadence, window, jitter, catch-up and paused. Overlap is ALLOW_ALL, since Postgres decides at the
claim.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload, Payloads, WorkflowType
from temporalio.api.enums.v1 import ScheduleOverlapPolicy
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

from services.cadence import Cron
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
    "limited": "the limit of actions",
    "workflow": "the workflow",
    "timeout": "the workflow's timeout (seconds)",
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


def message(desired: DesiredClock, task_queue: str, args: list[Payload]) -> Schedule:
    d = desired.definition
    return Schedule(
        spec=_spec(d),
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


def canonical(schedule: Schedule) -> str:
    """A digest of all that matters about a clock, the same however the server has rewritten it."""
    return _digest(_form(schedule))


def listed_form(spec: ScheduleSpec, paused: bool) -> str:
    """A digest of what a list shows of a clock: when it is due, and whether it is paused."""
    return _digest(_spec_form(spec) | {"paused": paused})


def desired_listed_form(definition: Definition) -> str:
    """The `listed_form` that the clock of this definition has."""
    return listed_form(_spec(definition), definition.paused)


def differences(found: Schedule, wanted: Schedule) -> list[str]:
    """What matters about two clocks and is not the same, in words."""
    is_now, should_be = _form(found), _form(wanted)
    return [
        f"{WORDS.get(key, key)} was {_shown(is_now[key])} instead of {_shown(should_be[key])}"
        for key in should_be
        if is_now[key] != should_be[key]
    ]


def _form(schedule: Schedule) -> dict[str, Any]:
    """Left out: the note, for a rename or an operator's remark is no drift, and the arguments, which may be encrypted
    anew at every write.
    """
    action = schedule.action.start_workflow
    return _spec_form(schedule.spec) | {
        "overlap": schedule.policies.overlap_policy,
        "catch_up": schedule.policies.catchup_window.ToSeconds(),
        "paused": schedule.state.paused,
        "limited": schedule.state.limited_actions,
        "workflow": [action.workflow_id, action.workflow_type.name, action.task_queue.name],
        "timeout": action.workflow_execution_timeout.ToSeconds(),
    }


def _spec_form(spec: ScheduleSpec) -> dict[str, Any]:
    others = (spec.calendar, spec.exclude_calendar, spec.exclude_structured_calendar)
    return {
        "calendars": sorted(_calendar_form(c) for c in spec.structured_calendar),
        "intervals": sorted([i.interval.ToSeconds(), i.phase.ToSeconds()] for i in spec.interval),
        "others": [MessageToDict(other) for kind in others for other in kind],
        "cron": list(spec.cron_string),
        "window": [_seconds(spec, "start_time"), _seconds(spec, "end_time")],
        "jitter": spec.jitter.ToSeconds(),
        "zone": spec.timezone_name or "UTC",
    }


def _digest(form: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(form, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _shown(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _spec(definition: Definition) -> ScheduleSpec:
    compiled = compile_cadence(definition.cadence)
    spec = ScheduleSpec(
        start_time=_timestamp(definition.start_at),
        end_time=_timestamp(definition.end_at),
        jitter=_duration(definition.jitter) if definition.jitter else None,
    )
    if isinstance(compiled, Calendar):
        spec.timezone_name = compiled.time_zone
        calendar = spec.structured_calendar.add()
        for field in CALENDAR_FIELDS:
            getattr(calendar, field).extend(_ranges(getattr(compiled, field)))
        if isinstance(definition.cadence, Cron):
            calendar.comment = definition.cadence.expression
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
