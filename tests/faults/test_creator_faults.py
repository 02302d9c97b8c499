"""Nobody to send for: the creator is revoked, the provider is away, the agent is deleted. Nothing goes out."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from nextfire.embedded import Temporal
from resolvers.ids import Kind, encode
from services.provider_authentication import actor_of
from tests.agents.scripted import ScriptedAgent, hang, status
from tests.faults.figures import Figures
from tests.faults.installation import OFTEN, Installation
from tests.faults.oracle import Oracle
from tests.provider.scripted import CHECK, ScriptedProvider, everything, principal

pytestmark = [pytest.mark.fault("F22"), pytest.mark.matrix]

ADA = principal("ada")


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider(tokens={"ada's": ADA}) as server:
        yield server


@pytest.fixture
async def installation(
    database_url: str, shared_temporal: Temporal, tmp_path: Path, figures: Figures, provider: ScriptedProvider
) -> AsyncIterator[Installation]:
    """An installation in which the provider decides, asked by ada."""
    installed = Installation(
        database_url,
        shared_temporal.address,
        tmp_path,
        figures,
        settings={"NEXTFIRE_AUTH": "provider", "NEXTFIRE_PROVIDER_URL": provider.url},
        headers={"authorization": "Bearer ada's"},
    )
    yield installed
    await installed.clean()


@pytest.fixture
def oracle(installation: Installation, scripted_agent: ScriptedAgent) -> Oracle:
    return Oracle(installation, scripted_agent, actor=actor_of(ADA))


async def test_each_fire_without_a_creator_or_an_agent_is_one_skipped_run(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent, provider: ScriptedProvider
) -> None:
    async with installation.running() as (api, _):
        schedule = await api.create(await api.agent(scripted_agent.url), OFTEN)
        orphaned = await api.create(leaving := await api.agent(scripted_agent.url), OFTEN)
        for each in (schedule, orphaned):
            await installation.ran(each["id"], 2)
        # when the creator of one may no longer run its agent
        provider.decide = lambda _who, kind, _name, operation: (kind, operation) != ("agent", "execute")
        await _skipped(installation, schedule["id"], "PERMISSION_DENIED", 3)
        installation.figures.injected("creator: revoked")
        # and may again
        provider.decide = everything
        await installation.ran(schedule["id"], len(await _delivered(installation, schedule["id"])) + 2)
        # and when the agent of the other is deleted
        answer = await api.change(
            "deleteAgent",
            "DeleteAgentInput",
            {"id": encode(Kind.AGENT, leaving)},
            "... on AgentDeleted { agent { id } }",
        )
        assert answer["__typename"] == "AgentDeleted", answer
        installation.figures.injected("agent: deleted")
        await _skipped(installation, orphaned["id"], "AGENT_DELETED", 3)
        verdict = await oracle.verdict(api)
    # then each due time has its one run, and the agent heard of those that were delivered, and of no other
    for schedule_id, reason in ((schedule["id"], "PERMISSION_DENIED"), (orphaned["id"], "AGENT_DELETED")):
        assert verdict.statuses(schedule_id).keys() == {"DELIVERED", "SKIPPED"}
        skipped = [run for run in verdict.of(schedule_id) if run["skip_reason"] == reason]
        assert {(run["attempt_count"], run["delivered_at"]) for run in skipped} == {(0, None)}
    sent = {received.key for received in scripted_agent.of("message/send")}
    assert sent == {str(run["id"]) for run in verdict.runs if run["status"] == "DELIVERED"}


@pytest.mark.parametrize("outage", ["down", "failing", "hung"])
async def test_while_the_provider_is_away_nothing_is_sent_and_then_everything_is(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent, provider: ScriptedProvider, outage: str
) -> None:
    async with installation.running() as (api, _):
        schedule = await api.create(await api.agent(scripted_agent.url), OFTEN)
        await installation.ran(schedule["id"], 2)
        # when the provider refuses connections, fails, or takes a question and never answers
        if outage == "down":
            await provider.refuse()
        else:
            provider.broken[CHECK] = hang() if outage == "hung" else status(503)
        gone = await installation.row("SELECT now() AS at")
        assert gone is not None
        installation.figures.injected(f"provider: {outage}")
        waiting = """
            SELECT 1 FROM runs WHERE status = 'RETRYING' AND fire_at > $1
            AND error ->> 'code' = 'AUTHORIZATION_UNAVAILABLE' OFFSET 2
        """
        await installation.until(waiting, gone["at"])
        # then nothing was sent of what became due
        assert await installation.rows("SELECT 1 FROM runs WHERE fire_at > $1 AND attempt_count > 0", gone["at"]) == []
        # and when it is back, all of it is, once
        provider.broken.clear()
        if outage == "down":
            await provider.listen()
        back = time.monotonic()
        await installation.until("SELECT 1 WHERE NOT EXISTS (SELECT FROM runs WHERE status = 'RETRYING')")
        installation.figures.took("Recovery after the provider was away", time.monotonic() - back)
        verdict = await oracle.verdict(api)
    assert verdict.statuses(schedule["id"]).keys() == {"DELIVERED"}
    assert {run["attempt_count"] for run in verdict.runs if run["status"] == "DELIVERED"} == {1}


async def _skipped(installation: Installation, schedule_id: UUID, reason: str, count: int) -> None:
    query = "SELECT 1 FROM runs WHERE schedule_id = $1 AND status = 'SKIPPED' AND skip_reason = $2 OFFSET $3"
    await installation.until(query, schedule_id, reason, count - 1)


async def _delivered(installation: Installation, schedule_id: UUID) -> list[Any]:
    query = "SELECT 1 FROM runs WHERE schedule_id = $1 AND status = 'DELIVERED'"
    return await installation.rows(query, schedule_id)
