"""An installation under test: the product's own programs as child processes, over stores that may break."""

import asyncio
import itertools
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import psutil
from temporalio.client import Client
from temporalio.service import RPCError

from nextfire.processes import Child, free_port
from resolvers.ids import Kind, encode, key_of
from services.clock import Clock, Described
from services.failpoints import Failpoint
from services.schedule import clock_id
from tests.faults.figures import Figures
from tests.no_tls import NO_TLS
from tests.programs import environment
from tests.waiting import each, eventually

PATIENCE_SECONDS = 300
"""How long a test waits for what is bound to come: long, since a machine may be busy, and figures tell the time."""
GRACE_SECONDS = 40
"""More than the worker's own grace: what is not gone by then hangs."""
AGENT = "... on AgentRegistered { agent { id } }"
SCHEDULE = "{ schedule { id version clock { status appliedVersion } } }"
FAILURE = "__typename ... on UserError { code message }"
OFTEN = {"interval": {"everySeconds": 3}}
"""What a development server can follow on a machine that is busy with other things too."""
YEARLY = {"cron": {"expression": "0 0 1 1 *"}}


class Unanswered(Exception):
    """The API gave no answer, or none that says whether it was done."""


class Program:
    """`nextfire serve` or `nextfire worker`, as it runs in production, with failpoints where they are wanted."""

    def __init__(self, child: Child, figures: Figures) -> None:
        self._child = child
        self.figures = figures

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        return self._child.exit_code

    @property
    def last_words(self) -> str:
        return self._child.last_lines(1)

    def kill(self) -> None:
        self._child.send(signal.SIGKILL)
        self.figures.injected(f"{self._child.name}: killed")

    def terminate(self) -> None:
        self._child.send(signal.SIGTERM)
        self.figures.injected(f"{self._child.name}: SIGTERM")

    def freeze(self) -> None:
        self._child.send(signal.SIGSTOP)
        self.figures.injected(f"{self._child.name}: frozen")

    def thaw(self) -> None:
        self._child.send(signal.SIGCONT)

    def log(self) -> Iterator[dict[str, Any]]:
        """The lines that the process has logged by now."""
        for line in self._child.log.read_text().splitlines():
            with suppress(json.JSONDecodeError):
                yield json.loads(line)

    def logged(self, action: str) -> list[dict[str, Any]]:
        return [entry for entry in self.log() if entry.get("action") == action]

    async def says(self, action: str, count: int = 1) -> list[dict[str, Any]]:
        """The lines of an action, once there are so many."""

        async def found() -> list[dict[str, Any]] | None:
            lines = self.logged(action)
            assert self.exit_code is None, f"It ended: {self._child.excerpt()}"
            return lines if len(lines) >= count else None

        return await eventually(found, PATIENCE_SECONDS)

    async def hit(self, point: Failpoint) -> dict[str, Any]:
        """The proof that a failpoint did what it was armed for, once it has."""

        async def found() -> dict[str, Any] | None:
            return next((line for line in self.logged("failpoint") if line["failpoint"] == point), None)

        line = await eventually(found, PATIENCE_SECONDS)
        self.figures.injected(f"{self._child.name}: {line['deed']} at {point}")
        return line

    async def killed(self, point: Failpoint) -> None:
        """Return once the failpoint has killed it."""
        await self.hit(point)
        assert await self.ended() == -signal.SIGKILL

    async def frozen(self, point: Failpoint) -> None:
        """Return once the failpoint has frozen it."""
        await self.hit(point)

        async def stopped() -> bool | None:
            return True if psutil.Process(self.pid).status() == psutil.STATUS_STOPPED else None

        await eventually(stopped)

    async def ended(self) -> int:
        """Its exit code, once there is one."""
        return await eventually(self._exit_code, GRACE_SECONDS + 5)

    async def _exit_code(self) -> int | None:
        return self.exit_code


