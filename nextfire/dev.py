"""`nextfire dev`: the whole of Nextfire on one machine, with everything that it needs, as child processes."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import httpx

import nextfire
from migrations import upgrade
from nextfire.data_directory import DataDirectory
from nextfire.demo import Api, seed
from nextfire.embedded import Postgres, Temporal, running_postgres, running_temporal
from nextfire.fire_lines import FireLines
from nextfire.processes import Child, StackError, ending, is_free
from nextfire.screen import Screen

DATABASE = "postgres"
READY_SECONDS = 120
WATCH_SECONDS = 0.2
GRACE_SECONDS = 25  # more than the 20 that a worker gives to what is under way
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Somebody asked for the end: Ctrl-C, SIGTERM, or the terminal was closed."""


@dataclass(frozen=True)
class Addresses:
    """Where everything is."""

    api: str
    sync_agent: str
    async_agent: str

    @property
    def graphql(self) -> str:
        """The GraphQL endpoint."""
        return f"{self.api}/graphql"


def run(data_directory: Path, port: int) -> int:
    """Start everything, show the fires until somebody stops it, stop everything; the exit code.

    Args:
        data_directory: Where the data, the logs and what is remembered go; made if need be.
        port: Where the API listens on 127.0.0.1.
    """
    screen = Screen()
    for number in STOP_SIGNALS:
        signal.signal(number, raise_stopped)
    try:
        supervise(screen, DataDirectory(data_directory.absolute()), port)
    except StackError as error:
        screen.failure(str(error))
        return 1
    except Stopped:
        screen.line(f"Stopped. The data stays in {data_directory}; the next start finds it.")
    return 0


def raise_stopped(_number: int, _frame: FrameType | None) -> None:
    """Handle the first signal; the ones after it would only disturb the stopping."""
    ignore_signals()
    raise Stopped


def ignore_signals() -> None:
    """From here on, stopping is what is done anyway."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def supervise(screen: Screen, home: DataDirectory, port: int) -> None:
    """Start everything in order, then watch it; whatever ends this, all is stopped again, in reverse."""
    with home.held(), contextlib.ExitStack() as stack:
        check_port(port)
        try:
            children = start_all(screen, home, port, stack)
            watch(children)
        finally:
            ignore_signals()
            screen.line("Stopping ...")


def check_port(port: int) -> None:
    """Raise unless the API can listen there."""
    if not is_free(port):
        raise StackError(
            f"Port {port} of 127.0.0.1 is taken by another program, or may not be used.\n"
            f"Stop that program, or choose another port with NEXTFIRE_PORT: NEXTFIRE_PORT={port + 1} make run"
        )


def start_all(screen: Screen, home: DataDirectory, port: int, stack: contextlib.ExitStack) -> list[Child]:
    """Start everything on `stack`, seed, and show where it is; the children to watch."""
    postgres, temporal = start_servers(screen, home, stack)
    with screen.step("Migrating the database", "Database is up to date"):
        upgrade(postgres.url(DATABASE))
    environment = child_environment(home, postgres, temporal, port)
    with screen.step("Starting the API, a worker and two demo agents", "API, worker and demo agents are ready"):
        agents, addresses = start_agents(home, port, environment, stack)
        programs = start_programs(home, environment, stack)
        wait_until_ready(agents, programs, addresses)
    fires = FireLines(Api(addresses.graphql), f"ws://127.0.0.1:{port}/graphql", screen.fire)
    fires.start()
    stack.callback(fires.stop)
    seed_once(screen, home, addresses)
    screen.addresses(table(home, addresses, postgres, temporal))
    screen.line("Nextfire is running; Ctrl-C stops it. Each fire that ends gets a line here.")
    return [postgres.child, temporal.child, *agents, *programs]


def start_servers(screen: Screen, home: DataDirectory, stack: contextlib.ExitStack) -> tuple[Postgres, Temporal]:
    """Start Postgres and Temporal, each at the port that it had before if that is free."""
    with screen.step("Starting Postgres", "Postgres is ready"):
        server = running_postgres(home.path / "postgres", home.port("postgres"), home.logs / "postgres.log")
        postgres = stack.enter_context(server)
    with screen.step("Starting Temporal", "Temporal is ready"):
        ports = home.port("temporal"), home.port("temporal_ui")
        clock = running_temporal(home.path / "temporal", *ports, home.logs / "temporal.log")
        temporal = stack.enter_context(clock)
    return postgres, temporal


def child_environment(home: DataDirectory, postgres: Postgres, temporal: Temporal, port: int) -> dict[str, str]:
    """The environment of our own programs: this one's, but never with another Temporal's settings in it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
    return {
        "NEXTFIRE_SECRET_KEY": home.secret_key(),
        "NEXTFIRE_LOG_FORMAT": "text",
        **inherited,
        "DATABASE_URL": postgres.url(DATABASE),
        "TEMPORAL_ADDRESS": temporal.address,
        "TEMPORAL_NAMESPACE": "default",
        # Else the profile in the user's home is read, which may be for a cluster with TLS.
        "TEMPORAL_CONFIG_FILE": os.devnull,
        "NEXTFIRE_TEMPORAL_UI_URL": temporal.ui_url,
        "NEXTFIRE_AUTH": "open",
        "NEXTFIRE_HOST": "127.0.0.1",
        "NEXTFIRE_PORT": str(port),
        "ENABLE_AGENT_RUN_SCHEDULES": "true",
        # The demo agents, and those that somebody tries out here.
        "NEXTFIRE_AGENT_PRIVATE_NETWORKS": "allow",
        "PYTHONUNBUFFERED": "1",
    }


