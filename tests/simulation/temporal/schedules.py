"""The simulated server's schedules: conflict tokens, visibility that is a moment behind, fires, and catching up."""

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from heapq import merge
from itertools import islice

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import SearchAttributes, WorkflowExecution
from temporalio.api.schedule.v1 import (
    Range,
    Schedule,
    ScheduleActionResult,
    ScheduleInfo,
    ScheduleListEntry,
    ScheduleListInfo,
    ScheduleSpec,
    StructuredCalendarSpec,
)
from temporalio.api.workflow.v1 import NewWorkflowExecutionInfo

from services.calendar import fires
from services.cron import Calendar, Every
from services.cron import Range as CalendarRange
from services.cron import Spec as CalendarSpec

RECENT = 10
CATCH_UP = timedelta(days=365)
LEAST_CATCH_UP = timedelta(seconds=10)
CLOSED_AFTER = timedelta(days=7)
BUFFERED = 1_000
"""So many fires of one schedule are caught up at once; the server drops what is more."""
FIELDS = ("second", "minute", "hour", "day_of_month", "month", "year", "day_of_week")

Start = Callable[[NewWorkflowExecutionInfo, datetime, str], str]
"""Starts the workflow of a fire, with its nominal time and its workflow's id; answers the run's id."""


class Engine(StrEnum):
    """The two schedulers that servers have."""

    V1 = "v1"
    CHASM = "chasm"


@dataclass
class Entry:
    """One schedule."""

    id: str
    message: Schedule
    attributes: SearchAttributes
    created_at: datetime
    request_id: str
    due_after: datetime
    """Every due time up to here was handled."""
    token: int = 1
    action_count: int = 0
    missed: int = 0
    recent: list[ScheduleActionResult] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None

    @property
    def conflict_token(self) -> bytes:
        return f"{self.id}:{self.token}".encode()


class Schedules:
    """All schedules of the namespace."""

    def __init__(self, engine: Engine, rng: random.Random, start: Start) -> None:
        self.engine = engine
        self.running = True
        self.entries: dict[str, Entry] = {}
        self.visible: dict[str, ScheduleListEntry] = {}
        self.visibility_delay = timedelta(milliseconds=50)
        self._rng = rng
        self._start = start

    def put(self, schedule_id: str, message: Schedule, attributes: SearchAttributes, request_id: str) -> Entry:
        now = datetime.now(UTC)
        entry = Entry(schedule_id, normalized(message), attributes, now, request_id, due_after=now)
        self.entries[schedule_id] = entry
        self.changed(entry)
        return entry

    def replace(self, entry: Entry, message: Schedule, attributes: SearchAttributes | None) -> None:
        """The V1 scheduler still brings what was due; the newer one forgets it."""
        if self.engine is Engine.V1:
            self.process(entry)
        entry.due_after = datetime.now(UTC)
        entry.message = normalized(message)
        if attributes is not None:
            entry.attributes = attributes
        self.changed(entry)

    def remove(self, schedule_id: str) -> None:
        entry = self.entries.pop(schedule_id)
        if entry.timer is not None:
            entry.timer.cancel()
        self._show_later(schedule_id)

    def changed(self, entry: Entry) -> None:
        """It was written: another conflict token, another next time, and visibility hears of it in a while."""
        entry.token += 1
        self._arm(entry)
        self._show_later(entry.id)

    def clear(self) -> None:
        for schedule_id in [*self.entries]:
            self.remove(schedule_id)
        self.visible.clear()

    def stop(self) -> None:
        """Nothing is due while the server is down."""
        self.running = False
        for entry in self.entries.values():
            if entry.timer is not None:
                entry.timer.cancel()

    def resume(self, entry: Entry) -> None:
        """After an outage: what is within the catch-up window is brought now."""
        if self.entries.get(entry.id) is entry:
            self.process(entry)
            self._arm(entry)

    def process(self, entry: Entry) -> None:
        """Bring every fire that is due by now. Those of a paused schedule are no fires."""
        now = datetime.now(UTC)
        window = max(LEAST_CATCH_UP, entry.message.policies.catchup_window.ToTimedelta() or CATCH_UP)
        for nominal in islice(due(entry.message.spec, entry.due_after), BUFFERED):
            if nominal + jitter(entry, nominal) > now:
                break
            entry.due_after = nominal
            if entry.message.state.paused:
                continue
            if now - nominal > window:
                entry.missed += 1
            else:
                self._fire(entry, nominal)

    def trigger(self, entry: Entry) -> None:
        """What `temporal schedule trigger` does: an action now, to the second."""
        self._fire(entry, datetime.now(UTC).replace(microsecond=0))

    def _fire(self, entry: Entry, nominal: datetime) -> None:
        action = entry.message.action.start_workflow
        workflow_id = f"{action.workflow_id}-{nominal:%Y-%m-%dT%H:%M:%SZ}"
        run_id = self._start(action, nominal, workflow_id)
        entry.action_count += 1
        started = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        result = ScheduleActionResult(
            schedule_time=stamp(nominal), actual_time=stamp(datetime.now(UTC)), start_workflow_result=started
        )
        entry.recent = [*entry.recent, result][-RECENT:]
        self._show_later(entry.id)

    def _arm(self, entry: Entry) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
        if not self.running or self.entries.get(entry.id) is not entry:
            return
        nominal = next(due(entry.message.spec, entry.due_after), None)
        if nominal is None:
            entry.timer = _call_at(datetime.now(UTC) + CLOSED_AFTER, lambda: self._close(entry))
        else:
            entry.timer = _call_at(nominal + jitter(entry, nominal), lambda: self._wake(entry))

    def _wake(self, entry: Entry) -> None:
        self.process(entry)
        self._arm(entry)

    def _close(self, entry: Entry) -> None:
        """A schedule with nothing to come is gone a week after its last event."""
        if self.entries.get(entry.id) is entry and next(due(entry.message.spec, datetime.now(UTC)), None) is None:
            self.remove(entry.id)

    def _show_later(self, schedule_id: str) -> None:
        delay = self.visibility_delay * self._rng.uniform(0.5, 1.5)
        asyncio.get_running_loop().call_later(delay.total_seconds(), self._show, schedule_id)

    def _show(self, schedule_id: str) -> None:
        entry = self.entries.get(schedule_id)
        if entry is None:
            self.visible.pop(schedule_id, None)
        else:
            self.visible[schedule_id] = listed(entry)


