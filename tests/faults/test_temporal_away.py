"""Temporal is killed, frozen, or comes back with nothing: rows are served and changed, and no due time is lost."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.agents.scripted import ScriptedAgent, status
from tests.faults.figures import Figures
from tests.faults.installation import OFTEN, YEARLY, Api, Installation
from tests.faults.oracle import Oracle
from tests.faults.servers import OwnTemporal

pytestmark = pytest.mark.matrix

PAGE = "{ schedules(first: 20) { nodes { name live { status nextFireAt } lastRun { status } } } }"
READS = 10
SHORT, LONG = timedelta(seconds=5), timedelta(seconds=25)
"""Outages; the long one is longer than the shortest catch-up window that a schedule may have, which is 10 s."""


@pytest.fixture
async def installation(
    database_url: str, breakable_temporal: OwnTemporal, tmp_path: Path, figures: Figures
) -> AsyncIterator[Installation]:
    installed = Installation(database_url, breakable_temporal.address, tmp_path, figures)
    yield installed
    await installed.close()


async def read(api: Api, figure: str) -> set[str]:
    """What pages say of their live values, from the first one on that cannot have them; their rows are all there."""
    seen: list[str] = []
    while len(seen) < READS:
        begun = time.monotonic()
        nodes = (await api.ask(PAGE))["schedules"]["nodes"]
        seconds = time.monotonic() - begun
        assert nodes
        status = nodes[0]["live"]["status"]
        if status == "AVAILABLE":
            assert not seen  # what was listed within the last two seconds may serve once more
            continue
        assert {node["live"]["nextFireAt"] for node in nodes} == {None}
        api.program.figures.took(figure, seconds)
        seen.append(status)
    return set(seen)


@pytest.mark.fault("F6")
@pytest.mark.parametrize("outage", [SHORT, LONG], ids=["short", "longer than the catch-up"])
async def test_temporal_is_killed_and_comes_back_on_its_data(
    installation: Installation,
    oracle: Oracle,
    scripted_agent: ScriptedAgent,
    breakable_temporal: OwnTemporal,
    outage: timedelta,
) -> None:
    async with installation.running() as (api, _):
        agent_id = await api.agent(scripted_agent.url)
        patient = await api.create(agent_id, OFTEN)
        hasty = await api.create(agent_id, OFTEN, catchUpWindowSeconds=10)
        for schedule in (patient, hasty):
            await installation.ran(schedule["id"], 2)
        # when Temporal dies
        await asyncio.to_thread(breakable_temporal.kill)
        gone = datetime.now(UTC)
        installation.figures.injected("Temporal: killed")
        # then rows are read and written
        assert await read(api, "Reads with Temporal down") <= {"UNAVAILABLE", "TIMED_OUT"}
        late = await api.create(agent_id, OFTEN)
        assert late["clock"]["status"] == "PENDING"
        # when it is back after a while
        await asyncio.sleep(max(0, (gone + outage - datetime.now(UTC)).total_seconds()))
        breakable_temporal.start()
        back = datetime.now(UTC)
        await installation.in_sync("Recovery after Temporal was killed")
        # then every time that was due meanwhile has its run, too
        verdict = await oracle.verdict(api)
    for schedule in (patient, late):
        assert verdict.statuses(schedule["id"]).keys() == {"DELIVERED"}
    meanwhile = [run for run in verdict.of(hasty["id"]) if gone < run["fire_at"] < back - timedelta(seconds=12)]
    assert {run["status"] for run in meanwhile} <= {"MISSED", "SKIPPED"}
    assert {run["skip_reason"] for run in meanwhile} <= {None, "TOO_LATE"}
    assert meanwhile or outage is SHORT


@pytest.mark.fault("F8")
async def test_temporal_freezes_during_reads_and_changes(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent, breakable_temporal: OwnTemporal
) -> None:
    async with installation.running() as (api, _):
        agent_id = await api.agent(scripted_agent.url)
        schedule = await api.create(agent_id, OFTEN)
        await installation.ran(schedule["id"], 2)
        # when Temporal holds its connections and says nothing
        breakable_temporal.freeze()
        installation.figures.injected("Temporal: frozen")
        # then rows are read, and changes are kept
        said = await read(api, "Reads with Temporal hung")
        assert "TIMED_OUT" in said
        assert said <= {"TIMED_OUT", "UNAVAILABLE"}, "a connection that is given up cannot be made again"
        changed = await api.update(schedule["id"], 1, cadence={"interval": {"everySeconds": 4}})
        assert (changed["version"], changed["clock"]["status"]) == (2, "PENDING")
        created = await api.create(agent_id, OFTEN)
        paused = await api.act("pause", created["id"])
        assert paused["version"] == 2
        # when it goes on
        breakable_temporal.thaw()
        await installation.in_sync("Recovery after Temporal was frozen")
        verdict = await oracle.verdict(api)
    # then all of it holds
    assert verdict.statuses(schedule["id"]).keys() == {"DELIVERED"}
    query = "SELECT version FROM schedule_revisions WHERE schedule_id = $1 ORDER BY version"
    revisions = await installation.rows(query, schedule["id"])
    assert [row["version"] for row in revisions] == [1, 2, 3]


@pytest.mark.fault("F9")
async def test_temporal_comes_back_empty(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent, breakable_temporal: OwnTemporal
) -> None:
    # given clocks, and a run that waits for its next attempt
    scripted_agent.script(status(503, "10"))
    async with installation.running() as (api, _):
        agent_id = await api.agent(scripted_agent.url)
        waiting = await api.create(agent_id, YEARLY)
        run_id = await api.trigger(waiting["id"])
        await installation.until("SELECT 1 FROM runs WHERE id = $1 AND status = 'RETRYING'", run_id)
        firing = await api.create(agent_id, OFTEN)
        await installation.ran(firing["id"], 2)
        for _ in range(8):
            await api.create(agent_id, YEARLY)
        # when Temporal comes back with nothing
        await asyncio.to_thread(breakable_temporal.kill)
        breakable_temporal.start(empty=True)
        back = time.monotonic()
        installation.figures.injected("Temporal: came back empty")
        # then every clock is made anew, and that is on record
        query = "SELECT 1 FROM schedule_revisions WHERE kind = 'REPAIRED' HAVING count(*) = 10"
        await installation.until(query)
        await installation.in_sync("Heal: Temporal came back empty", since=back)
        # and every due time has its run, and the run that had lost its workflow its end
        verdict = await oracle.verdict(api)
    assert verdict.statuses(firing["id"]).keys() == {"DELIVERED"}
    assert _statuses(verdict.runs, run_id) == ["DELIVERED"]


def _statuses(runs: list[dict[str, Any]], run_id: UUID) -> list[str]:
    return [run["status"] for run in runs if run["id"] == run_id]
