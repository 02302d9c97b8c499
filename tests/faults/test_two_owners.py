"""Two workers believe that they own one fire: a frozen one wakes up after another has taken its place."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from nextfire.embedded import Temporal
from services.acp import AcpClient, http_client
from services.claims import Claims, Fire, Next
from services.deliveries import Again, Delivered, Deliveries, Ended
from services.failpoints import Failpoint
from services.principals import OPEN_ACTOR
from services.run import AttemptOutcome, RunStatus
from services.schedule import OnUnknown
from services.settlements import Settlements
from tests.agents.scripted import ScriptedAgent, full, status, stream
from tests.faults.figures import Figures
from tests.faults.installation import OFTEN, YEARLY, Installation
from tests.faults.oracle import Oracle
from tests.stack import stack


@pytest.mark.fault("F12")
async def test_of_twenty_claims_of_one_fire_one_wins(database_url: str, temporal: Temporal, figures: Figures) -> None:
    async with stack(database_url, temporal.address, worker=False) as idle:
        agent = await idle.agent("http://127.0.0.1:9/agent")
        schedule = await idle.schedule(agent)
        nominal = datetime.now(UTC).replace(microsecond=0)
        # when twenty workflows claim the same due time
        claims = Claims(idle.base.database, idle.base.notifier)
        fires = [Fire(schedule.id, nominal, f"workflow-{number}", str(uuid4())) for number in range(20)]
        answers = await asyncio.gather(*(claims.claim_scheduled(fire) for fire in fires))
        # then one goes on, and asking again changes nothing
        winners = [fire for fire, claim in zip(fires, answers, strict=True) if claim.next is Next.DELIVER]
        assert len(winners) == 1
        assert (await claims.claim_scheduled(winners[0])).next is Next.DELIVER
        (run,) = [run for run in await idle.runs(schedule.id) if run.fire_at == nominal]
        assert run.temporal_workflow_id == winners[0].workflow_id
        figures.injected("claims of a fire that was taken", 19)


@pytest.mark.fault("F12")
@pytest.mark.parametrize("on_unknown", [*OnUnknown])
async def test_an_answer_counts_though_another_took_the_attempt_for_lost(
    database_url: str, temporal: Temporal, scripted_agent: ScriptedAgent, figures: Figures, on_unknown: OnUnknown
) -> None:
    # given a delivery that waits for the agent
    answer = asyncio.Event()
    scripted_agent.script(stream(full("At last.")).but(gate=answer))
    async with stack(database_url, temporal.address, worker=False) as idle, http_client(idle.base.dialer) as http:
        agent = await idle.agent(scripted_agent.url)
        schedule = await idle.schedule(agent, on_unknown=on_unknown)
        run = await idle.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
        base = idle.base
        deliveries = Deliveries(base.database, base.notifier, AcpClient(http), base.secrets, base.authority.creators)
        first = asyncio.create_task(deliveries.attempt(run.id))
        await scripted_agent.received(1)
        # when another worker believes that it is lost
        step = await deliveries.attempt(run.id)
        figures.injected("a second worker at a delivery")
        # then that one sends it again only if it may
        if on_unknown is OnUnknown.HOLD:
            assert isinstance(step, Ended)
            assert len(scripted_agent.requests) == 1
        else:
            assert step == Delivered()
        # and the answer to the first request counts
        answer.set()
        assert await first == Delivered()
        attempts = (await idle.services.runs.attempts_of(OPEN_ACTOR, [run.id]))[run.id]
        assert {attempt.outcome for attempt in attempts} == {AttemptOutcome.DELIVERED}
        settlements = Settlements(base.database, base.notifier)
        await settlements.settle(run.id, Delivered(), workflow_id=run.temporal_workflow_id)
        assert (await idle.ended(run.id)).status is RunStatus.DELIVERED


@pytest.mark.fault("F12")
async def test_a_failure_does_not_count_where_another_has_the_run_now(
    database_url: str, temporal: Temporal, scripted_agent: ScriptedAgent
) -> None:
    # given two workers at a delivery, of which the first is told that it failed
    answers = [asyncio.Event(), asyncio.Event()]
    scripted_agent.script(status(500).but(gate=answers[0]), stream(full("Yes.")).but(gate=answers[1]))
    async with stack(database_url, temporal.address, worker=False) as idle, http_client(idle.base.dialer) as http:
        agent = await idle.agent(scripted_agent.url)
        run = await idle.services.manual_runs.trigger(
            OPEN_ACTOR, (await idle.schedule(agent)).id, idempotency_key=None, note=None
        )
        base = idle.base
        deliveries = Deliveries(base.database, base.notifier, AcpClient(http), base.secrets, base.authority.creators)
        first = asyncio.create_task(deliveries.attempt(run.id))
        await scripted_agent.received(1)
        second = asyncio.create_task(deliveries.attempt(run.id))
        await scripted_agent.received(2)
        answers[0].set()
        # then it is to look again, rather than to end what the other is at
        assert isinstance(await first, Again)
        answers[1].set()
        assert await second == Delivered()


@pytest.mark.fault("F12")
@pytest.mark.matrix
@pytest.mark.parametrize("on_unknown", [*OnUnknown])
async def test_a_worker_that_wakes_up_beside_its_successor_breaks_nothing(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent, on_unknown: OnUnknown
) -> None:
    # given a worker that freezes between its attempt and its request
    async with installation.running(worker_failpoints="after_attempt_row=freeze") as (api, frozen):
        agent_id = await api.agent(scripted_agent.url)
        schedule = await api.create(agent_id, YEARLY, onUnknown=on_unknown)
        run_id = await api.trigger(schedule["id"])
        await frozen.frozen(Failpoint.AFTER_ATTEMPT_ROW)
        # when another has taken the run over, and brought it to its end
        async with installation.worker():
            await installation.until("SELECT 1 FROM runs WHERE finished_at IS NOT NULL")
            # and the first one wakes up, and works on
            frozen.thaw()
            firing = await api.create(agent_id, OFTEN)
            await installation.ran(firing["id"], 3)
            verdict = await oracle.verdict(api)
    # then the run has the end that it had, and what may not be sent twice was not
    (run,) = [run for run in verdict.runs if run["id"] == run_id]
    held = on_unknown is OnUnknown.HOLD
    assert run["status"] == ("UNKNOWN" if held else "DELIVERED")
    copies = [received for received in scripted_agent.of("message/send") if received.key == str(run_id)]
    assert len(copies) <= (1 if held else 2)
