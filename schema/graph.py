"""Agents, schedules, runs and tasks, and what leads from one to another. They refer to each other, so they share a
module; their plain attributes stand in `schema.records`."""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import strawberry

from resolvers import agents, feed, links, live, permissions, runs, schedules
from resolvers.context import Context
from schema.cost import LIVE, sizing
from schema.fields import NOT_READ, NotRead, live_attribute, resolved, shown_attribute
from schema.filters import RunFilter, ScheduleFilter, ScheduleOrder, run_filter, schedule_filter, schedule_order
from schema.pages import After, Before, Connection, First, Last, asked, given
from schema.reading import Reader
from schema.records import AgentRecord, Message, RunRecord, ScheduleRecord, TaskRecord
from schema.rows import Column, Row
from schema.scalars import show_lasting_time
from schema.selection import MOST_MENTIONED, mentioned, mentioned_at_once, mentioned_in, selected
from schema.values import Attempt, RunError, RunStats, ScheduleChange, SchedulePermissions
from services.agent import AgentProtocol, DeliveryMethod, delivery_method
from services.agents import COLUMN_NAMES as AGENT_COLUMNS
from services.agents import agent_of
from services.live import Live, LiveStatus
from services.run import AttemptOutcome, RunStatus
from services.run import TaskCancellation as TaskCancellationValue
from services.schedule import ClockStatus, clock_id
from services.schedule import Schedule as ScheduleValue
from services.schedule_queries import Along
from services.schedule_rows import ALL_PARTS, ALWAYS_READ
from services.schedule_statements import Reading

Info = strawberry.Info[Context, None]
ABSENT = strawberry.UNSET

COUNTERS = frozenset({"fireCount", "overlapSkippedCount", "missedCatchUpCount", "runningWorkflowCount"})
"""What only describe tells, one call for each schedule."""

PART_FIELDS = {
    "cadence": "cadence",
    "applied": "clock",
    "clock": "clock",
    "initial_input": "initialInput",
    "task_params": "taskParams",
    "task_metadata": "taskMetadata",
    "labels": "labels",
    "creator": "creator",
}
"""The field that shows a part of a schedule."""

LIVE_PARTS = frozenset({"cadence", "applied"})
"""What `live` needs of a schedule, and does not show."""

PLACE_OF_PROTOCOL = AGENT_COLUMNS.index("protocol")
DELIVERY_METHODS = {each.value: delivery_method(each) for each in AgentProtocol}

AGENT_FIELDS = frozenset({"agent", "deliveryMethod"})

NAMING_FIELDS = frozenset({"__typename", "id", "name", "protocol", "status", "deliveryMethod"})
"""What an agent can tell of which only the columns that name it were read."""

SKIP_FIELDS = frozenset({"nextFireAt", "nextFires", "skippedFires"})
"""What needs to know the skipped fires."""


@strawberry.type(description="A program with an ACP endpoint. Read from Postgres.")
class Agent(AgentRecord):
    @resolved("The schedules that run this agent, the newest first unless sorted otherwise.", schedules=True)
    async def schedules(
        self,
        info: Info,
        filter: Annotated[
            ScheduleFilter | None, strawberry.argument(description="Which of them; deleted ones only if asked for.")
        ] = ABSENT,
        order_by: Annotated[
            ScheduleOrder | None, strawberry.argument(description="How they are sorted; the newest first if absent.")
        ] = ABSENT,
        first: First = ABSENT,
        after: After = ABSENT,
        last: Last = ABSENT,
        before: Before = ABSENT,
    ) -> "Connection[Schedule]":
        reading = reading_of(info, listed=True)
        listing, along = await schedules.page_of_agent(
            info.context,
            self.value.id,
            schedule_filter(filter),
            schedule_order(order_by),
            asked(first, after, last, before),
            reading,
        )
        return Connection.of(listing, shown(info, along))


@strawberry.type(
    description="The Temporal Schedule that belongs to a schedule, as Postgres knows it from the last time it was seen."
)
class Clock:
    status: ClockStatus = strawberry.field(description="Whether it says what the row says.")
    applied_version: int | None = strawberry.field(
        description="The version of the schedule that it was last seen to be equal to; null until the first."
    )
    applied_at: datetime | None = strawberry.field(description="When that was; null until the first.")
    error: str | None = strawberry.field(description="Why Temporal refuses it for good; null where it does not.")
    temporal_schedule_id: str = strawberry.field(description="Its id in Temporal.")

    @resolved("Where Temporal's web UI shows it; null where the server was not told of a UI.")
    def temporal_url(self, info: Info) -> str | None:
        return links.to_schedule(info.context, self.temporal_schedule_id)

    @classmethod
    def of(cls, value: ScheduleValue) -> "Clock":
        clock = value.clock
        return cls(
            status=clock.status,
            applied_version=clock.applied_version,
            applied_at=clock.applied_at,
            error=clock.error,
            temporal_schedule_id=clock_id(value.id),
        )


