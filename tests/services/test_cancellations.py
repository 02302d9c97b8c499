"""CANCEL_PREVIOUS towards the agent: task/cancel for what earlier runs gave it to do."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from nextfire.embedded import Temporal
from nextfire.worker import working
from services.agent import AgentProtocol
from services.cadence import Interval
from services.principals import OPEN_ACTOR
from services.run import AttemptOutcome, Run, RunStatus, TaskCancellation
from services.schedule import OverlapPolicy, Schedule
from tests.agents.scripted import Received, ScriptedAgent, drop, error, full, hang, result, status, stream
from tests.services.past_fires import HOURLY, fire
from tests.stack import Stack, stack
from tests.waiting import eventually


@pytest.fixture
async def running(database_url: str, temporal: Temporal) -> AsyncIterator[Stack]:
    async with stack(database_url, temporal.address) as built:
        yield built


async def cancelling(
    running: Stack, scripted: ScriptedAgent, protocol: AgentProtocol = AgentProtocol.ASYNC
) -> Schedule:
    """A schedule whose later runs replace the earlier ones."""
    return await running.schedule(
        await running.agent(scripted.url, protocol),
        overlap_policy=OverlapPolicy.CANCEL_PREVIOUS,
        **HOURLY,
    )


async def cancellation(running: Stack, run: Run) -> TaskCancellation | None:
    assert run.task_id is not None
    return (await running.services.runs.cancellations_of(OPEN_ACTOR, [run.task_id])).get(run.task_id)


def cancelled_tasks(received: list[Received]) -> list[str]:
    return [each.params["task"]["id"] for each in received]


@pytest.mark.parametrize("protocol", [AgentProtocol.ASYNC, AgentProtocol.AGENTIC])
async def test_what_the_agent_has_accepted_is_stopped_before_the_next_is_sent(
    running: Stack, scripted_agent: ScriptedAgent, protocol: AgentProtocol
) -> None:
    # given a run that is delivered, on which the agent goes on working
    schedule = await cancelling(running, scripted_agent, protocol)
    first = await running.ended((await fire(running, schedule, 3)).id)
    assert first.status is RunStatus.DELIVERED
    # when later ones are due
    second = await running.ended((await fire(running, schedule, 2)).id)
    third = await running.ended((await fire(running, schedule, 1)).id)
    # then each stops the one before it, once, under a key of its own, and before it sends anything
    assert [(each.method, each.params["task"]["id"]) for each in scripted_agent.requests] == [
        ("task/create", str(first.task_id)),
        ("event/send", str(first.task_id)),
        ("task/cancel", str(first.task_id)),
        ("task/create", str(second.task_id)),
        ("event/send", str(second.task_id)),
        ("task/cancel", str(second.task_id)),
        ("task/create", str(third.task_id)),
        ("event/send", str(third.task_id)),
    ]
    created, _, cancel, *_ = scripted_agent.requests
    assert cancel.key == f"{first.task_id}:cancel"
    assert cancel.params["task"] == created.params["task"]
    assert cancel.params["agent"]["acp_type"] == protocol.lower()
    # and it is on record with the task, while the runs stay what they were
    assert {run.status for run in await running.runs(schedule.id)} == {RunStatus.DELIVERED}
    stopped = await cancellation(running, first)
    assert stopped is not None
    assert (stopped.run_id, stopped.attempt_count, stopped.error) == (second.id, 1, None)
    assert stopped.outcome is AttemptOutcome.DELIVERED
    assert stopped.ended_at is not None
    assert await cancellation(running, third) is None


async def test_a_run_that_is_cancelled_in_the_middle_of_its_delivery_is_stopped_at_the_agent(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    # given an agent that took the task and does not answer to the event
    scripted_agent.script(hang(), method="event/send")
    schedule = await cancelling(running, scripted_agent)
    first = await fire(running, schedule, 2)
    await scripted_agent.received(1, "event/send")
    # when the next fire cancels the run
    second = await running.ended((await fire(running, schedule, 1)).id)
    # then the agent is told, after the run has ended and before the new one begins
    first = await running.ended(first.id)
    assert (first.status, second.status) == (RunStatus.CANCELLED, RunStatus.DELIVERED)
    assert [each.method for each in scripted_agent.requests] == [
        "task/create",
        "event/send",
        "task/cancel",
        "task/create",
        "event/send",
    ]
    assert cancelled_tasks(scripted_agent.of("task/cancel")) == [str(first.task_id)]
    # and no attempt is left open
    (attempt,) = (await running.services.runs.attempts_of(OPEN_ACTOR, [first.id]))[first.id]
    assert attempt.outcome is AttemptOutcome.UNKNOWN


async def test_only_what_the_agent_may_have_got_is_stopped(running: Stack, scripted_agent: ScriptedAgent) -> None:
    # given a run whose task the agent took, and one that waits, since the agent puts off everything else
    scripted_agent.script(result(None), method="task/create").always(status(503, "3600"), "event/send")
    schedule = await cancelling(running, scripted_agent)
    created = await fire(running, schedule, 4)
    await running.first_run(schedule.id, RunStatus.RETRYING)
    scripted_agent.always(status(503, "3600"), "task/create")
    refused = await fire(running, schedule, 3)
    await scripted_agent.received(2, "task/create")
    # when the next replaces both
    scripted_agent.always(result(None), "task/create").always(result({"status": "processing"}), "event/send")
    third = await running.ended((await fire(running, schedule, 2)).id)
    # then only the task that the agent has is stopped
    assert third.status is RunStatus.DELIVERED
    for earlier in (created, refused):
        assert (await running.ended(earlier.id)).status is RunStatus.CANCELLED
    assert cancelled_tasks(scripted_agent.of("task/cancel")) == [str(created.task_id)]


async def test_an_agent_that_does_not_cancel_is_asked_a_few_times_and_the_new_run_goes_on(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    # given an agent that fails at it in every way
    scripted_agent.script(status(503, "3600"), drop(effect=False), hang(), method="task/cancel")
    scripted_agent.script(error(-32601, "Method not found"), method="task/cancel")
    schedule = await cancelling(running, scripted_agent)
    first = await running.ended((await fire(running, schedule, 3)).id)
    # when later runs want the earlier ones stopped
    second = await running.ended((await fire(running, schedule, 2)).id)
    third = await running.ended((await fire(running, schedule, 1)).id)
    # then they are delivered all the same
    assert {run.status for run in (first, second, third)} == {RunStatus.DELIVERED}
    # and what passes is tried again with the same bytes, while a refusal is taken for an answer
    *tried, refused = await scripted_agent.received(4, "task/cancel")
    assert cancelled_tasks([*tried, refused]) == [str(first.task_id)] * 3 + [str(second.task_id)]
    assert len({each.body for each in tried}) == 1
    assert {each.key for each in tried} == {f"{first.task_id}:cancel"}
    assert len({each.request_id for each in tried}) == 3
    given_up, refusal = await cancellation(running, first), await cancellation(running, second)
    assert given_up is not None
    assert refusal is not None
    assert (given_up.attempt_count, given_up.outcome) == (3, AttemptOutcome.UNKNOWN)
    assert given_up.error is not None
    assert given_up.error.code == "TIMEOUT"
    assert (refusal.attempt_count, refusal.outcome) == (1, AttemptOutcome.REFUSED)
    assert None not in (given_up.ended_at, refusal.ended_at)


async def test_a_sync_agent_is_never_asked(running: Stack, scripted_agent: ScriptedAgent) -> None:
    scripted_agent.script(stream(full("Yes.")), hang())
    schedule = await cancelling(running, scripted_agent, AgentProtocol.SYNC)
    await running.ended((await fire(running, schedule, 3)).id)
    await fire(running, schedule, 2)
    await scripted_agent.received(2)
    assert (await running.ended((await fire(running, schedule, 1)).id)).status is RunStatus.DELIVERED
    assert {each.method for each in scripted_agent.requests} == {"message/send"}


async def test_what_a_person_asks_for_stops_nothing_and_is_stopped_by_the_next_fire(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    schedule = await cancelling(running, scripted_agent)
    await running.ended((await fire(running, schedule, 2)).id)
    asked = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    await running.ended(asked.id)
    assert scripted_agent.of("task/cancel") == []
    await running.ended((await fire(running, schedule, 1)).id)
    assert cancelled_tasks(scripted_agent.of("task/cancel")) == [str(asked.task_id)]


async def test_a_worker_that_is_stopped_leaves_the_cancellation_to_the_next_one(
    database_url: str, temporal: Temporal, scripted_agent: ScriptedAgent
) -> None:
    async with stack(database_url, temporal.address, worker=False) as api:
        # given a worker in the middle of a task/cancel that the agent does not answer
        scripted_agent.script(hang(), method="task/cancel")
        schedule = await cancelling(api, scripted_agent)
        async with working(api.base, api.base.temporal, grace=timedelta(milliseconds=100)):
            first = await api.ended((await fire(api, schedule, 2)).id)
            second = await fire(api, schedule, 1)
            await scripted_agent.received(1, "task/cancel")
        # when it has been stopped
        left = await cancellation(api, first)
        # then its request is closed, and another worker goes on under the same key
        assert left is not None
        assert (left.attempt_count, left.outcome, left.ended_at) == (1, AttemptOutcome.UNKNOWN, None)
        assert left.error is not None
        assert left.error.code == "INTERRUPTED"
        async with working(api.base, api.base.temporal):
            assert (await api.ended(second.id)).status is RunStatus.DELIVERED
        ended = await cancellation(api, first)
        assert ended is not None
        assert (ended.attempt_count, ended.outcome) == (2, AttemptOutcome.DELIVERED)
        assert len({(each.key, each.body) for each in scripted_agent.of("task/cancel")}) == 1


async def test_the_clocks_own_fires_stop_the_earlier_ones(running: Stack, scripted_agent: ScriptedAgent) -> None:
    agent = await running.agent(scripted_agent.url, AgentProtocol.ASYNC)
    cadence = Interval(timedelta(seconds=3), timedelta(0))
    await running.schedule(agent, cadence, overlap_policy=OverlapPolicy.CANCEL_PREVIOUS)

    async def stopped() -> str | None:
        asked = cancelled_tasks(scripted_agent.of("task/cancel"))
        return asked[0] if asked else None

    task_id = await eventually(stopped)
    assert task_id == scripted_agent.of("event/send")[0].params["task"]["id"]
