"""The queries."""

from datetime import datetime
from typing import Annotated

import strawberry

from resolvers import agents, nodes, previews, runs, schedules
from resolvers.context import Context
from resolvers.ids import Kind
from resolvers.paging import MAX_SIZE
from schema.cost import LIVE, sizing
from schema.fields import resolved
from schema.filters import (
    AgentFilter,
    AgentOrder,
    RunFilter,
    RunOrder,
    ScheduleFilter,
    ScheduleOrder,
    agent_filter,
    agent_order,
    run_filter,
    run_order,
    schedule_filter,
    schedule_order,
)
from schema.graph import Agent, Info, Run, Schedule, Task, reading_of, shown
from schema.pages import After, Before, Connection, First, Last, asked, given
from schema.previews import CadencePreview, CadencePreviewResult
from schema.reading import Reader
from schema.records import Node
from schema.schedule_inputs import CadenceInput, cadence
from schema.selection import is_selected_at_root
from schema.values import Principal
from services.agent import Agent as AgentValue
from services.errors import InvalidInput
from services.run import Run as RunValue
from services.run import Task as TaskValue
from services.schedule import Schedule as ScheduleValue

ABSENT = strawberry.UNSET

KINDS = {"Agent": Kind.AGENT, "Schedule": Kind.SCHEDULE, "Run": Kind.RUN, "Task": Kind.TASK}


@strawberry.input(one_of=True, description="An agent: by exactly one of the two.")
class AgentRef:
    id: strawberry.ID | None = strawberry.field(default=ABSENT, description="By its id; finds deleted ones too.")
    name: str | None = strawberry.field(default=ABSENT, description="By the name of a live agent of the account.")


@strawberry.input(description="A schedule by its label.")
class ScheduleName:
    agent_id: strawberry.ID = strawberry.field(description="The agent that it runs.")
    name: str = strawberry.field(description="The name of a live schedule of that agent.")


@strawberry.input(one_of=True, description="A schedule: by exactly one of the two.")
class ScheduleRef:
    id: strawberry.ID | None = strawberry.field(default=ABSENT, description="By its id; finds deleted ones too.")
    named: ScheduleName | None = strawberry.field(default=ABSENT, description="By its agent and name.")


@strawberry.type(description="Who asks.")
class Viewer:
    principal: Principal | None = strawberry.field(description="The caller; null where nobody is known by name.")
    authenticated: bool = strawberry.field(description="Whether the caller is known by name.")


@strawberry.type(description="The server that answers.")
class ServerInfo:
    version: str = strawberry.field(description="The version of Nextfire.")
    schedules_enabled: bool = strawberry.field(description="Whether this server offers schedules and runs.")
    temporal_namespace: str = strawberry.field(description="The Temporal namespace that holds the clocks.")

    @resolved("Whether Temporal answers now: asked when selected, within a second.", weight=LIVE)
    async def temporal_reachable(self, info: Info) -> bool:
        return await info.context.services.server.temporal_reachable()


async def _context(info: Info) -> Context:
    """The context to read data with: where the operation asks for the event cursor, that is read before all data."""
    context = info.context
    if context.waits_for_cursor is None:
        context.waits_for_cursor = is_selected_at_root(info._raw_info, "eventCursor")
    if context.waits_for_cursor:
        await context.event_cursor()
    return context


async def _node(info: Info, id: str) -> Agent | Schedule | Run | Task | None:
    """Only what this schema has a type for is found."""
    kinds = frozenset(kind for name, kind in KINDS.items() if info.schema.get_type_by_name(name))
    found = await nodes.by_id(await _context(info), id, kinds)
    if isinstance(found, AgentValue):
        return Agent.of(found)
    if isinstance(found, ScheduleValue):
        return Schedule.of(found)
    if isinstance(found, RunValue):
        return Run.of(found)
    return Task.of(found) if isinstance(found, TaskValue) else None


