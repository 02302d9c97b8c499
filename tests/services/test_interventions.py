"""What people ask for beyond the clock: skips, backfills, retries and resolutions, from end to end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update
from temporalio.testing import ActivityEnvironment

from nextfire.embedded import Temporal
from nextfire.worker import run_activities
from services.acp import AcpClient, http_client
from services.activity_messages import SettleRequest
from services.agent import AgentProtocol
from services.backfills import Span
from services.cadence import Cron
from services.claims import Claims, Fire, Next
from services.errors import IdempotencyKeyReused, InvalidInput, NotFound
from services.interventions import MOST
from services.principals import OPEN_ACTOR, Actor, Principal, PrincipalType
from services.run import Intervention, InterventionKind, Resolution, Run, RunStatus, RunTrigger, SkipReason
from services.schedule import OnUnknown, OverlapPolicy
from services.tables import events, runs
from tests.agents.scripted import ScriptedAgent, drop, error, full, result, status, stream
from tests.stack import EVERY_SECOND, Stack, stack
from tests.waiting import eventually

DAILY = Cron("0 9 * * *", "UTC")
WEEK = Span(datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 3, 8, tzinfo=UTC), "last week")
SOMEONE = Actor(OPEN_ACTOR.account_id, Principal(PrincipalType.USER, "ada", None, OPEN_ACTOR.account_id))


@pytest.fixture
async def running(database_url: str, temporal: Temporal) -> AsyncIterator[Stack]:
    async with stack(database_url, temporal.address) as built:
        yield built


@pytest.fixture
async def quiet(database_url: str, temporal: Temporal) -> AsyncIterator[Stack]:
    """Nothing is claimed, sent or audited but by the test."""
    async with stack(database_url, temporal.address, worker=False) as built:
        yield built


async def test_a_skipped_fire_is_recorded_as_such_and_the_others_run(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    scripted_agent.always(stream(full("Yes.")))
    # given a fire to come in four seconds that is skipped
    schedule = await running.schedule(
        await running.agent(scripted_agent.url), EVERY_SECOND, overlap_policy=OverlapPolicy.ALLOW
    )
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
    await running.services.skips.skip(OPEN_ACTOR, schedule.id, at, note=None)
    # when it is due
    run = await running.first_run(schedule.id, RunStatus.SKIPPED)
    # then it is the one that was skipped, and nothing of it was sent
    assert (run.fire_at, run.skip_reason, run.task_id) == (at, SkipReason.SKIP_REQUESTED, None)
    await running.first_run(schedule.id, RunStatus.DELIVERED)
    assert str(run.id) not in {received.key for received in scripted_agent.of("message/send")}


async def test_a_skip_holds_at_the_claim_without_the_clock_being_told(quiet: Stack) -> None:
    # given a schedule whose clock knows nothing, since it is gone
    schedule = await quiet.schedule(await quiet.agent("http://127.0.0.1:9"), DAILY)
    tomorrow = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=1)
    await quiet.services.skips.skip(OPEN_ACTOR, schedule.id, tomorrow, note=None)
    # when the fire comes all the same
    claim = await _claims(quiet).claim_scheduled(Fire(schedule.id, tomorrow, "workflow", "first"))
    # then it is not run
    assert claim.next is Next.END
    (run,) = await quiet.runs(schedule.id)
    assert run.skip_reason is SkipReason.SKIP_REQUESTED


async def test_a_fire_that_came_early_is_not_said_to_be_skipped(quiet: Stack) -> None:
    # given a fire that a clock ahead of ours has brought
    schedule = await quiet.schedule(await quiet.agent("http://127.0.0.1:9"), DAILY)
    tomorrow = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=1)
    today = tomorrow - timedelta(days=1)
    due = [at for at in (today, tomorrow, tomorrow + timedelta(days=1)) if at > datetime.now(UTC)]
    await _claims(quiet).claim_scheduled(Fire(schedule.id, due[0], "workflow", "first"))
    # then it can be skipped no more, and a run in place of the next fire is one of the next that can
    with pytest.raises(InvalidInput, match="has its run already"):
        await quiet.services.skips.skip(OPEN_ACTOR, schedule.id, due[0], note=None)
    await quiet.services.manual_runs.trigger(
        OPEN_ACTOR, schedule.id, idempotency_key=None, note=None, skip_next_fire=True
    )
    skipped = await quiet.services.schedule_queries.skipped_of(OPEN_ACTOR, [schedule.id])
    assert skipped == {schedule.id: (due[1],)}


async def test_all_of_a_backfill_is_delivered_whatever_the_overlap_policy(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    scripted_agent.always(stream(full("Yes.")))
    schedule = await running.schedule(
        await running.agent(scripted_agent.url), DAILY, overlap_policy=OverlapPolicy.SKIP, paused=True
    )
    fires = await running.services.backfills.start(OPEN_ACTOR, schedule.id, WEEK, idempotency_key=None)
    assert len(fires) == 7
    ended = await eventually(partial(_all_ended, running, schedule.id))
    assert {(run.status, run.trigger, run.note) for run in ended} == {
        (RunStatus.DELIVERED, RunTrigger.BACKFILL, "last week")
    }
    assert sorted(run.fire_at for run in ended) == [*fires]
    assert len({received.key for received in scripted_agent.of("message/send")}) == 7


async def test_a_backfill_and_the_clock_share_the_run_of_a_due_time(quiet: Stack) -> None:
    schedule = await quiet.schedule(await quiet.agent("http://127.0.0.1:9"), DAILY)
    first, second, *rest = await quiet.services.backfills.plan(OPEN_ACTOR, schedule.id, WEEK)
    # given a due time that the clock claims first
    claims = _claims(quiet)
    await claims.claim_scheduled(Fire(schedule.id, first, "clock-1", "1"))
    # when the rest is backfilled, several times at once
    answers = await asyncio.gather(
        *(quiet.services.backfills.start(OPEN_ACTOR, schedule.id, WEEK, idempotency_key=None) for _ in range(4))
    )
    # then each has one run, and what the clock brings afterwards is left to it
    assert {fire for answer in answers for fire in answer} <= {second, *rest, first}
    assert (await claims.claim_scheduled(Fire(schedule.id, second, "clock-2", "2"))).next is Next.END
    found = {run.fire_at: run for run in await quiet.runs(schedule.id)}
    assert sorted(found) == [first, second, *rest]
    assert found[second].trigger is RunTrigger.BACKFILL


async def test_a_due_fire_is_not_held_up_by_a_backfill(quiet: Stack) -> None:
    schedule = await quiet.schedule(await quiet.agent("http://127.0.0.1:9"), DAILY)
    await quiet.services.backfills.start(OPEN_ACTOR, schedule.id, WEEK, idempotency_key=None)
    tomorrow = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=1)
    claim = await _claims(quiet).claim_scheduled(Fire(schedule.id, tomorrow, "workflow", "first"))
    assert claim.next is Next.DELIVER


async def test_what_was_missed_is_run_by_a_backfill_or_a_retry(running: Stack, scripted_agent: ScriptedAgent) -> None:
    scripted_agent.always(stream(full("Yes.")))
    # given a week that was missed, as the claim of a late fire records it
    schedule = await running.schedule(await running.agent(scripted_agent.url), DAILY)
    due = await running.services.backfills.plan(OPEN_ACTOR, schedule.id, WEEK)
    for fire in due:
        await _claims(running).claim_scheduled(Fire(schedule.id, fire, f"clock-{fire}", "1"))
    await _become_missed(running)
    # when one of them is retried and all are backfilled
    retried = next(run for run in await running.runs(schedule.id) if run.fire_at == due[0])
    await running.services.interventions.retry(SOMEONE, retried.id, idempotency_key=None, note="this one first")
    fires = await running.services.backfills.start(OPEN_ACTOR, schedule.id, WEEK, idempotency_key=None)
    # then each is delivered as the run that it had
    assert fires == due[1:]
    ended = await eventually(partial(_all_ended, running, schedule.id))
    assert {run.status for run in ended} == {RunStatus.DELIVERED}
    assert {run.fire_at for run in ended} == {*due}
    triggers = {run.fire_at: run.trigger for run in ended}
    assert triggers.pop(due[0]) is RunTrigger.SCHEDULED
    assert {*triggers.values()} == {RunTrigger.BACKFILL}


@pytest.mark.parametrize("protocol", [AgentProtocol.SYNC, AgentProtocol.ASYNC])
async def test_a_failed_run_is_retried_under_its_key_with_its_bytes(
    running: Stack, scripted_agent: ScriptedAgent, protocol: AgentProtocol
) -> None:
    method = "message/send" if protocol is AgentProtocol.SYNC else "event/send"
    accepted = stream(full("Yes.")) if protocol is AgentProtocol.SYNC else result({"status": "processing"})
    # given a run that the agent refused, of a schedule that has changed since
    scripted_agent.always(error(-32000, "No such model."))
    schedule = await running.schedule(await running.agent(scripted_agent.url, protocol))
    failed = await _triggered(running, schedule.id)
    assert failed.status is RunStatus.FAILED
    await running.services.schedules.update(
        OPEN_ACTOR,
        schedule.id,
        {"initial_input": replace(schedule.definition.initial_input, content="Other.")},
        expected_version=1,
    )
    refused = scripted_agent.requests[-1]
    # when two people retry it at once, and the agent takes it
    scripted_agent.always(accepted)
    retry = running.services.interventions.retry
    answers = await asyncio.gather(*(retry(SOMEONE, failed.id, idempotency_key=None, note="again") for _ in range(2)))
    run = await running.ended(failed.id)
    # then it is delivered as itself
    assert {answer.id for answer in answers} == {failed.id}
    assert (run.status, run.error, run.schedule_version) == (RunStatus.DELIVERED, None, 1)
    assert run.attempt_count == 2
    assert run.temporal_workflow_id == f"{failed.temporal_workflow_id}:2"
    (noted,) = run.interventions
    assert (noted.kind, noted.by, noted.note) == (InterventionKind.RETRIED, SOMEONE.principal, "again")
    sent = scripted_agent.of(method)[-1]
    assert sent.key == str(run.id)
    if protocol is AgentProtocol.SYNC:
        assert (sent.body, sent.key) == (refused.body, refused.key)
    # and the feed has told all of it
    assert await _statuses(running, run.id) == [
        "CLAIMED",
        "DELIVERING",
        "FAILED",
        "CLAIMED",
        "DELIVERING",
        "DELIVERED",
    ]
    with pytest.raises(InvalidInput, match="was delivered"):
        await retry(SOMEONE, failed.id, idempotency_key=None, note=None)


async def test_a_retry_has_a_horizon_of_its_own(running: Stack, scripted_agent: ScriptedAgent) -> None:
    # given a run whose horizon has passed
    scripted_agent.always(status(503))
    schedule = await running.schedule(await running.agent(scripted_agent.url), retry_horizon=timedelta(seconds=1))
    failed = await _triggered(running, schedule.id)
    assert failed.status is RunStatus.FAILED
    scripted_agent.always(stream(full("Yes.")))
    await running.services.interventions.retry(OPEN_ACTOR, failed.id, idempotency_key=None, note=None)
    run = await running.ended(failed.id)
    assert (run.status, run.attempt_count) == (RunStatus.DELIVERED, failed.attempt_count + 1)


async def test_one_key_retries_once(running: Stack, scripted_agent: ScriptedAgent) -> None:
    scripted_agent.always(error(-32000, "No such model."))
    schedule = await running.schedule(await running.agent(scripted_agent.url))
    failed = await _triggered(running, schedule.id)
    retry = running.services.interventions.retry
    await retry(OPEN_ACTOR, failed.id, idempotency_key="once", note=None)
    await running.ended(failed.id)
    again = await retry(OPEN_ACTOR, failed.id, idempotency_key="once", note=None)
    assert (again.status, again.attempt_count, len(again.interventions)) == (RunStatus.FAILED, 2, 1)
    with pytest.raises(IdempotencyKeyReused):
        await retry(OPEN_ACTOR, failed.id, idempotency_key="once", note="other")


async def test_a_trigger_that_is_repeated_does_not_hide_that_a_retry_waits_to_be_started(quiet: Stack) -> None:
    trigger = partial(quiet.services.manual_runs.trigger, idempotency_key="once", note=None)
    temporal_run_ids = select(runs.c.temporal_run_id)
    # given a run that was retried while Temporal took no workflow
    schedule = await quiet.schedule(await quiet.agent("http://127.0.0.1:9"))
    run = await trigger(OPEN_ACTOR, schedule.id)
    await _settled_by(quiet, run.temporal_workflow_id, SettleRequest(run.id, RunStatus.FAILED))
    retried = await quiet.services.interventions.retry(OPEN_ACTOR, run.id, idempotency_key=None, note=None)
    async with quiet.base.database.transaction() as connection:
        started = (await connection.execute(temporal_run_ids)).scalar_one()
        await connection.execute(update(runs).values(temporal_run_id=None))
    # when the first request is repeated
    again = await trigger(OPEN_ACTOR, schedule.id)
    # then it is the workflow of the retry that is started
    assert again.temporal_workflow_id == retried.temporal_workflow_id
    async with quiet.base.database.read() as connection:
        assert (await connection.execute(temporal_run_ids)).scalar_one() == started


async def test_a_held_run_is_sent_again_only_when_someone_says_so(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    scripted_agent.script(drop(effect=True), stream(full("Yes.")))
    schedule = await running.schedule(await running.agent(scripted_agent.url), on_unknown=OnUnknown.HOLD)
    held = await _triggered(running, schedule.id)
    assert held.status is RunStatus.UNKNOWN
    await running.services.interventions.retry(OPEN_ACTOR, held.id, idempotency_key=None, note=None)
    assert (await running.ended(held.id)).status is RunStatus.DELIVERED
    first, second = scripted_agent.of("message/send")
    assert (first.key, first.body) == (second.key, second.body)


async def test_an_unknown_run_gets_the_end_that_a_person_found_out(
    running: Stack, scripted_agent: ScriptedAgent
) -> None:
    # given two runs of which nobody can know
    scripted_agent.always(drop(effect=True))
    schedule = await running.schedule(await running.agent(scripted_agent.url), on_unknown=OnUnknown.HOLD)
    had, had_not = [await _triggered(running, schedule.id) for _ in range(2)]
    resolve = running.services.interventions.resolve
    # when someone looks at the agent, and says so twice
    for _ in range(2):
        delivered = await resolve(SOMEONE, had.id, Resolution.DELIVERED, note="It is in the log.")
        failed = await resolve(SOMEONE, had_not.id, Resolution.NOT_DELIVERED, note=None)
    # then that is how they have ended, with who said it
    assert (delivered.status, delivered.error) == (RunStatus.DELIVERED, None)
    assert delivered.delivered_at is not None
    assert had.finished_at is not None
    assert had.claimed_at <= delivered.delivered_at <= had.finished_at
    (noted,) = delivered.interventions
    assert (noted.kind, noted.by, noted.note) == (
        InterventionKind.RESOLVED_DELIVERED,
        SOMEONE.principal,
        "It is in the log.",
    )
    assert failed.status is RunStatus.FAILED
    assert failed.error is not None
    assert (failed.error.code, failed.error.retryable) == ("NOT_DELIVERED", True)
    assert (await _statuses(running, had.id))[-2:] == ["UNKNOWN", "DELIVERED"]
    # and what is said is not taken back, but a run that did not arrive can be sent again
    with pytest.raises(InvalidInput, match="Only a run that is UNKNOWN"):
        await resolve(SOMEONE, had.id, Resolution.NOT_DELIVERED, note=None)
    scripted_agent.always(stream(full("Yes.")))
    await running.services.interventions.retry(SOMEONE, had_not.id, idempotency_key=None, note=None)
    assert (await running.ended(had_not.id)).status is RunStatus.DELIVERED


async def test_a_run_that_was_retried_too_often_can_still_be_resolved(quiet: Stack) -> None:
    # given a run of which nobody can know, with as many interventions as there may be
    schedule = await quiet.schedule(await quiet.agent("http://127.0.0.1:9"))
    run = await quiet.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    await _settled_by(quiet, run.temporal_workflow_id, SettleRequest(run.id, RunStatus.UNKNOWN))
    earlier = Intervention(InterventionKind.RETRIED, run.claimed_at, SOMEONE.principal, None).to_json()
    async with quiet.base.database.transaction() as connection:
        await connection.execute(update(runs).where(runs.c.id == run.id).values(interventions=[earlier] * MOST))
    # then it is not retried again, but gets its end
    with pytest.raises(InvalidInput, match="100 interventions"):
        await quiet.services.interventions.retry(OPEN_ACTOR, run.id, idempotency_key=None, note=None)
    resolved = await quiet.services.interventions.resolve(SOMEONE, run.id, Resolution.DELIVERED, note=None)
    assert (resolved.status, len(resolved.interventions)) == (RunStatus.DELIVERED, MOST + 1)


async def test_an_earlier_workflow_does_not_end_a_run_that_goes_on(quiet: Stack) -> None:
    # given a run that failed and is retried
    schedule = await quiet.schedule(await quiet.agent("http://127.0.0.1:9"))
    run = await quiet.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    await _settled_by(quiet, run.temporal_workflow_id, SettleRequest(run.id, RunStatus.FAILED))
    retried = await quiet.services.interventions.retry(OPEN_ACTOR, run.id, idempotency_key=None, note=None)
    assert retried.status is RunStatus.CLAIMED
    # when its first workflow settles once more, as Temporal may have it
    await _settled_by(quiet, run.temporal_workflow_id, SettleRequest(run.id, RunStatus.FAILED))
    # then it is still under way, until its own workflow settles
    assert [each.finished_at for each in await quiet.runs(schedule.id)] == [None]
    await _settled_by(quiet, retried.temporal_workflow_id, SettleRequest(run.id, RunStatus.FAILED))
    assert (await quiet.ended(run.id)).status is RunStatus.FAILED


async def test_a_run_is_one_of_the_failures_in_a_row_once_and_for_as_long_as_it_has_failed(quiet: Stack) -> None:
    schedule = await quiet.schedule(await quiet.agent("http://127.0.0.1:9"), pause_after_failures=3)
    interventions = quiet.services.interventions

    async def ended(run: Run, status: RunStatus) -> int:
        """How many have failed in a row when the run has ended so."""
        await _settled_by(quiet, run.temporal_workflow_id, SettleRequest(run.id, status))
        return await failures()

    async def failures() -> int:
        (found,) = (await quiet.services.schedule_queries.get_many(OPEN_ACTOR, [schedule.id])).values()
        assert found.definition.paused is (found.consecutive_failures >= 3)
        return found.consecutive_failures

    first, second, third = [
        await quiet.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
        for _ in range(3)
    ]
    # given a run that fails, and that fails again each time it is retried
    assert await ended(first, RunStatus.FAILED) == 1
    for _ in range(2):
        first = await interventions.retry(OPEN_ACTOR, first.id, idempotency_key=None, note=None)
        assert await failures() == 0
        assert await ended(first, RunStatus.FAILED) == 1
    # and one of which someone finds out that it was delivered
    assert await ended(second, RunStatus.UNKNOWN) == 2
    for _ in range(2):
        await interventions.resolve(OPEN_ACTOR, second.id, Resolution.DELIVERED, note=None)
        assert await failures() == 1
    # and one of which someone finds out that it was not
    assert await ended(third, RunStatus.UNKNOWN) == 2
    await interventions.resolve(OPEN_ACTOR, third.id, Resolution.NOT_DELIVERED, note=None)
    assert await failures() == 2
    # when one more fails, then it is the third
    fourth = await quiet.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    assert await ended(fourth, RunStatus.FAILED) == 3


async def test_a_failure_from_before_a_resume_is_none_of_those_in_a_row(quiet: Stack) -> None:
    schedule = await quiet.schedule(await quiet.agent("http://127.0.0.1:9"))
    interventions, schedules = quiet.services.interventions, quiet.services.schedules

    async def failed() -> Run:
        run = await quiet.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
        await _settled_by(quiet, run.temporal_workflow_id, SettleRequest(run.id, RunStatus.FAILED))
        return run

    # given a failure before a resume, and one after it
    earlier = await failed()
    for change in (schedules.pause, schedules.resume):
        await change(OPEN_ACTOR, schedule.id, expected_version=None, note=None)
    later = await failed()
    # when the earlier is retried, then there still is one in a row; and none when the later is
    for run, left in ((earlier, 1), (later, 0)):
        await interventions.retry(OPEN_ACTOR, run.id, idempotency_key=None, note=None)
        (found,) = (await quiet.services.schedule_queries.get_many(OPEN_ACTOR, [schedule.id])).values()
        assert found.consecutive_failures == left


async def test_what_cannot_be_retried_or_resolved_is_refused(quiet: Stack) -> None:
    agent = await quiet.agent("http://127.0.0.1:9")
    schedule = await quiet.schedule(agent, DAILY, paused=True)
    retry = partial(quiet.services.interventions.retry, idempotency_key=None, note=None)
    resolve = partial(quiet.services.interventions.resolve, resolution=Resolution.DELIVERED, note=None)
    # given a run that was skipped, one under way, and one that failed
    await _claims(quiet).claim_scheduled(Fire(schedule.id, datetime(2025, 3, 1, 9, tzinfo=UTC), "workflow", "1"))
    (skipped,) = await quiet.runs(schedule.id)
    going_on, failed = [
        await quiet.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
        for _ in range(2)
    ]
    await _settled_by(quiet, failed.temporal_workflow_id, SettleRequest(failed.id, RunStatus.FAILED))
    # then only the last can be retried, by its own account, while its schedule is there
    with pytest.raises(InvalidInput, match="was skipped"):
        await retry(OPEN_ACTOR, skipped.id)
    assert (await retry(OPEN_ACTOR, going_on.id)).interventions == ()
    for refused in (partial(retry, Actor("other"), failed.id), partial(resolve, Actor("other"), failed.id)):
        with pytest.raises(NotFound):
            await refused()
    with pytest.raises(InvalidInput, match="this one is CLAIMED"):
        await resolve(OPEN_ACTOR, going_on.id)
    with pytest.raises(InvalidInput):
        await retry(OPEN_ACTOR, failed.id, note="x" * 1001)
    with pytest.raises(InvalidInput):
        await resolve(OPEN_ACTOR, failed.id, note="x" * 1001)
    await quiet.services.schedules.delete(OPEN_ACTOR, schedule.id, expected_version=None, note=None)
    with pytest.raises(InvalidInput, match="schedule of this run is deleted"):
        await retry(OPEN_ACTOR, failed.id)


def _claims(running: Stack) -> Claims:
    return Claims(running.base.database, running.base.notifier)


async def _settled_by(quiet: Stack, workflow_id: str, request: SettleRequest) -> None:
    """What the activity of that workflow does."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, workflow_id=workflow_id)
    async with http_client(quiet.base.dialer) as http:
        await environment.run(run_activities(quiet.base, AcpClient(http)).settle, request)


async def _triggered(running: Stack, schedule_id: UUID) -> Run:
    """A manual run, once it has ended."""
    run = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule_id, idempotency_key=None, note=None)
    return await running.ended(run.id)


async def _become_missed(running: Stack) -> None:
    """As the auditor records what nothing took up: a claim that comes late makes SKIPPED of it."""
    async with running.base.database.transaction() as connection:
        late = runs.c.skip_reason == SkipReason.TOO_LATE
        await connection.execute(update(runs).where(late).values(status=RunStatus.MISSED, skip_reason=None))


async def _all_ended(running: Stack, schedule_id: UUID) -> list[Run] | None:
    found = await running.runs(schedule_id)
    return found if found and all(run.finished_at for run in found) else None


async def _statuses(running: Stack, run_id: UUID) -> list[Any]:
    query = select(events.c.payload["status"].astext).where(events.c.run_id == run_id).order_by(events.c.id)
    async with running.base.database.read() as connection:
        return list((await connection.execute(query)).scalars())