@dataclass
class Api:
    """A running API, and short ways to what most tests ask of it."""

    program: Program
    url: str
    client: httpx.AsyncClient

    async def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors. Raises `Unanswered`."""
        try:
            response = await self.client.post("/graphql", json={"query": query, "variables": variables})
            answer: dict[str, Any] = response.json()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            raise Unanswered(repr(error)) from error
        if answer.get("errors"):
            raise Unanswered(str(answer["errors"]))
        data: dict[str, Any] = answer["data"]
        return data

    async def change(self, mutation: str, kind: str, input: dict[str, Any], selection: str) -> dict[str, Any]:
        """What a mutation answers, refusals included. Raises `Unanswered`."""
        fields = f"{FAILURE} {selection}"
        document = f"mutation($input: {kind}!) {{ {mutation}(input: $input) {{ {fields} }} }}"
        answer: dict[str, Any] = (await self.ask(document, input=input))[mutation]
        return answer

    async def agent(self, url: str, protocol: str = "SYNC") -> UUID:
        """The id of a new agent."""
        wanted = {"name": f"agent-{uuid4().hex[:8]}", "protocol": protocol, "url": url}
        answer = await self.change("registerAgent", "RegisterAgentInput", wanted, AGENT)
        return key_of(Kind.AGENT, answer["agent"]["id"])

    async def create(self, agent_id: UUID, cadence: Any, **values: Any) -> dict[str, Any]:
        """A new schedule that runs every fire, however late or overlapping, unless told otherwise."""
        wanted = {
            "agentId": encode(Kind.AGENT, agent_id),
            "name": f"schedule-{uuid4().hex[:8]}",
            "cadence": cadence,
            "initialInput": {"content": "Write the report."},
            "overlapPolicy": "ALLOW",
            "missedFirePolicy": "RUN_ALL",
            **values,
        }
        return await self._schedule("createSchedule", "CreateScheduleInput", "ScheduleCreated", wanted)

    async def update(self, schedule_id: UUID, version: int, **values: Any) -> dict[str, Any]:
        wanted = {"id": encode(Kind.SCHEDULE, schedule_id), "expectedVersion": version, **values}
        return await self._schedule("updateSchedule", "UpdateScheduleInput", "ScheduleUpdated", wanted)

    async def act(self, action: str, schedule_id: UUID) -> dict[str, Any]:
        """`pause`, `resume` or `delete`."""
        success = {"pause": "SchedulePaused", "resume": "ScheduleResumed", "delete": "ScheduleDeleted"}[action]
        wanted = {"id": encode(Kind.SCHEDULE, schedule_id)}
        return await self._schedule(f"{action}Schedule", "ScheduleActionInput", success, wanted)

    async def trigger(self, schedule_id: UUID, **values: Any) -> UUID:
        """The id of a run that was asked for."""
        answer = await self.change(
            "triggerSchedule",
            "TriggerScheduleInput",
            {"id": encode(Kind.SCHEDULE, schedule_id), **values},
            "... on ScheduleTriggered { run { id } }",
        )
        return key_of(Kind.RUN, answer["run"]["id"])

    async def _schedule(self, mutation: str, kind: str, success: str, wanted: dict[str, Any]) -> dict[str, Any]:
        answer = await self.change(mutation, kind, wanted, f"... on {success} {SCHEDULE}")
        if "schedule" not in answer:
            return answer
        schedule: dict[str, Any] = answer["schedule"]
        return {**schedule, "id": key_of(Kind.SCHEDULE, schedule["id"])}

    async def ready(self) -> None:
        """Return once it answers."""
        await eventually(self._answers, PATIENCE_SECONDS)

    async def _answers(self) -> bool | None:
        try:
            return True if (await self.client.get("/healthz")).status_code == 200 else None
        except httpx.HTTPError:
            return None


@dataclass
class Installation:
    """One database and one way to Temporal, with any number of the product's programs over them."""

    database_url: str
    temporal_address: str
    logs: Path
    figures: Figures
    direct_temporal: str = ""
    """Where the test itself asks Temporal, if the programs go through a proxy; the same for Postgres."""
    direct_database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Variables of the programs, over those of every test."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What every request to the API carries."""
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _connection: "asyncpg.Connection[asyncpg.Record] | None" = None

    def __post_init__(self) -> None:
        self.direct_temporal = self.direct_temporal or self.temporal_address
        self.direct_database = self.direct_database or self.database_url
        # By default it is named after the database, where the last test that had it may have left workflows.
        self._queue = f"test-{uuid4()}"
        own = {"NEXTFIRE_TASK_QUEUE": self._queue, **self.settings}
        self._variables = environment(self.database_url, self.temporal_address, **own)

    @asynccontextmanager
    async def program(self, command: str, **variables: str) -> AsyncIterator[Program]:
        name = f"{command}-{next(self._numbers)}"
        line = [sys.executable, "-m", "nextfire", command]
        child = Child(command, line, self.logs / f"{name}.log", environment={**self._variables, **variables})
        try:
            yield Program(child, self.figures)
        finally:
            with suppress(ProcessLookupError):
                child.send(signal.SIGCONT)
            await asyncio.to_thread(child.stop, grace_seconds=GRACE_SECONDS)

    @asynccontextmanager
    async def worker(self, failpoints: str = "") -> AsyncIterator[Program]:
        """A worker, once it works."""
        async with self.program("worker", NEXTFIRE_FAILPOINTS=failpoints) as worker:
            await worker.says("worker_ready")
            yield worker

    @asynccontextmanager
    async def api(self, failpoints: str = "") -> AsyncIterator[Api]:
        """An API, once it answers."""
        async with self.starting_api(failpoints) as api:
            await api.ready()
            yield api

    @asynccontextmanager
    async def starting_api(self, failpoints: str = "") -> AsyncIterator[Api]:
        port = str(free_port())
        async with (
            self.program("serve", NEXTFIRE_FAILPOINTS=failpoints, NEXTFIRE_PORT=port) as program,
            self.client(url := f"http://127.0.0.1:{port}") as client,
        ):
            yield Api(program, url, client)

    def client(self, url: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=url, headers=self.headers, timeout=30, trust_env=False, verify=NO_TLS)

    @asynccontextmanager
    async def running(
        self, api_failpoints: str = "", worker_failpoints: str = ""
    ) -> AsyncIterator[tuple[Api, Program]]:
        """An API and a worker, once both are ready: they start at the same time."""
        async with (
            self.starting_api(api_failpoints) as api,
            self.program("worker", NEXTFIRE_FAILPOINTS=worker_failpoints) as worker,
        ):
            await api.ready()
            await worker.says("worker_ready")
            yield api, worker

    async def rows(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """What Postgres says, asked by a connection that has nothing to do with the product's own."""
        async with self._asking:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(self.direct_database)
            rows: list[asyncpg.Record] = await self._connection.fetch(query, *arguments)
            return rows

    async def row(self, query: str, *arguments: Any) -> asyncpg.Record | None:
        """The first row, or None."""
        return next(iter(await self.rows(query, *arguments)), None)

    async def until(self, query: str, *arguments: Any, seconds: float = PATIENCE_SECONDS) -> asyncpg.Record:
        """The first row of the query, once it has one."""
        return await eventually(lambda: self.row(query, *arguments), seconds)

    async def ran(
        self, schedule_id: UUID, count: int, status: str = "DELIVERED", seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Return once the schedule has so many runs in the status."""
        query = "SELECT 1 FROM runs WHERE schedule_id = $1 AND status = $2 OFFSET $3"
        await self.until(query, schedule_id, status, count - 1)

    async def in_sync(
        self, figure: str | None = None, *, since: float | None = None, seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Return once every row is applied, and keep how long that took."""
        begun = time.monotonic() if since is None else since
        query = (
            "SELECT 1 WHERE NOT EXISTS (SELECT FROM agent_run_schedules WHERE applied_version IS DISTINCT FROM version)"
        )
        await self.until(query)
        if figure:
            self.figures.took(figure, time.monotonic() - begun)

    async def temporal(self) -> Client:
        """A client of the test's own."""
        return await Client.connect(self.direct_temporal)

    async def task_queue(self) -> str:
        return self._queue

    async def clean(self) -> None:
        """Take the clocks away: those of a shared server would fire on after the test."""
        client = await self.temporal()

        async def delete(row: asyncpg.Record) -> None:
            with suppress(RPCError):
                await client.get_schedule_handle(clock_id(row["id"])).delete()

        await each(delete, await self.rows("SELECT id FROM agent_run_schedules"))
        await self.close()

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def describe(self, schedule_id: UUID) -> Described | None:
        """The clock of a schedule by a strong read; None where there is none."""
        return await Clock(await self.temporal(), task_queue="").describe(schedule_id)
