"""What every benchmark runs on: Postgres, Temporal, databases, and servers that are measured."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import asyncpg
import psutil
from cryptography.fernet import Fernet

from benchmarks import data
from benchmarks.load import ask, get
from benchmarks.machine import OTHER_CORES, SERVER_CORE, on_cores
from nextfire.embedded import Postgres, Temporal, running_postgres, running_temporal
from nextfire.processes import Child, StackError, free_port, running

READY_SECONDS = 120
LIMITS = {
    "NEXTFIRE_RATE_LIMIT_COST_PER_MINUTE": "2000000000",
    "NEXTFIRE_MAX_CONCURRENT_OPERATIONS": "100000",
    "NEXTFIRE_MAX_SUBSCRIPTIONS": "100000",
    "NEXTFIRE_MAX_SOCKETS": "100000",
}
"""What one caller may have, counted as ever, but more than is measured."""
PATIENCE = {"NEXTFIRE_TEMPORAL_READ_BUDGET_SECONDS": "8", "NEXTFIRE_TEMPORAL_WRITE_BUDGET_SECONDS": "8"}
"""So that a busy machine is slow, and does not answer something else."""
ROOT = Path(__file__).parents[1]
POSTGRES_SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "2GB", "autovacuum": "off"}
"""Tables are vacuumed when they have been filled, and not while something is measured."""
TEMPORAL_OPTIONS = ("--dynamic-config-value", "frontend.namespaceRPS.visibility=1000")


@dataclass(frozen=True)
class Server:
    """A server that is measured, on a core of its own."""

    name: str
    child: Child
    port: int

    def cpu_seconds(self) -> float:
        """What its threads have used so far: to the nanosecond where Linux tells, else to the hundredth."""
        try:
            threads = Path(f"/proc/{self.child.pid}/task").glob("*/schedstat")
            return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
        except (FileNotFoundError, ProcessLookupError):
            return sum(psutil.Process(self.child.pid).cpu_times()[:2])

    def resident_bytes(self) -> int:
        return int(psutil.Process(self.child.pid).memory_info().rss)


@dataclass(frozen=True)
class Database:
    """A database with its rows, and a key of each account."""

    url: str
    rows: int
    keys: Mapping[str, str]

    def headers(self, account: str = data.ACCOUNT) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[account]}"}


@dataclass
class Stack:
    """Postgres and Temporal on the cores that the server leaves, and what has been made on them."""

    directory: Path
    postgres: Postgres
    temporal: Temporal
    metrics_port: int
    _databases: dict[int, Database] = field(default_factory=dict)

    def database(self, rows: int) -> Database:
        """The database with so many schedules, made the first time."""
        if rows not in self._databases:
            self._databases[rows] = self._create(f"bench_{rows}", rows)
        return self._databases[rows]

    def _create(self, name: str, rows: int) -> Database:
        asyncio.run(_execute(self.postgres.url("postgres"), f"CREATE DATABASE {name}"))
        url = self.postgres.url(name)
        self._nextfire(url, "migrate")
        asyncio.run(data.fill(url, rows))
        keys = {account: self._key(url, account) for account in (data.ACCOUNT, data.LIVE_ACCOUNT, data.WRITE_ACCOUNT)}
        return Database(url, rows, keys)

    def _key(self, url: str, account: str) -> str:
        return self._nextfire(url, "keys", "create", "--account", account, "--name", "bench", "--role", "operator")

    def _nextfire(self, url: str, *arguments: str) -> str:
        command = [sys.executable, "-m", "nextfire", *arguments]
        result = subprocess.run(command, env=self.environment(url), capture_output=True, text=True, check=True)
        return result.stdout.strip()

    def environment(self, url: str, **more: str) -> dict[str, str]:
        """As in production: with all that it has switched on, and its modules compiled as installed ones are."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TEMPORAL_", "NEXTFIRE_")) and name != "PYTHONDONTWRITEBYTECODE"
        }
        return {
            **inherited,
            "DATABASE_URL": url,
            "TEMPORAL_ADDRESS": self.temporal.address,
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "ENABLE_AGENT_RUN_SCHEDULES": "true",
            "NEXTFIRE_AUTH": "keys",
            "NEXTFIRE_SECRET_KEY": Fernet.generate_key().decode(),
            "NEXTFIRE_AGENT_PRIVATE_NETWORKS": "allow",
            "PYTHONUNBUFFERED": "1",
            **LIMITS,
            **PATIENCE,
            **more,
        }

    @contextmanager
    def nextfire(self, database: Database, **settings: str) -> Iterator[Server]:
        """`nextfire serve`."""
        port = free_port()
        variables = self.environment(database.url, NEXTFIRE_PORT=str(port), **settings)
        with self._server("nextfire", [sys.executable, "-m", "nextfire", "serve"], variables, port) as server:
            yield server

    def knows(self, setting: str) -> bool:
        """Whether the product has a setting of this name, by what it says of one that cannot be right."""
        nowhere = str(self.directory / "nowhere")
        variables = self.environment("postgresql://nobody@127.0.0.1:1/nothing", **{setting: nowhere})
        command = [sys.executable, "-m", "nextfire", "serve"]
        try:
            result = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=20)
        except subprocess.TimeoutExpired:
            return False
        return setting in result.stderr

    async def temporal_calls(self, operation: str) -> int:
        """How many calls of an operation Temporal has answered so far, by its own metrics."""
        text = (await ask(self.metrics_port, get("/metrics"))).body.decode()
        counted = re.compile(rf'^service_requests\{{[^}}]*operation="{operation}"[^}}]*\}} (\S+)$', re.M)
        return int(sum(float(found) for found in counted.findall(text)))

    @contextmanager
    def sampled(self, database: Database, counts: Path) -> Iterator[Server]:
        """`nextfire serve` that samples itself, and writes the counts when it ends."""
        port = free_port()
        variables = self.environment(database.url, NEXTFIRE_PORT=str(port))
        command = [sys.executable, "-m", "benchmarks.sampled", str(counts)]
        with self._server("sampled", command, variables, port) as server:
            yield server

    @contextmanager
    def python_peer(self, name: str, database: Database) -> Iterator[Server]:
        """The application of a module of `benchmarks.peers`, under uvicorn as the product is."""
        port = free_port()
        options = ["--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        command = [sys.executable, "-m", "uvicorn", f"benchmarks.peers.{name}:app", *options, "--log-level", "warning"]
        with self._server(name, command, self.environment(database.url), port) as server:
            yield server

    @contextmanager
    def node_peer(self, name: str, script: str, database: Database, *arguments: str) -> Iterator[Server]:
        """A program of `benchmarks/node`."""
        port = free_port()
        variables = self.environment(database.url, PORT=str(port), NODE_ENV="production")
        command = [node_program(), str(ROOT / "benchmarks" / "node" / script), *arguments]
        with self._server(name, command, variables, port) as server:
            yield server

    @contextmanager
    def _server(self, name: str, command: Sequence[str], variables: Mapping[str, str], port: int) -> Iterator[Server]:
        log = self.directory / "logs" / f"{name}-{port}.log"
        with on_cores(SERVER_CORE):
            child = Child(name, command, log, environment=variables, directory=ROOT)
        with running(child, grace_seconds=20):
            child.wait_until(lambda: _answers(port), READY_SECONDS)
            yield Server(name, child, port)


def node_program() -> str:
    """Where Node is. Raises `StackError`."""
    found = shutil.which("node")
    if found is None:
        raise StackError("Node.js is missing, which the peers on it need: install it, or leave them out by --no-peers.")
    return found


def _answers(port: int) -> bool:
    """Whether it answers at all; not every peer has a page of its health."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status < 500
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@contextmanager
def running_stack(directory: Path) -> Iterator[Stack]:
    """Both servers, new, with their data in `directory`."""
    logs, metrics_port = directory / "logs", free_port()
    options = (*TEMPORAL_OPTIONS, "--metrics-port", str(metrics_port))
    with on_cores(OTHER_CORES):
        postgres_server = running_postgres(
            directory / "postgres", free_port(), logs / "postgres.log", settings=POSTGRES_SETTINGS
        )
        temporal_server = running_temporal(
            directory / "temporal", free_port(), free_port(), logs / "temporal.log", options=options
        )
        with postgres_server as postgres, temporal_server as temporal:
            yield Stack(directory, postgres, temporal, metrics_port)