@strawberry.type(
    description="Reads. Nothing here fails because Temporal is away: only live values are null then, with the reason. "
    "What the caller may not see is not there."
)
class Query:
    @resolved("Anything by its id; null for an id that is malformed or unknown.")
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="A global id.")]
    ) -> Node | None:
        return await _node(info, id)

    @resolved("Several things by their ids: each at the place of its id, null for one that is malformed or unknown.")
    async def nodes(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID],
            strawberry.argument(description=f"Global ids: at most {MAX_SIZE}.", metadata=sizing(1)),
        ],
    ) -> list[Node | None]:
        if len(ids) > MAX_SIZE:
            raise InvalidInput.of(f"At most {MAX_SIZE} ids; these are {len(ids)}.", "ids")
        return await nodes.in_order([_node(info, each) for each in ids])

    @resolved("Who asks.")
    def viewer(self, info: Info) -> Viewer:
        principal = info.context.actor.principal
        return Viewer(principal=Principal.of(principal), authenticated=principal is not None)

    @resolved("One agent; null where there is none for this caller. Read from Postgres.")
    async def agent(
        self, info: Info, by: Annotated[AgentRef, strawberry.argument(description="By its id or by its name.")]
    ) -> Agent | None:
        context = await _context(info)
        if (name := given(by.name)) is not None:
            found = await agents.by_name(context, name)
        else:
            found = await agents.by_id(context, given(by.id))
        return Agent.of(found) if found else None

    @resolved("The agents of the account, the newest first unless sorted otherwise. Read from Postgres.")
    async def agents(
        self,
        info: Info,
        filter: Annotated[
            AgentFilter | None, strawberry.argument(description="Which of them; deleted ones only if asked for.")
        ] = ABSENT,
        order_by: Annotated[
            AgentOrder | None, strawberry.argument(description="How they are sorted; the newest first if absent.")
        ] = ABSENT,
        first: First = ABSENT,
        after: After = ABSENT,
        last: Last = ABSENT,
        before: Before = ABSENT,
    ) -> Connection[Agent]:
        page = asked(first, after, last, before)
        listing = await agents.page(await _context(info), agent_filter(filter), agent_order(order_by), page)
        return Connection.of(listing, Agent.of)

    @resolved("One schedule; null where there is none for this caller. Read from Postgres.", schedules=True)
    async def schedule(
        self,
        info: Info,
        by: Annotated[ScheduleRef, strawberry.argument(description="By its id, or by its agent and name.")],
    ) -> Schedule | None:
        context, reading = await _context(info), reading_of(info)
        if named := given(by.named):
            found, along = await schedules.by_name(context, named.agent_id, named.name, reading)
        else:
            found, along = await schedules.by_id(context, given(by.id), reading)
        return shown(info, along)(found) if found else None

    @resolved("The schedules of the account, the newest first unless sorted otherwise. From Postgres.", schedules=True)
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
    ) -> Connection[Schedule]:
        page = asked(first, after, last, before)
        context, reading = await _context(info), reading_of(info, listed=True)
        listing, along = await schedules.page(context, schedule_filter(filter), schedule_order(order_by), page, reading)
        return Connection.of(listing, shown(info, along))

    @resolved("One run; null where there is none for this caller. Read from Postgres.", schedules=True)
    async def run(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The id of a run.")]
    ) -> Run | None:
        found = await runs.by_id(await _context(info), id)
        return Run.of(found) if found else None

    @resolved("The runs of the account, the latest fire first unless sorted otherwise. From Postgres.", schedules=True)
    async def runs(
        self,
        info: Info,
        filter: Annotated[RunFilter | None, strawberry.argument(description="Which of them; all if absent.")] = ABSENT,
        order_by: Annotated[
            RunOrder | None, strawberry.argument(description="How they are sorted; the latest fire first if absent.")
        ] = ABSENT,
        first: First = ABSENT,
        after: After = ABSENT,
        last: Last = ABSENT,
        before: Before = ABSENT,
    ) -> Connection[Run]:
        page = asked(first, after, last, before)
        listing = await runs.page(await _context(info), run_filter(filter), run_order(order_by), page)
        return Connection.of(listing, Run.of)

    @resolved("What a cadence would do, before anything is saved.", schedules=True)
    def preview_cadence(
        self,
        cadence: Annotated[CadenceInput, strawberry.argument(description="The cadence to look at.")],
        start_at: Annotated[
            datetime | None, strawberry.argument(description="As in CreateScheduleInput; no start if absent.")
        ] = ABSENT,
        end_at: Annotated[
            datetime | None, strawberry.argument(description="As in CreateScheduleInput; no end if absent.")
        ] = ABSENT,
        after: Annotated[
            datetime | None, strawberry.argument(description="Times after this; after now if absent.")
        ] = ABSENT,
        first: Annotated[
            int | None, strawberry.argument(description="How many times: 1 to 100.", metadata=sizing(5))
        ] = 5,
    ) -> CadencePreviewResult:
        return _preview(cadence, start_at, end_at, after, 5 if first is None else first)

    @resolved(
        "The end of the event log, taken before the data of this answer is read: query with it, subscribe after it, "
        "and nothing is missed. Read from Postgres.",
        schedules=True,
    )
    async def event_cursor(self, info: Info) -> str:
        return await info.context.event_cursor()

    @resolved("The server that answers.")
    def server_info(self, info: Info) -> ServerInfo:
        server = info.context.services.server
        return ServerInfo(
            version=server.version,
            schedules_enabled=server.schedules_enabled,
            temporal_namespace=server.temporal_namespace,
        )


def _preview(
    input: CadenceInput, start_at: datetime | None, end_at: datetime | None, after: datetime | None, first: int
) -> CadencePreview:
    reader = Reader()
    preview = previews.preview(
        cadence(reader, input, ("cadence",)),
        start_at=reader.time(given(start_at), "startAt"),
        end_at=reader.time(given(end_at), "endAt"),
        after=reader.time(given(after), "after"),
        first=first,
        issues=reader.issues,
    )
    return CadencePreview.of(preview)
