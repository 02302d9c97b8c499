"""A simulated installation: the product's own services over real Postgres and a simulated Temporal, in virtual time."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import httpx
from sqlalchemy import Pool
from temporalio.client import Client
from temporalio.service import RPCStatusCode

from nextfire.app import api_services
from nextfire.settings import AuthMode
from nextfire.wiring import Foundation, closing, founded_on
from nextfire.worker import loops, run_activities
from resolvers.context import Services
from services.acp import AcpClient
from services.activities import RunActivities
from services.connections import Connections
from services.database import Database
from services.failpoints import FailpointHit
from services.principals import OPEN_ACCOUNT, Actor, Principal, PrincipalType, Role
from services.reads import Reads
from services.tables import metadata
from services.transactions import Transactions
from tests.faults.figures import Figures
from tests.simulation.agents import Agents, SimulatedAgent
from tests.simulation.postgres import Links
from tests.simulation.processes import Process, current
from tests.simulation.temporal import Engine, Network, Refusal, SimulatedTemporal, client
from tests.simulation.workers import SimulatedWorker
from tests.stack import settings

ANSWER_WITHIN_SECONDS = 30.0
QUEUE = "simulation"
READERS, CHANGERS = 7, 5
PROCESSES = ("api", "worker-1", "worker-2")
ACTOR = Actor(OPEN_ACCOUNT, Principal(PrincipalType.SERVICE_ACCOUNT, None, "operator", OPEN_ACCOUNT), Role.OPERATOR)
"""Whoever asks, and whom every run acts as."""
A_KEY = "INSERT INTO api_keys (id, account_id, name, role, digest) VALUES (repeat('k', 12), $1, $2, $3, sha256('key'))"
REVOKED = "UPDATE api_keys SET revoked_at = CASE WHEN $1 THEN now() END"
ASK_EVERY = timedelta(seconds=12)
"""Less often than in production, where it costs most of the statements of an idle worker."""

Answer = TypeVar("Answer")


LOOPS = partial(loops, ask_every=ASK_EVERY)


@dataclass(frozen=True)
class Parts:
    """What a worker is made of: the product's own, unless a test swaps one."""

    activities: Callable[[Foundation, AcpClient], RunActivities] = run_activities
    loops: Callable[[Foundation], AbstractAsyncContextManager[None]] = LOOPS


class Unanswered(Exception):
    """The API gave no answer, or none that says whether it was done."""


class Weather:
    """What the network to Temporal is like."""

    def __init__(self) -> None:
        self.latency_seconds = (0.001, 0.02)
        self.loses = 0.0
        """The share of calls, and of answers, that are lost."""
        self.lost = 0


class Wire(Network):
    """A network with delays, on which a call or its answer may be lost."""

    def __init__(self, weather: Weather, rng: random.Random) -> None:
        self._weather = weather
        self._rng = rng

    async def carry(self, rpc: str, timeout: timedelta | None, answer: Callable[[], Answer]) -> Answer:
        await self._way(timeout)
        try:
            # What the server does then is no work of the process that asks.
            return Context().run(answer)
        finally:
            await self._way(timeout)

    async def _way(self, timeout: timedelta | None) -> None:
        await asyncio.sleep(self._rng.uniform(*self._weather.latency_seconds))
        if self._rng.random() < self._weather.loses:
            self._weather.lost += 1
            await asyncio.sleep((timeout or timedelta(seconds=10)).total_seconds())
            raise Refusal(RPCStatusCode.DEADLINE_EXCEEDED, "Lost on the way.")


