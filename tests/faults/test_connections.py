"""Connections that lead nowhere: to Postgres, to Temporal, to the agent. Nobody is told, and all find out."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from nextfire.embedded import Temporal
from tests.agents.scripted import ScriptedAgent, result
from tests.faults.figures import Figures
from tests.faults.installation import OFTEN, PATIENCE_SECONDS, YEARLY, Api, Installation, Unanswered
from tests.faults.lines import lines
from tests.faults.oracle import Oracle
from tests.faults.proxy import FaultProxy, Mode
from tests.faults.subscriber import following
from tests.waiting import eventually

pytestmark = pytest.mark.matrix

DARK_SECONDS = 15.0
DELIVERED_SINCE = "SELECT 1 FROM runs WHERE status = 'DELIVERED' AND fire_at > $1"


@pytest.mark.fault("F17")
@pytest.mark.parametrize("store", ["postgres", "temporal"])
async def test_connections_to_a_store_that_lead_nowhere_are_given_up(
    database_url: str,
    shared_temporal: Temporal,
    tmp_path: Path,
    figures: Figures,
    scripted_agent: ScriptedAgent,
    store: str,
) -> None:
    async with lines(database_url, shared_temporal.address, tmp_path, figures) as ways:
        installation = ways.installation
        proxy: FaultProxy = getattr(ways, store)
        async with installation.running() as (api, _):
            start = (await api.ask("{ eventCursor }"))["eventCursor"]
            agent_id = await api.agent(scripted_agent.url)
            async with following(api.url, start) as subscriber:
                schedule = await api.create(agent_id, OFTEN)
                await installation.ran(schedule["id"], 2)
                # when every connection of both programs is dead without a word, and new ones would work
                assert proxy.half_open() > 1
                died = time.monotonic()
                # then a change is made again, and fires are delivered
                await _changed(api, schedule["id"])
                figures.took(f"Recovery of changes: half-open connections to {store}", time.monotonic() - died)
                await installation.in_sync(f"Recovery of clocks: half-open connections to {store}", since=died)
                await installation.until(DELIVERED_SINCE, datetime.now(UTC))
                figures.took(f"Recovery of fires: half-open connections to {store}", time.monotonic() - died)
                assert proxy.swallowed_bytes > 0
                figures.injected(f"half-open connections to {store}")
                # and the same where all is dark for a while, for new connections too
                proxy.set(Mode.BLACKHOLE)
                await asyncio.sleep(DARK_SECONDS)
                proxy.set(Mode.PASS)
                figures.injected(f"no way to {store} and no word of it")
                light = time.monotonic()
                await installation.until(DELIVERED_SINCE, datetime.now(UTC))
                figures.took(f"Recovery of fires: {store} was out of reach", time.monotonic() - light)
                # and the same where connections are reset
                assert proxy.reset_open() > 1
                figures.injected(f"connections to {store} reset")
                await Oracle(installation, scripted_agent).verdict(api)
                await subscriber.check(installation, start)


async def _changed(api: Api, schedule_id: UUID) -> None:
    """Change it until that is acknowledged."""

    async def change() -> bool | None:
        try:
            row = (await api.ask("{ schedules(first: 1) { nodes { version } } }"))["schedules"]["nodes"][0]
            answer = await api.update(schedule_id, row["version"], cadence={"interval": {"everySeconds": 4}})
        except Unanswered:
            return None
        return True if "version" in answer else None

    await eventually(change, PATIENCE_SECONDS)


@pytest.mark.fault("F17")
@pytest.mark.fault("F19")
async def test_an_agent_that_is_never_heard_of_again_is_asked_again_or_held(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent, figures: Figures
) -> None:
    # given an agent behind a line that goes dead once the request is through, and another that just hangs
    late = asyncio.Event()
    line = FaultProxy(scripted_agent.port)
    async with line.running(), ScriptedAgent() as hanging, installation.running() as (api, _):
        hanging.always(result(None), method="task/create")
        hanging.script(*[result({"status": "processing"}).but(gate=late) for _ in range(2)], method="event/send")
        cut_id = await api.agent(f"http://{line.address}", "ASYNC")
        hang_id = await api.agent(hanging.url, "ASYNC")
        runs = {}
        for name, agent_id in (("cut", cut_id), ("hung", hang_id)):
            for on_unknown in ("RETRY", "HOLD"):
                schedule = await api.create(agent_id, YEARLY, onUnknown=on_unknown)
                if name == "cut":
                    scripted_agent.script(result({"status": "processing"}).but(gate=late), method="event/send")
                runs[name, on_unknown] = await api.trigger(schedule["id"])
        await scripted_agent.received(2, "event/send")
        await hanging.received(2, "event/send")
        assert line.half_open() == 2
        figures.injected("half-open connections to an agent", 2)
        figures.injected("agent: hung", 2)
        # when the agents answer after our patience has ended
        outcomes = "SELECT 1 FROM attempts WHERE outcome = 'UNKNOWN' OFFSET 3"
        await installation.until(outcomes)
        late.set()
        verdict = await Oracle(installation, scripted_agent, hanging).verdict(api)
    # then where it may be sent again, it was, and worked once; where not, it was sent once, and nobody knows
    found = {run["id"]: run["status"] for run in verdict.runs}
    assert {key: found[run_id] for key, run_id in runs.items()} == {
        ("cut", "RETRY"): "DELIVERED",
        ("cut", "HOLD"): "UNKNOWN",
        ("hung", "RETRY"): "DELIVERED",
        ("hung", "HOLD"): "UNKNOWN",
    }
    for agent, name in ((scripted_agent, "cut"), (hanging, "hung")):
        keys = [received.key for received in agent.of("event/send")]
        assert keys.count(str(runs[name, "HOLD"])) == 1
        assert keys.count(str(runs[name, "RETRY"])) == 2