def start_agents(
    home: DataDirectory, port: int, environment: Mapping[str, str], stack: contextlib.ExitStack
) -> tuple[list[Child], Addresses]:
    """Start the two demo agents at the ports that they were registered with."""
    agents, urls = [], []
    for number, kind in enumerate(("sync", "async"), start=1):
        agent_port = demo_port(home, kind, wish=port + number)
        command = ["-m", "nextfire.demo_agents", kind, "--port", str(agent_port)]
        agents.append(start_python(f"demo agent {kind}", command, home, environment, stack))
        urls.append(f"http://127.0.0.1:{agent_port}")
    return agents, Addresses(f"http://127.0.0.1:{port}", *urls)


def demo_port(home: DataDirectory, kind: str, wish: int) -> int:
    """The port of a demo agent; once agents are registered it is part of their url and cannot change."""
    before = (home.recall("ports") or {}).get(kind)
    if before is not None and home.recall("seeded") and not is_free(before):
        raise StackError(
            f"Port {before} of 127.0.0.1, where the demo agent {kind} is registered, is taken by another "
            "program.\nStop that program, or start from nothing elsewhere: nextfire dev --data-dir DIRECTORY"
        )
    return home.port(kind, wish=wish)


def start_programs(home: DataDirectory, environment: Mapping[str, str], stack: contextlib.ExitStack) -> list[Child]:
    """Start the API and the worker."""
    programs: list[Child] = []
    # Together, and before the agents: what is in flight at an agent may end.
    stack.callback(stop_together, programs)
    for name, command in (("API", "serve"), ("worker", "worker")):
        programs.append(start_python(name, ["-m", "nextfire", command], home, environment, None))
    return programs


def wait_until_ready(agents: Sequence[Child], programs: Sequence[Child], addresses: Addresses) -> None:
    """Wait for all that say when they are ready; the worker has nothing to ask."""
    api, _ = programs
    for agent, url in zip(agents, (addresses.sync_agent, addresses.async_agent), strict=True):
        agent.wait_until(partial(answers, f"{url}/healthz"), READY_SECONDS)
    api.wait_until(partial(answers, f"{addresses.api}/readyz"), READY_SECONDS)


def start_python(
    name: str,
    arguments: Sequence[str],
    home: DataDirectory,
    environment: Mapping[str, str],
    stack: contextlib.ExitStack | None,
) -> Child:
    """Start a Python program as a child, to be stopped with `stack`."""
    log = home.logs / f"{name.lower().replace(' ', '-')}.log"
    child = Child(name, [sys.executable, *arguments], log, environment=environment)
    if stack is not None:
        stack.callback(child.stop, grace_seconds=GRACE_SECONDS)
    return child


def stop_together(children: Sequence[Child]) -> None:
    """Ask all of them before waiting for the first."""
    for child in children:
        child.send(signal.SIGTERM)
    for child in children:
        child.stop(grace_seconds=GRACE_SECONDS)


def answers(url: str) -> bool:
    """Whether a GET is answered with 200 now."""
    try:
        with httpx.Client(trust_env=False, timeout=5) as client:
            return client.get(url).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def seed_once(screen: Screen, home: DataDirectory, addresses: Addresses) -> None:
    """Set up the demonstration, if this data directory has never had one."""
    if home.recall("seeded"):
        return
    with screen.step("Setting up the demonstration", "Two demo agents and their schedules are set up"):
        seed(Api(addresses.graphql), addresses.sync_agent, addresses.async_agent)
    home.remember("seeded", True)


def table(home: DataDirectory, addresses: Addresses, postgres: Postgres, temporal: Temporal) -> dict[str, str]:
    """What the person at the terminal may want to open."""
    built = Path(nextfire.__file__).with_name("playground").joinpath("index.html").exists()
    playground = f"{addresses.api}/" if built else "not built; `make playground` builds it (needs Node.js)"
    return {
        "GraphQL": addresses.graphql,
        "Playground": playground,
        "Temporal UI": temporal.ui_url,
        "Postgres": postgres.url(DATABASE),
        "Agent demo-sync": addresses.sync_agent,
        "Agent demo-async": addresses.async_agent,
        "Authentication": "none: whoever reaches this machine's loopback may do everything",
        "Logs": str(home.logs),
    }


def watch(children: Sequence[Child]) -> NoReturn:
    """Return never: raise when a child ends that should not."""
    while True:
        for child in children:
            if child.exit_code is not None:
                raise StackError(
                    f"{child.name} ended unexpectedly with {ending(child.exit_code)}, so all is stopped."
                    f"{child.excerpt()}"
                )
        time.sleep(WATCH_SECONDS)
