"""A fire from the clock to the agent, over real Postgres, real Temporal and a real HTTP agent."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select, update
from temporalio.client import Client, ScheduleBackfill
from temporalio.service import RPCError

from nextfire.embedded import Temporal
from nextfire.wiring import foundation
from nextfire.worker import working
from services.activities import NOT_DUE_YET
from services.agent import AgentProtocol, AgentStatus
from services.cadence import Interval
from services.calendar import EPOCH
from services.claims import NO_ACCOUNT
from services.clock_spec import DesiredClock
from services.errors import IdempotencyKeyReused
from services.keyset import Window
from services.manual_runs import AgentRunRequest
from services.principals import OPEN_ACTOR
from services.run import AttemptOutcome, Resolution, RunStatus, RunTrigger, SkipReason, scheduled_key
from services.run import run_id as id_of_run
from services.schedule import ClockStatus, InitialInput, OnUnknown, OverlapPolicy, clock_id
from services.tables import agents, new_id, runs
from tests.agents.scripted import ScriptedAgent, drop, error, full, hang, result, status, stream
from tests.stack import EVERY_SECOND, Stack, definition, settings, stack
from tests.waiting import eventually


@pytest.fixture
async def running(database_url: str, temporal: Temporal) -> AsyncIterator[Stack]:
    async with stack(database_url, temporal.address) as built:
        yield built


async def test_a_due_time_of_a_sync_agent_becomes_one_delivered_run(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    # given a schedule that is due every second
    scripted_agent.always(stream(full("It is done.")))
    agent = await running.agent(scripted_agent.url)
    schedule = await running.schedule(agent, EVERY_SECOND, task_params={"model": "m"}, task_metadata={"team": "a"})
    assert schedule.clock.status is ClockStatus.IN_SYNC
    # when it fires
    run = await running.first_run(schedule.id, RunStatus.DELIVERED)
    # then the run is the one of its nominal time, and everything about it is on record
    assert run.id == id_of_run(schedule.id, scheduled_key(run.fire_at))
    assert (run.trigger, run.attempt_count, run.schedule_version) == (RunTrigger.SCHEDULED, 1, 1)
    (attempt,) = (await running.services.runs.attempts_of(OPEN_ACTOR, [run.id]))[run.id]
    assert attempt.outcome is AttemptOutcome.DELIVERED
    assert run.task_id is not None
    task = (await running.services.runs.tasks(OPEN_ACTOR, [run.task_id]))[run.task_id]
    assert task.name == f"scheduled-run:{schedule.id}:{scheduled_key(run.fire_at)}"
    assert task.metadata == {
        "team": "a",
        "display_name": schedule.definition.name,
        "schedule_id": str(schedule.id),
        "scheduled_fire_id": scheduled_key(run.fire_at),
        "trigger_type": "scheduled",
        "fire_time": scheduled_key(run.fire_at),
    }
    said = (await running.services.runs.messages(OPEN_ACTOR, task.id, Window(10))).items
    assert [(message.author, message.content) for message in said] == [
        ("USER", "Write the report."),
        ("AGENT", "It is done."),
    ]
    # and the agent got one request, under the run's key
    received = next(each for each in scripted_agent.of("message/send") if each.key == str(run.id))
    assert received.params["task"]["params"] == {"model": "m"}


async def test_an_async_agent_gets_the_task_and_then_the_event(running: Stack, scripted_agent: ScriptedAgent) -> None:
    scripted_agent.always(result({"status": "processing"}))
    agent = await running.agent(scripted_agent.url, AgentProtocol.ASYNC, api_key="planted-key")
    schedule = await running.schedule(agent)
    run = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    run = await running.ended(run.id)
    assert run.status is RunStatus.DELIVERED
    create, event = await scripted_agent.received(2)
    assert [create.method, event.method] == ["task/create", "event/send"]
    assert event.key == str(run.id)
    assert create.key == str(run.task_id)


@pytest.mark.fault("F18")
async def test_retries_carry_the_same_key_and_the_same_bytes(running: Stack, scripted_agent: ScriptedAgent) -> None:
    # given an agent that fails twice
    scripted_agent.script(status(500), status(429, "1"), stream(full("Yes.")))
    agent = await running.agent(scripted_agent.url)
    schedule = await running.schedule(agent)
    # when a run is triggered
    run = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key="k", note="why")
    run = await running.ended(run.id)
    # then the third attempt delivers it
    assert (run.status, run.attempt_count, run.note) == (RunStatus.DELIVERED, 3, "why")
    attempts = (await running.services.runs.attempts_of(OPEN_ACTOR, [run.id]))[run.id]
    assert [attempt.outcome for attempt in attempts] == [
        AttemptOutcome.RETRY,
        AttemptOutcome.RETRY,
        AttemptOutcome.DELIVERED,
    ]
    copies = await scripted_agent.received(3)
    assert len({copy.key for copy in copies}) == 1
    assert len({copy.body for copy in copies}) == 1
    assert len({copy.request_id for copy in copies}) == 3


@pytest.mark.fault("F20")
async def test_hold_never_sends_twice_and_says_unknown(running: Stack, scripted_agent: ScriptedAgent) -> None:
    scripted_agent.script(drop(effect=True))
    agent = await running.agent(scripted_agent.url)
    schedule = await running.schedule(agent, on_unknown=OnUnknown.HOLD)
    run = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    run = await running.ended(run.id)
    assert run.status is RunStatus.UNKNOWN
    assert run.error is not None
    assert len(scripted_agent.of("message/send")) == 1


async def test_what_may_have_arrived_is_not_said_to_have_failed(running: Stack, scripted_agent: ScriptedAgent) -> None:
    # given an agent that did the work, dropped the connection, and takes nothing more
    scripted_agent.script(drop(effect=True)).always(status(503))
    schedule = await running.schedule(await running.agent(scripted_agent.url), retry_horizon=timedelta(seconds=3))
    run = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    # then nobody can know what became of it when its horizon has passed
    assert (await running.ended(run.id)).status is RunStatus.UNKNOWN
    # and once someone says that it had not arrived, a retry that is not taken has failed
    interventions = running.services.interventions
    await interventions.resolve(OPEN_ACTOR, run.id, Resolution.NOT_DELIVERED, note=None)
    await interventions.retry(OPEN_ACTOR, run.id, idempotency_key=None, note=None)
    assert (await running.ended(run.id)).status is RunStatus.FAILED
    attempts = (await running.services.runs.attempts_of(OPEN_ACTOR, [run.id]))[run.id]
    first, *later = [each.outcome for each in attempts]
    assert (first, {*later}) == (AttemptOutcome.UNKNOWN, {AttemptOutcome.RETRY})


async def test_a_refusal_ends_the_run_and_enough_of_them_pause_the_schedule(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    scripted_agent.always(error(-32000, "No such model."))
    agent = await running.agent(scripted_agent.url)
    schedule = await running.schedule(agent, pause_after_failures=2)
    for _ in range(2):
        run = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
        run = await running.ended(run.id)
        assert run.status is RunStatus.FAILED
        assert run.error is not None
        assert run.error.message == "No such model."
    found = await running.services.schedule_queries.get_many(OPEN_ACTOR, [schedule.id])
    assert found[schedule.id].definition.paused
    assert found[schedule.id].version == 2


@pytest.mark.fault("F22")
async def test_the_fires_of_a_deleted_agent_are_skipped(running: Stack, scripted_agent: ScriptedAgent) -> None:
    agent = await running.agent(scripted_agent.url)
    # Runs that the agent got before must not stand in the way of those after.
    schedule = await running.schedule(agent, EVERY_SECOND, overlap_policy=OverlapPolicy.ALLOW)
    deleted = await running.services.agents.delete(OPEN_ACTOR, agent.id, expected_version=None)
    assert deleted.status is AgentStatus.DELETED
    run = await running.first_run(schedule.id, RunStatus.SKIPPED)
    assert run.skip_reason is SkipReason.AGENT_DELETED


@pytest.mark.fault("F22")
async def test_a_run_that_may_have_reached_its_agent_is_unknown_when_the_agent_is_deleted(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    # given an agent that does the work and drops the connection
    scripted_agent.always(drop(effect=True))
    agent = await running.agent(scripted_agent.url)
    schedule = await running.schedule(agent, on_unknown=OnUnknown.RETRY)
    run = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    await scripted_agent.received(1)
    # when it is deleted before it is asked again
    await running.services.agents.delete(OPEN_ACTOR, agent.id, expected_version=None)
    # then the run is not said to be skipped
    run = await running.ended(run.id)
    assert (run.status, run.skip_reason) == (RunStatus.UNKNOWN, None)
    assert run.error is not None
    assert run.error.code == "AGENT_DELETED"


async def test_a_run_that_may_have_reached_its_agent_is_unknown_when_the_agents_key_can_no_longer_be_read(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    # given an agent that does the work and drops the connection
    scripted_agent.always(drop(effect=True))
    agent = await running.agent(scripted_agent.url, api_key="a-key-of-the-agent")
    schedule = await running.schedule(agent, on_unknown=OnUnknown.RETRY)
    run = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    await scripted_agent.received(1)
    # when its key is one that was sealed elsewhere, before it is asked again
    sealed = Fernet(Fernet.generate_key()).encrypt(b"a-key-of-the-agent")
    async with running.base.database.transaction() as connection:
        await connection.execute(update(agents).where(agents.c.id == agent.id).values(api_key=sealed))
    # then the run is not said to have failed
    run = await running.ended(run.id)
    assert run.status is RunStatus.UNKNOWN
    assert run.error is not None
    assert run.error.code == "API_KEY_UNREADABLE"


async def test_nothing_is_claimed_for_a_paused_schedule_but_what_someone_triggers(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    scripted_agent.always(stream(full("Yes.")))
    agent = await running.agent(scripted_agent.url)
    schedule = await running.schedule(agent, paused=True)
    run = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    assert (await running.ended(run.id)).status is RunStatus.DELIVERED
    assert [each.trigger for each in await running.runs(schedule.id)] == [RunTrigger.MANUAL]


async def test_one_idempotency_key_makes_one_run(running: Stack, scripted_agent: ScriptedAgent) -> None:
    scripted_agent.always(stream(full("Yes.")))
    agent = await running.agent(scripted_agent.url)
    schedule = await running.schedule(agent)
    trigger = running.services.manual_runs.trigger
    first = await trigger(OPEN_ACTOR, schedule.id, idempotency_key="once", note=None)
    second = await trigger(OPEN_ACTOR, schedule.id, idempotency_key="once", note=None)
    assert first.id == second.id
    assert len(await running.runs(schedule.id)) == 1


async def test_a_fire_that_overlaps_is_skipped(running: Stack, scripted_agent: ScriptedAgent) -> None:
    # given a run that keeps being retried
    scripted_agent.always(status(503))
    agent = await running.agent(scripted_agent.url)
    schedule = await running.schedule(agent, EVERY_SECOND, overlap_policy=OverlapPolicy.SKIP)
    # when the next fire is due
    run = await running.first_run(schedule.id, RunStatus.SKIPPED)
    # then it is on record with its reason
    assert run.skip_reason is SkipReason.OVERLAP
    unfinished = [each for each in await running.runs(schedule.id) if each.finished_at is None]
    assert len(unfinished) == 1


async def test_cancel_previous_ends_a_run_that_waits_for_its_next_attempt(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    # given a run that the agent keeps putting off
    scripted_agent.script(status(503, "3600")).always(stream(full("Yes.")))
    agent = await running.agent(scripted_agent.url)
    schedule = await running.schedule(
        agent, overlap_policy=OverlapPolicy.CANCEL_PREVIOUS, retry_horizon=timedelta(hours=2)
    )
    clock = running.base.temporal.get_schedule_handle(clock_id(schedule.id))
    await clock.trigger()
    earlier = await running.first_run(schedule.id, RunStatus.RETRYING)
    # when the next fire is due, in another second
    await eventually(lambda: _passed(earlier.fire_at + timedelta(seconds=1)))
    await clock.trigger()
    later = await running.first_run(schedule.id, RunStatus.DELIVERED)
    # then the first run has ended, and says how
    cancelled = await running.ended(earlier.id)
    assert cancelled.status is RunStatus.CANCELLED
    assert cancelled.fire_at < later.fire_at


async def test_queue_one_runs_the_waiting_fire_after_the_first_and_skips_the_rest(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    # given a run that holds the agent
    gate = asyncio.Event()
    scripted_agent.script(stream(full("At last.")).but(gate=gate)).always(stream(full("Yes.")))
    agent = await running.agent(scripted_agent.url)
    schedule = await running.schedule(agent, EVERY_SECOND, overlap_policy=OverlapPolicy.QUEUE_ONE)
    # when more fires are due than one
    skipped = await running.first_run(schedule.id, RunStatus.SKIPPED)
    queued = await running.first_run(schedule.id, RunStatus.QUEUED)
    # then one waits, the others are skipped, and the one that waits runs as soon as the first has ended
    assert skipped.skip_reason is SkipReason.OVERLAP
    assert queued.fire_at < skipped.fire_at
    gate.set()
    assert (await running.ended(queued.id)).status is RunStatus.DELIVERED


@pytest.mark.fault("F33")
async def test_a_worker_that_is_stopped_leaves_no_attempt_open_and_the_next_one_goes_on(
    database_url: str, temporal: Temporal, scripted_agent: ScriptedAgent
) -> None:
    # given a worker in the middle of a request that the agent does not answer
    scripted_agent.script(hang()).always(stream(full("Yes.")))
    async with stack(database_url, temporal.address, worker=False) as api:
        agent = await api.agent(scripted_agent.url)
        schedule = await api.schedule(agent)
        async with working(api.base, api.base.temporal, grace=timedelta(milliseconds=100)):
            run = await api.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
            await scripted_agent.received(1)
        # when it has been stopped
        (attempt,) = (await api.services.runs.attempts_of(OPEN_ACTOR, [run.id]))[run.id]
        # then the attempt says so, and another worker delivers under the same key
        assert attempt.outcome is AttemptOutcome.UNKNOWN
        assert attempt.error is not None
        assert attempt.error.code == "INTERRUPTED"
        async with working(api.base, api.base.temporal):
            assert (await api.ended(run.id)).status is RunStatus.DELIVERED
        assert len({each.key for each in await scripted_agent.received(2)}) == 1


async def test_a_database_has_a_task_queue_of_its_own(database_url: str, temporal: Temporal) -> None:
    client = await Client.connect(temporal.address)
    plain = settings(database_url).model_copy(update={"task_queue": None})
    async with foundation(plain, client) as first, foundation(plain, client) as second:
        assert first.task_queue == second.task_queue
        assert first.task_queue == f"nextfire-{await first.database.identity()}"


@pytest.mark.fault("F18")
async def test_an_unreachable_agent_shows_as_such_until_it_is_back(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    scripted_agent.always(stream(full("Yes.")))
    await scripted_agent.refuse()
    agent = await running.agent(scripted_agent.url)
    schedule = await running.schedule(agent, retry_horizon=timedelta(minutes=5))
    run = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    await running.first_run(schedule.id, RunStatus.RETRYING)
    seen = (await running.services.agents.get_many(OPEN_ACTOR, [agent.id]))[agent.id]
    assert seen.status is AgentStatus.UNREACHABLE
    await scripted_agent.listen()
    assert (await running.ended(run.id)).status is RunStatus.DELIVERED
    seen = (await running.services.agents.get_many(OPEN_ACTOR, [agent.id]))[agent.id]
    assert seen.status is AgentStatus.ACTIVE


async def test_a_clock_triggered_in_temporal_itself_makes_an_external_run(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    scripted_agent.always(stream(full("Yes.")))
    agent = await running.agent(scripted_agent.url)
    schedule = await running.schedule(agent)
    await running.base.temporal.get_schedule_handle(clock_id(schedule.id)).trigger()
    run = await running.first_run(schedule.id, RunStatus.DELIVERED)
    assert run.trigger is RunTrigger.EXTERNAL


async def test_a_due_time_that_a_backfill_in_temporal_brings_early_waits_until_it_is_due(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    # given a schedule that is due in a while
    scripted_agent.always(stream(full("Yes.")))
    day, due = timedelta(days=1), datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=20)
    cadence = Interval(day, (due - EPOCH) % day)
    schedule = await running.schedule(await running.agent(scripted_agent.url), cadence)
    # when someone runs its times to come in Temporal itself
    client = running.base.temporal
    times = ScheduleBackfill(due - timedelta(seconds=1), due + timedelta(seconds=1))
    await client.get_schedule_handle(clock_id(schedule.id)).backfill(times)
    workflow = client.get_workflow_handle(f"{clock_id(schedule.id)}-{due:%Y-%m-%dT%H:%M:%SZ}")

    async def waits() -> bool | None:
        try:
            answer = await workflow.describe()
        except RPCError:
            return None
        failures = [each.last_failure for each in answer.raw_description.pending_activities]
        return [each.application_failure_info.type for each in failures] == [NOT_DUE_YET] or None

    await eventually(waits)
    assert await running.runs(schedule.id) == []
    # then there is one run, as if nobody had
    run = await running.first_run(schedule.id, RunStatus.DELIVERED)
    assert (run.trigger, run.fire_at, run.claimed_at >= due) == (RunTrigger.SCHEDULED, due, True)
    assert len(await running.runs(schedule.id)) == 1


async def test_a_clock_without_a_row_is_recorded_and_sends_nothing(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    # given a clock that nobody's row stands behind
    stray = DesiredClock(new_id(), 1, definition(EVERY_SECOND))
    await running.base.clock.create(stray, "stray")
    # when it fires
    run = await eventually(partial(_any_run_of, running, stray.schedule_id))
    await running.base.clock.delete(stray.schedule_id)
    # then that is on record, in no account, and the agent has heard nothing
    assert (run.status, run.skip_reason) == ("SKIPPED", SkipReason.SCHEDULE_NOT_FOUND)
    assert run.account_id == NO_ACCOUNT
    assert scripted_agent.of("message/send") == []


async def test_a_run_of_an_agent_needs_no_schedule(running: Stack, scripted_agent: ScriptedAgent) -> None:
    scripted_agent.always(stream(full("Yes.")))
    agent = await running.agent(scripted_agent.url)
    request = AgentRunRequest(
        agent.id, InitialInput("Look at this."), {"model": "m"}, None, OnUnknown.RETRY, idempotency_key="k"
    )
    run = await running.services.manual_runs.run_agent(OPEN_ACTOR, request)
    assert (await running.ended(run.id)).status is RunStatus.DELIVERED
    assert (await running.services.manual_runs.run_agent(OPEN_ACTOR, request)).id == run.id
    with pytest.raises(IdempotencyKeyReused):
        await running.services.manual_runs.run_agent(OPEN_ACTOR, replace(request, input=InitialInput("No, this.")))
    (received,) = scripted_agent.of("message/send")
    assert received.params["content"]["content"] == "Look at this."
    assert run.schedule_id is None


@pytest.mark.fault("F1")
async def test_a_run_left_behind_is_started_by_the_worker(
    database_url: str, temporal: Temporal, scripted_agent: ScriptedAgent
) -> None:
    scripted_agent.always(stream(full("Yes.")))
    # given a run whose row is there and whose workflow was never started
    async with stack(database_url, temporal.address, worker=False) as api:
        agent = await api.agent(scripted_agent.url)
        schedule = await api.schedule(agent)
        run = await api.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
        workflow = api.base.temporal.get_workflow_handle(run.temporal_workflow_id)
        await workflow.terminate()
        async with api.base.database.transaction() as connection:
            await connection.execute(
                update(runs).values(temporal_run_id=None, temporal_workflow_id=f"{run.temporal_workflow_id}-lost")
            )
    # when a worker comes up
    async with stack(database_url, temporal.address) as running:
        # then it is delivered
        assert (await running.ended(run.id)).status is RunStatus.DELIVERED


async def _any_run_of(running: Stack, schedule_id: UUID) -> Any:
    query = select(runs).where(runs.c.schedule_id == schedule_id)
    async with running.base.database.read() as connection:
        return (await connection.execute(query)).first()


async def _passed(at: datetime) -> bool | None:
    return True if datetime.now(UTC) >= at else None
