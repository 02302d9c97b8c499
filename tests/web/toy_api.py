"""An API with the shape of the operations that the playground shows, and no stores behind it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import uuid4

import strawberry
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from strawberry.asgi import GraphQL
from strawberry.schema.config import StrawberryConfig

from nextfire.playground_routes import playground_routes


@strawberry.type
class Agent:
    id: strawberry.ID
    name: str
    description: str | None
    protocol: str
    delivery_method: str
    status: str


@strawberry.type
class CronCadence:
    expression: str
    time_zone: str
    description: str


@strawberry.type
class IntervalCadence:
    every_seconds: int
    description: str


@strawberry.type
class Clock:
    status: str


@strawberry.type
class LiveSchedule:
    status: str
    next_fire_at: datetime | None

    @strawberry.field
    def next_fires(self, first: int = 5) -> list[datetime] | None:
        start = self.next_fire_at or datetime.now(UTC)
        return [start + timedelta(minutes=15 * index) for index in range(first)]


@strawberry.type
class RunError:
    message: str


@strawberry.type
class Run:
    id: strawberry.ID
    trigger: str
    status: str
    fire_at: datetime
    latency_ms: int | None
    error: RunError | None
    schedule: "Schedule"


@strawberry.type
class Schedule:
    id: strawberry.ID
    name: str
    state: str
    version: int
    agent: Agent
    cadence: Annotated[CronCadence | IntervalCadence, strawberry.union("Cadence")]
    clock: Clock
    last_run: Run | None = None

    @strawberry.field
    async def live(self) -> LiveSchedule:
        await asyncio.sleep(0)
        return LiveSchedule(status="AVAILABLE", next_fire_at=datetime(2030, 1, 1, 8, tzinfo=UTC))


@strawberry.type
class FireStatusEvent:
    cursor: str
    at: datetime
    status: str
    previous: str | None
    run: Run


@strawberry.type
class AgentEdge:
    node: Agent


@strawberry.type
class AgentConnection:
    total_count: int
    edges: list[AgentEdge]


@strawberry.type
class ScheduleEdge:
    node: Schedule


@strawberry.type
class ScheduleConnection:
    total_count: int
    edges: list[ScheduleEdge]


@strawberry.type
class ServerInfo:
    version: str
    temporal_reachable: bool


class Store:
    def __init__(self) -> None:
        agent = Agent(
            id=strawberry.ID(str(uuid4())),
            name="hello-sync",
            description="Answers at once.",
            protocol="SYNC",
            delivery_method="MESSAGE_SEND",
            status="ACTIVE",
        )
        self.agents = [agent]
        weekdays = CronCadence(
            expression="0 17 * * 1-5",
            time_zone="Europe/Berlin",
            description="At 17:00, Monday through Friday",
        )
        self.schedules = [self.schedule("daily-digest", weekdays)]
        self.events: list[FireStatusEvent] = []
        self.changed = asyncio.Condition()

    def schedule(self, name: str, cadence: CronCadence | IntervalCadence) -> Schedule:
        return Schedule(
            id=strawberry.ID(str(uuid4())),
            name=name,
            state="ACTIVE",
            version=1,
            agent=self.agents[0],
            cadence=cadence,
            clock=Clock(status="IN_SYNC"),
        )

    async def fire(self, schedule: Schedule) -> Run:
        now = datetime.now(UTC)
        run = Run(
            id=strawberry.ID(str(uuid4())),
            trigger="MANUAL",
            status="DELIVERED",
            fire_at=now,
            latency_ms=42,
            error=None,
            schedule=schedule,
        )
        async with self.changed:
            previous = None
            for status in ("CLAIMED", "DELIVERING", "DELIVERED"):
                cursor = str(len(self.events) + 1)
                event = FireStatusEvent(cursor=cursor, at=now, status=status, previous=previous, run=run)
                self.events.append(event)
                previous = status
            schedule.last_run = run
            self.changed.notify_all()
        return run


Info = strawberry.Info[dict[str, Store], None]


def store_of(info: Info) -> Store:
    return info.context["store"]


@strawberry.type
class Query:
    server_info: ServerInfo = strawberry.field(resolver=lambda: ServerInfo(version="0.0.0", temporal_reachable=True))

    @strawberry.field
    def event_cursor(self, info: Info) -> str:
        return str(len(store_of(info).events))

    @strawberry.field
    def agents(self, info: Info, first: int = 20) -> AgentConnection:
        found = store_of(info).agents
        return AgentConnection(total_count=len(found), edges=[AgentEdge(node=each) for each in found[:first]])

    @strawberry.field
    def schedules(self, info: Info, first: int = 20) -> ScheduleConnection:
        found = store_of(info).schedules
        return ScheduleConnection(total_count=len(found), edges=[ScheduleEdge(node=each) for each in found[:first]])


@strawberry.input
class IntervalInput:
    every_seconds: int


@strawberry.input
class CadenceInput:
    interval: IntervalInput


@strawberry.input
class InitialInputInput:
    content: str


@strawberry.input
class CreateScheduleInput:
    agent_id: strawberry.ID
    name: str
    cadence: CadenceInput
    initial_input: InitialInputInput


@strawberry.input
class TriggerScheduleInput:
    id: strawberry.ID


@strawberry.interface
class UserError:
    code: str
    message: str
    path: list[str] | None = None


@strawberry.type
class FieldIssue:
    path: list[str]
    message: str


@strawberry.type
class InvalidInput(UserError):
    issues: list[FieldIssue]


@strawberry.type
class NameTaken(UserError):
    suggestion: str


@strawberry.type
class NotFound(UserError):
    pass


@strawberry.type
class ScheduleCreated:
    schedule: Schedule


@strawberry.type
class ScheduleTriggered:
    run: Run


CreateScheduleResult = Annotated[
    ScheduleCreated | InvalidInput | NameTaken | NotFound, strawberry.union("CreateScheduleResult")
]


@strawberry.type
class Mutation:
    @strawberry.mutation
    def create_schedule(self, info: Info, input: CreateScheduleInput) -> CreateScheduleResult:
        store = store_of(info)
        if input.agent_id not in [agent.id for agent in store.agents]:
            return NotFound(code="NOT_FOUND", message="There is no such agent.", path=["input", "agentId"])
        seconds = input.cadence.interval.every_seconds
        cadence = IntervalCadence(every_seconds=seconds, description=f"Every {seconds} seconds")
        schedule = store.schedule(input.name, cadence)
        store.schedules.append(schedule)
        return ScheduleCreated(schedule=schedule)

    @strawberry.mutation
    async def trigger_schedule(self, info: Info, input: TriggerScheduleInput) -> ScheduleTriggered:
        store = store_of(info)
        schedule = next(each for each in store.schedules if each.id == input.id)
        return ScheduleTriggered(run=await store.fire(schedule))


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def fire_status(self, info: Info, after: str | None = None) -> AsyncIterator[list[FireStatusEvent]]:
        store = store_of(info)
        sent = len(store.events) if after is None else int(after)
        while True:
            async with store.changed:
                while len(store.events) == sent:
                    await store.changed.wait()
                batch = store.events[sent:]
            sent += len(batch)
            yield batch


class ToyGraphQL(GraphQL[dict[str, Store], None]):
    def __init__(self) -> None:
        config = StrawberryConfig(enable_experimental_incremental_execution=True)
        super().__init__(
            strawberry.Schema(Query, Mutation, Subscription, types=[InvalidInput, NameTaken, NotFound], config=config),
            graphql_ide=None,
        )
        self.store = Store()

    async def get_context(self, request: object, response: object) -> dict[str, Store]:
        return {"store": self.store}


def toy_app() -> Starlette:
    graphql = ToyGraphQL()
    return Starlette(
        routes=[
            Route("/graphql", graphql),
            WebSocketRoute("/graphql", graphql),
            *playground_routes(),
        ]
    )