def described(entry: Entry) -> ScheduleInfo:
    return ScheduleInfo(
        action_count=entry.action_count,
        missed_catchup_window=entry.missed,
        recent_actions=entry.recent,
        future_action_times=_upcoming(entry, 10),
        create_time=stamp(entry.created_at),
    )


def listed(entry: Entry) -> ScheduleListEntry:
    spec = ScheduleSpec()
    spec.CopyFrom(entry.message.spec)
    return ScheduleListEntry(
        schedule_id=entry.id,
        search_attributes=entry.attributes,
        info=ScheduleListInfo(
            spec=spec,
            workflow_type=entry.message.action.start_workflow.workflow_type,
            notes=entry.message.state.notes,
            paused=entry.message.state.paused,
            recent_actions=entry.recent[-5:],
            future_action_times=_upcoming(entry, 5),
        ),
    )


def _upcoming(entry: Entry, count: int) -> list[Timestamp]:
    """What the server says will come: with the jitter in it."""
    times = due(entry.message.spec, max(entry.due_after, datetime.now(UTC)))
    return [stamp(nominal + jitter(entry, nominal)) for nominal in islice(times, count)]


def jitter(entry: Entry, nominal: datetime) -> timedelta:
    """The same for one fire whenever it is asked, and never beyond the next one."""
    most = entry.message.spec.jitter.ToTimedelta()
    if not most:
        return most
    following = next(due(entry.message.spec, nominal), None)
    if following is not None:
        most = min(most, following - nominal)
    return most * random.Random(f"{entry.id}{nominal}").random()


def due(spec: ScheduleSpec, after: datetime) -> Iterator[datetime]:
    """The due times strictly after `after`, in order, each once."""
    start = spec.start_time.ToDatetime(tzinfo=UTC) if spec.HasField("start_time") else None
    end = spec.end_time.ToDatetime(tzinfo=UTC) if spec.HasField("end_time") else None
    previous = None
    for at in merge(*(fires(each, after, start=start, end=end) for each in _specs(spec))):
        if at != previous:
            yield at
        previous = at


def _specs(spec: ScheduleSpec) -> Iterator[CalendarSpec]:
    zone = spec.timezone_name or "UTC"
    for calendar in spec.structured_calendar:
        ranges = {
            name: tuple(CalendarRange(each.start, each.end, each.step) for each in getattr(calendar, name))
            for name in FIELDS
        }
        yield Calendar(time_zone=zone, **ranges)
    for interval in spec.interval:
        yield Every(interval.interval.ToTimedelta(), interval.phase.ToTimedelta())


def normalized(message: Schedule) -> Schedule:
    """As the server keeps it: with the defaults of each range written out."""
    kept = Schedule()
    kept.CopyFrom(message)
    for calendar in kept.spec.structured_calendar:
        for name in FIELDS:
            _write_out(calendar, name)
    return kept


def _write_out(calendar: StructuredCalendarSpec, name: str) -> None:
    each: Range
    for each in getattr(calendar, name):
        each.end = max(each.start, each.end)
        each.step = max(1, each.step)


def stamp(at: datetime) -> Timestamp:
    converted = Timestamp()
    converted.FromDatetime(at)
    return converted


def _call_at(at: datetime, do: Callable[[], None]) -> asyncio.TimerHandle:
    delay = (at - datetime.now(UTC)).total_seconds()
    return asyncio.get_running_loop().call_later(max(0.0, delay), do)
