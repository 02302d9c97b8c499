"""The whole installation under random faults for a while: then it comes to rest, and everything must be true."""

import asyncio
import random
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from migrations import upgrade
from nextfire.processes import free_port
from tests.agents.scripted import ScriptedAgent
from tests.faults.chaos import Chaos
from tests.faults.figures import Figures
from tests.faults.installation import Api
from tests.faults.kept import kept
from tests.faults.lines import lines
from tests.faults.load import EVERYTHING, Load, lost
from tests.faults.oracle import Oracle
from tests.faults.plugin import Soak
from tests.faults.servers import OwnPostgres, OwnTemporal
from tests.faults.subscriber import following

WORKERS = 2
INTERVALS, PAUSE_SECONDS = (6, 20), 2
"""Seconds of the schedules, and between two changes of a client: a development server is to follow them."""


@pytest.mark.matrix
@pytest.mark.fault("F6")
@pytest.mark.fault("F10")
@pytest.mark.fault("F11")
@pytest.mark.fault("F14")
@pytest.mark.fault("F17")
async def test_after_random_faults_everything_is_true(
    breakable_postgres: OwnPostgres, breakable_temporal: OwnTemporal, tmp_path: Path, figures: Figures, soak: Soak
) -> None:
    upgrade(breakable_postgres.url)
    async with (
        lines(breakable_postgres.url, breakable_temporal.address, tmp_path, figures) as ways,
        ScriptedAgent() as careful,
        ScriptedAgent(dedupe=False) as careless,
        AsyncExitStack() as stack,
    ):
        installation, port = ways.installation, free_port()
        serving = await stack.enter_async_context(kept(installation, "serve", NEXTFIRE_PORT=str(port)))
        workers = [await stack.enter_async_context(kept(installation, "worker")) for _ in range(WORKERS)]
        client = await stack.enter_async_context(installation.client(f"http://127.0.0.1:{port}"))
        api = Api(await serving.program(), str(client.base_url).rstrip("/"), client)
        await api.ready()
        # given clients that change things, agents that do and do not dedupe, and a subscriber
        start = (await api.ask("{ eventCursor }"))["eventCursor"]
        agents = [await api.agent(careful.url), await api.agent(careless.url, "ASYNC")]
        load = Load(api, agents, EVERYTHING, INTERVALS, pause_seconds=PAUSE_SECONDS, seed=soak.seed)
        async with following(api.url, start) as subscriber:
            async with load.running():
                await load.more()
                # when parts of it break at random
                chaos = Chaos(
                    random.Random(soak.seed),
                    ways,
                    breakable_postgres,
                    breakable_temporal,
                    serving,
                    workers,
                    (careful, careless),
                )
                await _strike(chaos, soak.minutes)
                # then clients are served again, and all that is due and asked for comes to its end
                calm = time.monotonic()
                await load.more()
                figures.took("Recovery of changes after random faults", time.monotonic() - calm)
            await Oracle(installation, careful, careless).verdict(api)
            # and nothing that was acknowledged is lost, nothing was done twice under one key, no event is missing
            assert await lost(installation, load) == set()
            manual = await installation.rows("SELECT id FROM runs WHERE trigger = 'MANUAL'")
            assert len(load.runs) <= len(manual) <= len(load.keys)
            await subscriber.check(installation, start)
        # and no program ended but those that were told to
        endings = Counter(code for program in (serving, *workers) for code in program.endings)
        early = endings.pop(-signal.SIGTERM, 0)  # told to stop before they listened to it
        assert endings + Counter({0: early}) == +Counter({-signal.SIGKILL: chaos.killed, 0: chaos.stopped})


async def _strike(chaos: Chaos, minutes: float) -> None:
    begun = time.monotonic()
    while (now := time.monotonic() - begun) < minutes * 60:
        for each in await chaos.strike():
            print(f"{now:7.1f} s  {each}")  # noqa: T201 - for whoever watches it
        await asyncio.sleep(chaos.chance.uniform(0.5, 5))