@strawberry.type(
    description="What Temporal says of a schedule now. Every value but skippedFires is null where Temporal did not "
    "answer in time; `status` says why. In a page the values may be up to 2 seconds old, as asOf shows."
)
class LiveSchedule:
    status: LiveStatus = strawberry.field(description="Whether Temporal told the values, and if not, why.")
    last_fire_at: datetime | None = shown_attribute(
        "When the clock last fired, as Temporal remembers it; null before the first time.", show_lasting_time
    )
    paused: bool | None = strawberry.field(description="Whether the clock is paused in Temporal.")
    fire_count: int | None = live_attribute("How often the clock has fired. Costs a call for each schedule.")
    overlap_skipped_count: int | None = live_attribute(
        "Fires that Temporal itself skipped for overlap: 0, since Postgres decides that. Costs a call."
    )
    missed_catch_up_count: int | None = live_attribute(
        "Fires that Temporal gave up as later than the catch-up window. Costs a call for each schedule."
    )
    running_workflow_count: int | None = live_attribute(
        "Workflows of the clock that Temporal knows to run. Costs a call for each schedule."
    )
    as_of: datetime | None = shown_attribute("When Temporal said so.", show_lasting_time)
    schedule: strawberry.Private[ScheduleValue]
    live: strawberry.Private[Live]
    skips: strawberry.Private[tuple[datetime, ...] | NotRead] = NOT_READ

    def known_next_fires(self, first: int | None = 5) -> list[datetime] | NotRead | None:
        """The fires to come, where the skipped ones have been read. Raises `InvalidInput`."""
        if self.skips is NOT_READ:
            return NOT_READ
        return live.without_skips(self.schedule, self.live.values, self.skips, 5 if first is None else first)

    def known_next_fire_at(self) -> datetime | NotRead | None:
        fires = self.known_next_fires(1)
        if fires is NOT_READ:
            return NOT_READ
        return fires[0] if fires else None

    def known_skips(self) -> list[datetime] | NotRead:
        return self.skips if self.skips is NOT_READ else [*self.skips]

    @resolved(
        "The next fire that no one asked to skip; null as well where none is to come.",
        known=known_next_fire_at,
        show=show_lasting_time,
    )
    async def next_fire_at(self, info: Info) -> datetime | None:
        fires = await self._next_fires(info, 1)
        return fires[0] if fires else None

    @resolved(
        "The fires to come that no one asked to skip: Temporal's own, with jitter, and past those the nominal times "
        "worked out from the same definition. Empty while it is paused.",
        known=known_next_fires,
        show=show_lasting_time,
    )
    async def next_fires(
        self,
        info: Info,
        first: Annotated[int | None, strawberry.argument(description="How many: 1 to 100.", metadata=sizing(5))] = 5,
    ) -> list[datetime] | None:
        return await self._next_fires(info, 5 if first is None else first)

    @resolved("The fires to come that someone asked to skip. Read from Postgres, so never null.", known=known_skips)
    async def skipped_fires(self, info: Info) -> list[datetime] | None:
        return [*await live.skips(info.context, self.schedule)]

    async def _next_fires(self, info: Info, first: int) -> list[datetime] | None:
        return await live.next_fires(info.context, self.schedule, self.live.values, first)

    @classmethod
    async def together(cls, info: Info, schedules: "list[Schedule]") -> "list[LiveSchedule]":
        """Those of many schedules, with the skipped fires of each if they are needed."""
        names = selected(info._raw_info)
        values = [each.value for each in schedules]
        found = await live.read_all(info.context, values, counters=not COUNTERS.isdisjoint(names))
        if SKIP_FIELDS.isdisjoint(names):
            return [*map(cls.of, values, found)]
        return [*map(cls.of, values, found, await live.all_skips(info.context, values))]

    @classmethod
    def of(cls, value: ScheduleValue, live: Live, skips: tuple[datetime, ...] | NotRead = NOT_READ) -> "LiveSchedule":
        values = live.values
        counters = values.counters if values else None
        made = cls.__new__(cls)
        made.__dict__ = {
            "status": live.status,
            "last_fire_at": values.last_fire_at if values else None,
            "paused": values.paused if values else None,
            "fire_count": counters.fire_count if counters else None,
            "overlap_skipped_count": counters.overlap_skipped if counters else None,
            "missed_catch_up_count": counters.missed_catch_up if counters else None,
            "running_workflow_count": counters.running_workflows if counters else None,
            "as_of": values.as_of if values else None,
            "schedule": value,
            "live": live,
            "skips": skips,
        }
        return made


