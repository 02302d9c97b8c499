"""Postgres is killed under load, locked, slow: what was acknowledged is there, and readers of the feed miss nothing."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from migrations import upgrade
from nextfire.embedded import Temporal
from tests.agents.scripted import ScriptedAgent
from tests.faults.figures import Figures
from tests.faults.installation import OFTEN, Api, Installation, Unanswered
from tests.faults.load import Load, lost
from tests.faults.oracle import Oracle
from tests.faults.proxy import FaultProxy
from tests.faults.servers import OwnPostgres
from tests.faults.subscriber import following
from tests.waiting import eventually

pytestmark = pytest.mark.matrix

KILLS = 2


@pytest.mark.fault("F14")
async def test_postgres_is_killed_and_restarted_under_load(
    breakable_postgres: OwnPostgres,
    shared_temporal: Temporal,
    tmp_path: Path,
    figures: Figures,
    scripted_agent: ScriptedAgent,
) -> None:
    url = breakable_postgres.url
    upgrade(url)
    installation = Installation(url, shared_temporal.address, tmp_path, figures)
    async with installation.running() as (api, _):
        # given clients that change schedules, a subscriber, and fires
        start = (await api.ask("{ eventCursor }"))["eventCursor"]
        agent_id = await api.agent(scripted_agent.url)
        async with following(api.url, start) as subscriber:
            async with Load(api, [agent_id]).running() as load:
                for _ in range(KILLS):
                    await load.more()
                    # when Postgres dies in the middle of it, and comes back
                    failures = load.failures
                    await asyncio.to_thread(breakable_postgres.kill)
                    figures.injected("Postgres: killed")
                    died = time.monotonic()
                    await _failed(load, failures)
                    breakable_postgres.start()
                    await load.more(1)
                    figures.took("Recovery after Postgres was killed", time.monotonic() - died)
                await load.more()
            # then everything that was acknowledged is there, every due time has its run
            assert await lost(installation, load) == set()
            await Oracle(installation, scripted_agent).verdict(api)
            # and the subscriber got every event, once and in order
            await subscriber.check(installation, start)
    await installation.clean()


async def _failed(load: Load, before: int) -> None:
    async def felt() -> bool | None:
        return True if load.failures > before else None

    await eventually(felt)


@pytest.mark.fault("F16")
async def test_a_slow_postgres_and_a_locked_table_hold_up_nothing_for_long(
    database_url: str,
    shared_temporal: Temporal,
    tmp_path: Path,
    figures: Figures,
    scripted_agent: ScriptedAgent,
) -> None:
    proxy = FaultProxy(_port_of(database_url))
    async with proxy.running():
        through = database_url.replace(f":{_port_of(database_url)}/", f":{proxy.port}/")
        installation = Installation(through, shared_temporal.address, tmp_path, figures, direct_database=database_url)
        async with installation.running() as (api, _):
            agent_id = await api.agent(scripted_agent.url)
            schedule = await api.create(agent_id, OFTEN)
            await installation.ran(schedule["id"], 2)
            async with Load(api, [agent_id]).running() as load:
                # when every answer of Postgres takes its time, both ways
                proxy.delay_seconds = 0.05
                await load.more()
                assert proxy.delayed_chunks > 50
                figures.injected("Postgres: slow")
                proxy.delay_seconds = 0
                # and then the table of runs is locked for ten seconds, while many ask for it
                async with _locked(database_url, "runs"):
                    figures.injected("Postgres: a table locked")
                    asking = [asyncio.create_task(_runs(api)) for _ in range(30)]
                    until = time.monotonic() + 10
                    while time.monotonic() < until:
                        # then what does not need it is answered
                        before = time.monotonic()
                        assert (await api.client.get("/healthz")).status_code == 200
                        figures.took("Liveness with a table locked", time.monotonic() - before)
                        await asyncio.sleep(0.2)
                await asyncio.gather(*asking)
                # and all goes on as soon as it is free
                await load.more()
            assert await lost(installation, load) == set()
            await Oracle(installation, scripted_agent).verdict(api)
        await installation.clean()


async def _runs(api: Api) -> bool:
    """Whether the question was answered: it may also be refused, but in time."""
    try:
        await api.ask("{ runs(first: 1) { nodes { id } } }")
    except Unanswered:
        return False
    return True


@asynccontextmanager
async def _locked(database_url: str, table: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


def _port_of(database_url: str) -> int:
    return int(database_url.rsplit(":", 1)[1].split("/")[0])