class Pools:
    """A pool for each process, used by one simulation after the other: what SQLAlchemy has compiled is kept so."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.former: list[Pool | Connections] = []
        """Of processes that are dead, until their connections have heard of it."""
        self._databases: dict[str, Database] = {}

    async def warm_up(self) -> None:
        """Let SQLAlchemy ask what it asks on a first connection, so that no simulation differs by that."""
        for name in PROCESSES:
            database = self.of(name)
            await database.ping()
            await database.close()

    def of(self, name: str) -> Database:
        """The pool of the process of this name, without a connection."""
        if name not in self._databases:
            self._databases[name] = Database(self.url)
        database = self._databases[name]
        self.former += [database.engine.pool, database.direct]
        database.engine.sync_engine.dispose(close=False)
        database.direct = Connections(database._connect, READERS)
        database.reads = Reads(database.direct)
        database.changes = Transactions(database.direct, CHANGERS)
        return database


class Installation:
    """One API and two workers, each of which may die, stand still, and be started again."""

    def __init__(self, pools: "Pools", rng: random.Random, links: Links, figures: Figures, parts: Parts) -> None:
        self.direct_database = pools.url
        self._pools = pools
        self.figures = figures
        self.links = links
        self.temporal_server = SimulatedTemporal(rng.choice([*Engine]), rng)
        self.weather = Weather()
        self.agents = [SimulatedAgent(rng, dedupe=True), SimulatedAgent(rng, dedupe=False)]
        self.network = Agents(*self.agents)
        self.services: Services | None = None
        self.processes: dict[str, Process] = {}
        self.buried: list[Process] = []
        self._parts = parts
        self._rng = rng
        self._observer: asyncpg.Connection[asyncpg.Record] | None = None
        self._rows: asyncpg.Connection[asyncpg.Record] | None = None
        self._asking = asyncio.Lock()

    async def prepare(self) -> None:
        """An empty database, and nothing running yet."""
        self._observer = await asyncpg.connect(self.direct_database)
        self.links.observe()
        self._rows = await asyncpg.connect(self.direct_database)
        await self._rows.execute(f"TRUNCATE {', '.join(table.name for table in metadata.sorted_tables)}")
        assert ACTOR.principal is not None
        await self.rows(A_KEY, ACTOR.account_id, ACTOR.principal.service_account_id, ACTOR.role)

    async def revoke(self, *, revoked: bool) -> None:
        """Whether the key of everyone who asks works: without one, no run may act as them."""
        await self.rows(REVOKED, revoked)

    def start(self, name: str) -> None:
        """Start the process of this name: `api`, or one of the workers."""
        process = self.processes[name] = Process(name)
        self.buried.append(process)
        process.on_death.append(lambda: self.links.drop(process))
        if name == "api":
            self.services = None
        process.start(self._api() if name == "api" else self._worker(process))

    def kill(self, process: Process) -> None:
        process.die()
        self.figures.injected(f"{process.name}: killed")

    def strike(self, number: signal.Signals) -> None:
        """What a failpoint does to the process that came to it."""
        process = current.get()
        assert process is not None, "a failpoint was reached outside of every process"
        if number is signal.SIGSTOP:
            process.freeze()
            self.figures.injected("failpoint: frozen")
        else:
            process.die()
            self.figures.injected("failpoint: killed")

    async def ask(self, do: Callable[[Services], Awaitable[Answer]]) -> Answer:
        """Ask the API. Raises the product's own errors, and `Unanswered`."""
        api = self.processes["api"]
        while self.services is None or api.is_dead:
            await asyncio.sleep(1)
            api = self.processes["api"]
        asked = api.start(_asked(do, self.services))
        await asyncio.wait({asked}, timeout=ANSWER_WITHIN_SECONDS)
        if not asked.done():
            asked.cancel()
            raise Unanswered
        try:
            return asked.result()
        except (FailpointHit, asyncio.CancelledError) as error:
            raise Unanswered from error

    async def act(self, action: str, schedule_id: UUID) -> dict[str, Any]:
        """`pause`, `resume` or `delete`."""
        changed = await self.ask(
            lambda services: getattr(services.schedules, action)(ACTOR, schedule_id, expected_version=None, note=None)
        )
        return {"version": changed.version}

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        assert self._rows is not None
        async with self._asking:
            return await self._rows.fetch(query, *arguments)

    async def in_sync(self) -> None:
        """Return once every row is applied."""
        query = "SELECT id FROM agent_run_schedules WHERE applied_version IS DISTINCT FROM version"
        async with asyncio.timeout(300):
            while await self.rows(query):  # noqa: ASYNC110 - it lies in Postgres
                await asyncio.sleep(1)

    async def temporal(self) -> Client:
        return client(self.temporal_server.handle, Network())

    async def task_queue(self) -> str:
        return QUEUE

    async def close(self) -> None:
        for process in self.buried:
            await process.bury()
        for connection in (self._rows, self._observer):
            if connection is not None:
                connection.terminate()
        self.links.close()
        await asyncio.sleep(1)
        self._pools.former.clear()

    def _client(self) -> Client:
        return client(self.temporal_server.handle, Wire(self.weather, self._rng))

    async def _api(self) -> None:
        async with self._founded("api") as base, api_services(base) as services:
            self.services = services
            await _for_ever()

    async def _worker(self, process: Process) -> None:
        async with self._http() as http, self._founded(process.name) as base, self._parts.loops(base):
            worker = SimulatedWorker(process, self._parts.activities(base, AcpClient(http)))
            self.temporal_server.executions.workers.append(worker)
            Context().run(self.temporal_server.executions.dispatch)
            await _for_ever()

    @asynccontextmanager
    async def _founded(self, name: str) -> AsyncIterator[Foundation]:
        database = self._pools.of(name)
        async with closing(database), founded_on(database, self._settings(), self._client()) as base:
            yield base

    @asynccontextmanager
    async def _http(self) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(transport=self.network) as http:
            yield http

    def _settings(self) -> Any:
        wanted = settings(self.direct_database, AuthMode.KEYS, temporal_write_budget_seconds=2)
        return wanted.model_copy(update={"task_queue": QUEUE})


async def _asked(do: Callable[[Services], Awaitable[Answer]], services: Services) -> Answer:
    return await do(services)


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()