async def _first_runs(info: Info, schedules: "list[Schedule]", first: int | None = ABSENT) -> "list[Connection[Run]]":
    """`Schedule.runs` of many schedules, where they are not filtered and begin with the first."""
    listings = await runs.first_pages(info.context, [each.value.id for each in schedules], given(first))
    return [Connection.of(listing, Run.of) for listing in listings]


@strawberry.type(
    description="At these times, start a run of this agent with this input, as this principal. Read from Postgres, the "
    "source of truth; `live` is read from Temporal."
)
class Schedule(ScheduleRecord):
    ready_agent: strawberry.Private[Agent | NotRead | None] = NOT_READ
    ready_delivery_method: strawberry.Private[DeliveryMethod | NotRead] = NOT_READ
    ready_last_run: strawberry.Private["Run | NotRead | None"] = NOT_READ
    ready_viewer_can: strawberry.Private[SchedulePermissions | NotRead] = NOT_READ

    @staticmethod
    def of(value: ScheduleValue) -> "Schedule":
        """Of one that was read whole."""
        return ScheduleRow(value, ALL_PARTS)

    @resolved(
        "The agent that it runs; a deleted one too. Null where the caller may not see it. Read from Postgres, in one "
        "statement for a page.",
        ready="ready_agent",
    )
    async def agent(self, info: Info) -> Agent | None:
        found = await agents.by_key(info.context, self.value.agent_id)
        return Agent.of(found) if found else None

    @resolved("How the input reaches the agent; follows from the agent's protocol.", ready="ready_delivery_method")
    async def delivery_method(self, info: Info) -> DeliveryMethod:
        return await agents.delivery_method(info.context, self.value.agent_id)

    @resolved("The Temporal Schedule that belongs to it, as Postgres knows it.")
    def clock(self) -> Clock:
        return Clock.of(self.value)

    @resolved("What the caller may do with it, and if not, why.", ready="ready_viewer_can")
    async def viewer_can(self, info: Info) -> SchedulePermissions:
        return SchedulePermissions.of(await permissions.of_schedule(info.context, self.value))

    @resolved(
        "What Temporal says of it now: read only when selected, in one call for all schedules of the request, within "
        "1.3 seconds. Fit for @defer.",
        weight=LIVE,
        together=LiveSchedule.together,
    )
    async def live(self, info: Info) -> LiveSchedule:
        counters = not COUNTERS.isdisjoint(selected(info._raw_info))
        return LiveSchedule.of(self.value, await live.read(info.context, self.value, counters=counters))

    @resolved(
        "Its run with the latest fire; null before the first. Read from Postgres, in one statement for a page.",
        ready="ready_last_run",
    )
    async def last_run(self, info: Info) -> "Run | None":
        found = await runs.last_of(info.context, self.value.id)
        return Run.of(found) if found else None

    @resolved("Its runs, the latest fire first. Read from Postgres.", together=_first_runs)
    async def runs(
        self,
        info: Info,
        filter: Annotated[RunFilter | None, strawberry.argument(description="Which of them; all if absent.")] = ABSENT,
        first: First = ABSENT,
        after: After = ABSENT,
        last: Last = ABSENT,
        before: Before = ABSENT,
    ) -> "Connection[Run]":
        listing = await runs.page_of_schedule(
            info.context, self.value.id, run_filter(filter), asked(first, after, last, before)
        )
        return Connection.of(listing, Run.of)

    @resolved("Counts of its runs and how late they were. Read from Postgres.", weight=LIVE)
    async def run_stats(
        self,
        info: Info,
        since: Annotated[
            datetime | None, strawberry.argument(description="Only runs with fireAt at or after this; all if absent.")
        ] = ABSENT,
    ) -> RunStats:
        reader = Reader()
        read = reader.time(given(since), "since")
        reader.finish()
        stats = await runs.stats(info.context, self.value.id, read)
        return RunStats.of(stats, self.value.consecutive_failures)

    @resolved("The changes of its definition, the latest first. Read from Postgres.")
    async def changes(
        self,
        info: Info,
        first: First = ABSENT,
        after: After = ABSENT,
        last: Last = ABSENT,
        before: Before = ABSENT,
    ) -> Connection[ScheduleChange]:
        listing = await schedules.changes(info.context, self.value, asked(first, after, last, before))
        return Connection.of(listing, ScheduleChange.of)


