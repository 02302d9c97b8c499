"""The servers that the contract of the clock is held against: real ones with each scheduler, and the simulated ones."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client

from nextfire.embedded import Temporal, running_temporal
from nextfire.processes import free_port
from services.clock import Clock
from services.clock_list import ClockList
from services.temporal_states import TemporalStates
from services.temporal_workflows import TemporalWorkflows
from tests.simulation.temporal import Engine, Network, SimulatedTemporal, client
from tests.temporal_options import CHASM

OPTIONS = {Engine.V1: (), Engine.CHASM: CHASM}


@dataclass(frozen=True)
class Server:
    """A server that no worker polls, and what the product knows it by."""

    engine: Engine
    client: Client
    clock: Clock
    clocks: ClockList
    workflows: TemporalWorkflows
    states: TemporalStates
    stop: Callable[[], Awaitable[None]]
    start: Callable[[], Awaitable[None]]


class RealServer:
    """A real one that can be killed and started again on its data."""

    def __init__(self, directory: Path, engine: Engine) -> None:
        self._place = (directory, free_port(), free_port(), directory / "server.log")
        self._options = OPTIONS[engine]
        self._running = ExitStack()
        self._server: Temporal | None = None

    @property
    def address(self) -> str:
        assert self._server is not None
        return self._server.address

    async def restart(self) -> None:
        await asyncio.to_thread(self.start)

    async def kill(self) -> None:
        assert self._server is not None
        await asyncio.to_thread(self._server.child.stop, signal.SIGKILL)

    def start(self) -> None:
        self._server = self._running.enter_context(running_temporal(*self._place, options=self._options))

    def close(self) -> None:
        self._running.close()


@pytest.fixture(scope="module")
def real_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Engine], RealServer]]:
    """The module's real server of an engine, started when it is first asked for."""
    made: dict[Engine, RealServer] = {}

    def of(engine: Engine) -> RealServer:
        if engine not in made:
            made[engine] = RealServer(tmp_path_factory.mktemp(engine), engine)
            made[engine].start()
        return made[engine]

    yield of
    for each in made.values():
        each.close()


@pytest.fixture(params=["v1", "chasm", "simulated v1", "simulated chasm"])
async def server(request: pytest.FixtureRequest, real_servers: Callable[[Engine], RealServer]) -> Server:
    """One after the other, the servers that must all keep the contract."""
    kind, engine = str(request.param), Engine(str(request.param).split()[-1])
    if kind.startswith("simulated"):
        simulated = SimulatedTemporal(engine, random.Random(1))
        connected = client(simulated.handle, Network())
        return _server(engine, connected, _at_once(simulated.stop), _at_once(simulated.start))
    real = real_servers(engine)
    return _server(engine, await Client.connect(real.address), real.kill, real.restart)


def _at_once(do: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def done() -> None:
        do()

    return done


def _server(
    engine: Engine,
    connected: Client,
    stop: Callable[[], Awaitable[None]],
    start: Callable[[], Awaitable[None]],
) -> Server:
    queue = f"contract-{uuid4()}"
    return Server(
        engine=engine,
        client=connected,
        clock=Clock(connected, task_queue=queue),
        clocks=ClockList(connected, page=2),
        workflows=TemporalWorkflows(connected, task_queue=queue),
        states=TemporalStates(connected),
        stop=stop,
        start=start,
    )
