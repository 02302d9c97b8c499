"""The context of one operation: who asks, the services, and what has been loaded for it."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from uuid import UUID

from resolvers.loaders import Loaders
from services.agents import Agents
from services.authorization import Authorizer
from services.backfills import Backfills
from services.feed import Feed
from services.interventions import Interventions
from services.live_reader import LiveReader
from services.manual_runs import ManualRuns
from services.principals import Actor
from services.runs import Runs
from services.schedule_queries import ScheduleQueries
from services.schedules import Schedules
from services.skips import Skips


@dataclass(frozen=True)
class ServerFacts:
    """What the server knows of itself. `temporal_reachable` asks Temporal, within a second."""

    version: str
    schedules_enabled: bool
    temporal_namespace: str
    temporal_ui_url: str | None
    temporal_reachable: Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Services:
    """What the resolvers call: one set a process, shared by all requests."""

    authorizer: Authorizer
    agents: Agents
    schedules: Schedules
    schedule_queries: ScheduleQueries
    runs: Runs
    skips: Skips
    backfills: Backfills
    manual_runs: ManualRuns
    interventions: Interventions
    live: LiveReader
    feed: Feed
    server: ServerFacts


class Context:
    """One for each operation. What it has loaded is read once; `refreshed` are the schedules that it has changed,
    whose live values are then read strongly."""

    def __init__(self, actor: Actor, services: Services) -> None:
        self.actor = actor
        self.services = services
        self.refreshed: set[UUID] = set()
        self.waits_for_cursor: bool | None = None
        """Whether the operation asks for the event cursor, so that its data has to be read after it; None: unknown."""
        self._loaders: Loaders | None = None
        self._cursor: asyncio.Task[str] | None = None

    @property
    def loaders(self) -> Loaders:
        if self._loaders is None:
            services = self.services
            self._loaders = Loaders(
                self.actor,
                authorizer=services.authorizer,
                agents=services.agents,
                schedules=services.schedule_queries,
                runs=services.runs,
                live=services.live,
            )
        return self._loaders

    @property
    def visibility(self) -> Hashable:
        """Equal for callers who would be answered alike, about whatever there is."""
        return self.services.authorizer.visibility(self.actor)

    def fresh(self) -> "Context":
        """The same caller with nothing loaded yet: for the next event of a subscription."""
        return Context(self.actor, self.services)

    def forget(self) -> None:
        """Read anew whatever is asked for from now on."""
        self._loaders = None

    def changed(self, schedule_id: UUID) -> None:
        """The operation has written this schedule: what was loaded before no longer holds."""
        self.refreshed.add(schedule_id)
        self.forget()

    async def event_cursor(self) -> str:
        """The end of the event log, as it was when the operation first asked. Raises `Unavailable`."""
        if self._cursor is None:
            self._cursor = asyncio.create_task(self.services.feed.cursor())
        return await asyncio.shield(self._cursor)