class AgentRow(Row, Agent):
    """An agent that was read along with a schedule: all values of `services.agents.COLUMNS`, or those that name it."""

    columns: ClassVar = {
        **{name: Column(place) for place, name in enumerate(AGENT_COLUMNS)},
        "id": Column(AGENT_COLUMNS.index("id"), kind="Agent"),
    }

    @property
    def method(self) -> DeliveryMethod:
        """`delivery_method`, with no other attribute made for it."""
        return DELIVERY_METHODS[self.row[PLACE_OF_PROTOCOL]]

    def attributes(self) -> dict[str, Any]:
        return self.attributes_of(agent_of(self.row)) if len(self.row) == len(AGENT_COLUMNS) else self.named(*self.row)


class ScheduleRow(Row, Schedule):
    """A schedule of which these parts were read."""

    columns: ClassVar = {
        **{name: Column(place) for place, name in enumerate(ALWAYS_READ)},
        "id": Column(ALWAYS_READ.index("id"), kind="Schedule"),
    }

    def __init__(self, value: ScheduleValue, parts: frozenset[str]) -> None:
        self.row = value.row
        self.value = value
        self.parts = parts

    def attributes(self) -> dict[str, Any]:
        return self.attributes_of(self.value, self.parts)


@strawberry.type(description="The record of one fire, from claim to its end. Read from Postgres.")
class Run(RunRecord):
    @resolved(
        "Its schedule, a deleted one too; null for a run by runAgent, and for one that no schedule was found for."
    )
    async def schedule(self, info: Info) -> Schedule | None:
        schedule_id = self.value.schedule_id
        found = await schedules.by_key(info.context, schedule_id) if schedule_id else None
        return Schedule.of(found) if found else None

    @resolved("The agent that it runs, a deleted one too; null where no schedule was found for the fire.")
    async def agent(self, info: Info) -> Agent | None:
        agent_id = self.value.agent_id
        found = await agents.by_key(info.context, agent_id) if agent_id else None
        return Agent.of(found) if found else None

    @resolved("Its requests to the agent, in order; empty where none was sent.")
    async def attempts(self, info: Info) -> list[Attempt]:
        return [Attempt.of(each) for each in await runs.attempts(info.context, self.value.id)]

    @resolved("What it created at the agent; null where it was decided before that not to send.")
    async def task(self, info: Info) -> "Task | None":
        task_id = self.value.task_id
        found = await runs.task(info.context, task_id) if task_id else None
        return Task.of(found) if found else None

    @resolved(
        "What has happened to it, in order, under the cursors of fireStatus. Read from the event log in Postgres; "
        "events are kept for seven days."
    )
    async def events(self, info: Info, first: First = ABSENT, after: After = ABSENT) -> "FireStatusConnection":
        listing = await feed.of_run(info.context, self.value, asked(first, after))
        return FireStatusConnection.of(listing, FireStatusEvent.of)

    @resolved("Where Temporal's web UI shows its workflow; null where the server was not told of a UI.")
    def temporal_url(self, info: Info) -> str | None:
        return links.to_workflow(info.context, self.temporal_workflow_id)


@strawberry.type(description="One conversation at the agent, created by a run. Read from Postgres.")
class Task(TaskRecord):
    @resolved("The agent that it is with, a deleted one too. Null where the caller may not see it.")
    async def agent(self, info: Info) -> Agent | None:
        found = await agents.by_key(info.context, self.value.agent_id)
        return Agent.of(found) if found else None

    @resolved("That the agent was asked to stop it; null where it was not.")
    async def cancellation(self, info: Info) -> "TaskCancellation | None":
        found = await runs.cancellation(info.context, self.value.id)
        return TaskCancellation.of(found) if found else None

    @resolved("What was said, in sequence: for SYNC agents the input and the reply.")
    async def messages(self, info: Info, first: First = ABSENT, after: After = ABSENT) -> Connection[Message]:
        listing = await runs.messages(info.context, self.value.id, asked(first, after))
        return Connection.of(listing, Message.of)


