"""Workers die at each step of a fire: whoever is left finishes it, under the same key, and nothing is done twice."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from services.failpoints import Failpoint
from tests.agents.scripted import ScriptedAgent
from tests.faults.installation import OFTEN, Installation
from tests.faults.oracle import Oracle

STEPS = (
    Failpoint.BEFORE_CLAIM,
    Failpoint.AFTER_CLAIM,
    Failpoint.BEFORE_ATTEMPT,
    Failpoint.AFTER_ATTEMPT_ROW,
    Failpoint.AFTER_AGENT_ACCEPTED,
    Failpoint.BEFORE_SETTLE,
    Failpoint.AFTER_SETTLE,
)


@pytest.mark.fault("F11")
async def test_a_worker_that_dies_over_an_answer_sends_it_again_and_it_works_once(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent
) -> None:
    # given a worker that dies with the agent's answer in its hands
    async with installation.running(worker_failpoints="after_agent_accepted=kill") as (api, doomed):
        agent_id = await api.agent(scripted_agent.url)
        schedule = await api.create(agent_id, OFTEN)
        await doomed.killed(Failpoint.AFTER_AGENT_ACCEPTED)
        died = datetime.now(UTC)
        # when there is another
        async with installation.worker():
            verdict = await oracle.verdict(api)
    # then everything that was due is delivered, and one request was sent twice
    assert verdict.statuses(schedule["id"]).keys() == {"DELIVERED"}
    copies = Counter(received.key for received in scripted_agent.of("message/send"))
    assert max(copies.values()) == 2
    (again,) = [run for run in verdict.runs if copies[str(run["id"])] == 2]
    installation.figures.took("Recovery after a worker's death", (again["finished_at"] - died).total_seconds())


@pytest.mark.fault("F11")
@pytest.mark.matrix
async def test_workers_that_die_at_every_step_leave_nothing_undone(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent
) -> None:
    deaths = []
    async with installation.running() as (api, _):
        agent_id = await api.agent(scripted_agent.url)
        schedule = await api.create(agent_id, OFTEN)
        # when one worker after another dies, each at another step
        for step in STEPS:
            async with installation.worker(f"{step}=kill") as doomed:
                await doomed.killed(step)
                deaths.append(datetime.now(UTC))
        # then all that was due is delivered, once
        verdict = await oracle.verdict(api)
    assert verdict.statuses(schedule["id"]).keys() == {"DELIVERED"}
    for died in deaths:
        last = max(run["finished_at"] for run in verdict.of(schedule["id"]) if run["fire_at"] <= died)
        seconds = max(0.0, (last - died).total_seconds())
        installation.figures.took("Recovery after a worker's death", seconds)


@pytest.mark.fault("F11")
@pytest.mark.matrix
async def test_with_hold_a_worker_that_dies_over_a_request_never_sends_it_again(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent
) -> None:
    steps = (Failpoint.AFTER_ATTEMPT_ROW, Failpoint.AFTER_AGENT_ACCEPTED)
    async with installation.running() as (api, _):
        agent_id = await api.agent(scripted_agent.url)
        schedule = await api.create(agent_id, OFTEN, onUnknown="HOLD")
        for step in steps:
            async with installation.worker(f"{step}=kill") as doomed:
                await doomed.killed(step)
        verdict = await oracle.verdict(api)
    # then each of the two runs says that nobody knows, and no request was sent twice
    assert verdict.statuses(schedule["id"])["UNKNOWN"] == len(steps)
    copies = Counter(received.key for received in scripted_agent.of("message/send"))
    assert max(copies.values()) == 1


@pytest.mark.fault("F33")
@pytest.mark.matrix
async def test_workers_that_are_stopped_at_every_step_end_in_peace(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent
) -> None:
    async with installation.running() as (api, _):
        agent_id = await api.agent(scripted_agent.url)
        schedule = await api.create(agent_id, OFTEN)
        # when one worker after another is told to stop, each at another step
        for step in STEPS:
            async with installation.worker(f"{step}=terminate") as stopping:
                await stopping.hit(step)
                # then it ends by itself, and says nothing of an error
                assert await stopping.ended() == 0
                assert [line for line in stopping.log() if line.get("level") in ("error", "critical")][1:] == []
        verdict = await oracle.verdict(api)
    # and nothing was sent twice, since what was under way came to its end
    assert verdict.statuses(schedule["id"]).keys() == {"DELIVERED"}
    assert {run["attempt_count"] for run in verdict.of(schedule["id"]) if run["status"] == "DELIVERED"} == {1}
