"""Agents that fail, put off, refuse connections, or do the work and drop the line: each run still ends as it should."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from tests.agents.scripted import ScriptedAgent, drop, full, status, stream
from tests.faults.installation import YEARLY, Api, Installation
from tests.faults.oracle import Oracle

pytestmark = pytest.mark.matrix

REFUSED_SECONDS = 20
"""For how long an agent refuses connections here: its backoff is then at 8 to 16 s, and only grows to 60 s after."""


async def triggered(api: Api, agent: ScriptedAgent, **values: object) -> UUID:
    """A run at the agent."""
    schedule = await api.create(await api.agent(agent.url), YEARLY, **values)
    return await api.trigger(schedule["id"])


@pytest.mark.fault("F18")
@pytest.mark.fault("F20")
async def test_every_agent_that_comes_round_gets_its_input_once(installation: Installation) -> None:
    figures = installation.figures
    async with (
        ScriptedAgent() as failing,
        ScriptedAgent() as busy,
        ScriptedAgent() as away,
        ScriptedAgent() as cutting,
        ScriptedAgent(dedupe=False) as held,
        installation.running() as (api, _),
    ):
        # given agents that fail, that put us off, that are away, and that work and drop the line
        failing.script(status(500), status(502), status(503))
        busy.script(status(429, "3"))
        await away.refuse()
        cutting.script(drop(effect=True), drop(effect=True, reset=True), stream(full("a part"), ended=False))
        held.script(drop(effect=True))
        runs = {
            "failing": await triggered(api, failing),
            "busy": await triggered(api, busy),
            "away": await triggered(api, away),
            "cutting": await triggered(api, cutting),
            "held": await triggered(api, held, onUnknown="HOLD"),
        }
        # when the one that is away comes back
        await installation.until("SELECT 1 FROM runs WHERE id = $1 AND status = 'RETRYING'", runs["away"])
        await asyncio.sleep(REFUSED_SECONDS)
        await away.listen()
        verdict = await Oracle(installation, failing, busy, away, cutting, held).verdict(api)
        figures.injected("agent: answers 5xx", 3)
        figures.injected("agent: answers 429", 1)
        figures.injected("agent: refuses connections", len(_attempts(verdict.attempts, runs["away"])) - 1)
        figures.injected("agent: drops the connection after the work", 4)
    # then all is delivered, and what may not be sent twice was not
    found = {run["id"]: run["status"] for run in verdict.runs}
    assert {name: found[run_id] for name, run_id in runs.items()} == {
        "failing": "DELIVERED",
        "busy": "DELIVERED",
        "away": "DELIVERED",
        "cutting": "DELIVERED",
        "held": "UNKNOWN",
    }
    requests = [len(agent.of("message/send")) for agent in (failing, busy, away, cutting, held)]
    assert requests == [4, 2, 1, 4, 1]
    first, second = _attempts(verdict.attempts, runs["busy"])
    assert (second["at"] - first["at"]).total_seconds() >= 3
    assert {row["outcome"] for row in _attempts(verdict.attempts, runs["away"])[:-1]} == {"RETRY"}


def _attempts(attempts: list[dict[str, Any]], run_id: UUID) -> list[dict[str, Any]]:
    return [row for row in attempts if row["run_id"] == run_id]