@strawberry.type(
    description="That the agent was asked by task/cancel to stop what a task gave it to do, since a later run makes it "
    "obsolete: overlap policy CANCEL_PREVIOUS. Read from Postgres."
)
class TaskCancellation:
    value: strawberry.Private[TaskCancellationValue]
    requested_at: datetime = strawberry.field(description="When it was written down, before the first request.")
    attempt_count: int = strawberry.field(description="How often it was sent, at most 3 times, under one key.")
    outcome: AttemptOutcome = strawberry.field(description="How the last request ended.")
    error: RunError | None = strawberry.field(description="Why that failed; null where it did not.")
    ended_at: datetime | None = strawberry.field(description="When it was answered or given up; null until then.")

    @resolved("The later run that asked for it.")
    async def run(self, info: Info) -> Run | None:
        found = await runs.by_key(info.context, self.value.run_id)
        return Run.of(found) if found else None

    @classmethod
    def of(cls, value: TaskCancellationValue) -> "TaskCancellation":
        return cls(
            value=value,
            requested_at=value.requested_at,
            attempt_count=value.attempt_count,
            outcome=value.outcome,
            error=RunError.of(value.error),
            ended_at=value.ended_at,
        )


@strawberry.type(description="A run came to a status. Read from the event log in Postgres.")
class FireStatusEvent:
    cursor: str = strawberry.field(
        description="The place of the event in the log: pass it as `after` to go on behind it."
    )
    at: datetime = strawberry.field(description="When it was written.")
    status: RunStatus = strawberry.field(description="The status that the run came to.")
    previous: RunStatus | None = strawberry.field(description="The status that it had; null for the first.")
    run: Run = strawberry.field(description="The run as it is when the event is sent, which may be further on.")

    @classmethod
    def of(cls, event: feed.FireEvent) -> "FireStatusEvent":
        made = cls.__new__(cls)
        made.__dict__ = {
            "cursor": event.cursor,
            "at": event.at,
            "status": event.status,
            "previous": event.previous,
            "run": Run.of(event.run),
        }
        return made


@strawberry.type(description="One page of what has happened to a run, read from the event log in Postgres.")
class FireStatusConnection(Connection[FireStatusEvent]):
    pass


def reading_of(info: Info, *, listed: bool = False) -> Reading:
    """What has to be read of schedules, and along with them, for what is selected below the current field."""
    names = mentioned(info._raw_info)
    total = listed and "totalCount" in names and "totalCount" in selected(info._raw_info)
    return _reading(names, mentioned_at_once(info._raw_info), mentioned_in(info._raw_info, "agent"), total=total)


@lru_cache(maxsize=MOST_MENTIONED)
def _parts(names: frozenset[str]) -> frozenset[str]:
    """Those that are shown."""
    return frozenset(part for part, field in PART_FIELDS.items() if field in names)


@lru_cache(maxsize=MOST_MENTIONED)
def _reading(names: frozenset[str], at_once: frozenset[str], of_agent: frozenset[str], *, total: bool) -> Reading:
    return Reading(
        parts=_parts(names) | (LIVE_PARTS if "live" in names else frozenset()),
        agent=not AGENT_FIELDS.isdisjoint(names),
        whole_agent=not of_agent <= NAMING_FIELDS,
        last_run="lastRun" in names,
        # Deferred, they are read with what else is deferred, and the first part does not wait for them.
        skips=not SKIP_FIELDS.isdisjoint(at_once),
        total=total,
    )


def shown(info: Info, along: Along) -> Callable[[ScheduleValue], Schedule]:
    """Makes what is shown of a schedule from what was read of it, and along with it."""
    names = mentioned(info._raw_info)
    known = permissions.known_of_schedules(info.context) if "viewerCan" in names else None
    viewer_can = SchedulePermissions.of(known) if known is not None else None
    tells_method = "deliveryMethod" in names
    agents = {key: AgentRow(row) for key, row in (along.agents or {}).items()}
    parts = _parts(names)

    def make(value: ScheduleValue) -> Schedule:
        schedule = ScheduleRow(value, parts)
        if (agent := agents.get(value.agent_id)) is not None:
            schedule.ready_agent = agent
            if tells_method:
                schedule.ready_delivery_method = agent.method
        if along.last_runs is not None:
            last_run = along.last_runs[value.id]
            schedule.ready_last_run = Run.of(last_run) if last_run is not None else None
        if viewer_can is not None and value.deleted_at is None:
            schedule.ready_viewer_can = viewer_can
        return schedule

    return make
