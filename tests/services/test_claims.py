"""The claim of a fire on real Postgres, with nobody at work but the test."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import update

from nextfire.embedded import Temporal
from services.agent import AgentProtocol
from services.cadence import Cron, Interval
from services.calendar import EPOCH
from services.claims import EARLY, LOOK_AGAIN, Claim, Claims, Fire, Next, not_due_for
from services.principals import OPEN_ACTOR
from services.run import LOST, Resolution, RunStatus, run_id, scheduled_key
from services.schedule import OverlapPolicy, Schedule
from services.tables import attempts, runs
from tests.stack import Stack, stack

NOWHERE = "http://127.0.0.1:9"
DAILY = Cron("0 9 * * *", "UTC")


@pytest.fixture
async def quiet(database_url: str, temporal: Temporal) -> AsyncIterator[Stack]:
    async with stack(database_url, temporal.address, worker=False) as built:
        yield built


def fires(schedule: Schedule, count: int) -> list[Fire]:
    """The next due times, each brought by a workflow of its own."""
    first = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=1)
    due = [first + timedelta(days=day) for day in range(count)]
    return [Fire(schedule.id, at, f"clock-{at:%d}", f"temporal-{at:%d}") for at in due]


def id_of(fire: Fire) -> UUID:
    return run_id(fire.schedule_id, scheduled_key(fire.nominal))


@pytest.mark.parametrize(
    ("ahead", "waits"),
    [
        (timedelta(days=-1), None),
        (EARLY, None),
        (EARLY * 2, EARLY * 2),
        (timedelta(days=9), LOOK_AGAIN),
    ],
    ids=str,
)
def test_a_fire_that_comes_before_its_time_waits(ahead: timedelta, waits: timedelta | None) -> None:
    now = datetime.now(UTC)
    assert not_due_for(now + ahead, now) == waits


@pytest.mark.parametrize(
    ("policy", "second"),
    [
        (OverlapPolicy.SKIP, (Next.END, ())),
        (OverlapPolicy.QUEUE_ONE, (Next.WAIT, ())),
        (OverlapPolicy.CANCEL_PREVIOUS, (Next.WAIT, ("clock",))),
        (OverlapPolicy.ALLOW, (Next.DELIVER, ())),
    ],
)
async def test_a_claim_that_is_repeated_gives_the_same_answer(
    quiet: Stack, policy: OverlapPolicy, second: tuple[Next, tuple[str, ...]]
) -> None:
    claims = Claims(quiet.base.database, quiet.base.notifier)
    schedule = await quiet.schedule(await quiet.agent(NOWHERE), DAILY, overlap_policy=policy)
    earlier, later = fires(schedule, 2)
    # given a run under way, and a fire whose claim was committed while its answer was lost
    first = await claims.claim_scheduled(earlier)
    lost = await claims.claim_scheduled(later)
    # when its workflow asks again
    again = await claims.claim_scheduled(later)
    # then it hears the same, and what the policy wants
    assert first == Claim(first.run_id, Next.DELIVER)
    assert again == lost
    next_, cancel = second
    assert again == Claim(id_of(later), next_, tuple(earlier.workflow_id for _ in cancel))
    # and another workflow that brings the same fire hears that it is taken
    stranger = Fire(later.schedule_id, later.nominal, "another", "another")
    assert (await claims.claim_scheduled(stranger)).next is Next.END
    assert len(await quiet.runs(schedule.id)) == 2


async def test_a_missed_fire_is_run_where_nothing_was_due_since(quiet: Stack) -> None:
    # given a cadence that names times after the fire, of which none was due, since the schedule was made after them
    every = timedelta(minutes=10)
    schedule = await quiet.schedule(await quiet.agent(NOWHERE), Interval(every, timedelta(0)))
    nominal = schedule.created_at - timedelta(minutes=30) - (schedule.created_at - EPOCH) % every
    # when a clock brings the fire late
    claim = await Claims(quiet.base.database, quiet.base.notifier).claim_scheduled(
        Fire(schedule.id, nominal, "clock", "temporal")
    )
    # then it is the latest one
    assert claim.next is Next.DELIVER


@pytest.mark.parametrize(
    ("protocol", "policy", "stops"),
    [
        (AgentProtocol.SYNC, OverlapPolicy.CANCEL_PREVIOUS, False),
        (AgentProtocol.ASYNC, OverlapPolicy.CANCEL_PREVIOUS, True),
        (AgentProtocol.AGENTIC, OverlapPolicy.CANCEL_PREVIOUS, True),
        (AgentProtocol.ASYNC, OverlapPolicy.QUEUE_ONE, False),
    ],
)
async def test_only_an_agent_that_takes_task_cancel_is_told_to_stop(
    quiet: Stack, protocol: AgentProtocol, policy: OverlapPolicy, stops: bool
) -> None:
    claims = Claims(quiet.base.database, quiet.base.notifier)
    schedule = await quiet.schedule(await quiet.agent(NOWHERE, protocol), DAILY, overlap_policy=policy)
    (fire,) = fires(schedule, 1)
    assert (await claims.claim_scheduled(fire)).stops_earlier is stops
    # and what a person asks for stops nothing
    asked = await quiet.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    assert asked.status is RunStatus.CLAIMED
    assert await claims.take_up(asked.id, "temporal") == Claim(asked.id, Next.DELIVER)


@pytest.mark.parametrize("gone", ["schedule", "agent"])
@pytest.mark.parametrize("sent", [True, False])
async def test_a_lost_run_is_skipped_only_where_nothing_of_it_was_sent(quiet: Stack, gone: str, sent: bool) -> None:
    claims = Claims(quiet.base.database, quiet.base.notifier)
    schedule = await quiet.schedule(await quiet.agent(NOWHERE), DAILY)
    (fire,) = fires(schedule, 1)
    lost = (await claims.claim_scheduled(fire)).run_id
    # given a run that is under way or not yet, and whose schedule or agent is deleted then
    if sent:
        begun = {"attempt_count": 1, "deadline_at": datetime.now(UTC), "status": RunStatus.DELIVERING}
        async with quiet.base.database.transaction() as connection:
            await connection.execute(update(runs).where(runs.c.id == lost).values(begun))
    if gone == "schedule":
        await quiet.services.schedules.delete(OPEN_ACTOR, schedule.id, expected_version=None, note=None)
    else:
        await quiet.services.agents.delete(OPEN_ACTOR, schedule.agent_id, expected_version=None)
    # when its workflow is lost, and the next one takes it up
    claim = await claims.take_up(lost, "another")
    # then what was sent is looked into, and only what was not is skipped
    assert claim.next is (Next.DELIVER if sent else Next.END)
    (run,) = await quiet.runs(schedule.id)
    assert run.status is (RunStatus.DELIVERING if sent else RunStatus.SKIPPED)


@pytest.mark.parametrize("gone", ["schedule", "agent"])
@pytest.mark.parametrize("looked", [True, False], ids=["someone looked", "nobody knows"])
async def test_a_retried_run_is_skipped_only_where_it_cannot_have_arrived(
    quiet: Stack, gone: str, looked: bool
) -> None:
    claims, interventions = Claims(quiet.base.database, quiet.base.notifier), quiet.services.interventions
    schedule = await quiet.schedule(await quiet.agent(NOWHERE), DAILY)
    # given a run that ended as UNKNOWN, of which someone may have found out that the agent had not got it
    run = await quiet.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    sent = {"run_id": run.id, "n": 1, "idempotency_key": str(run.id), "body_sha256": "", "outcome": "UNKNOWN"}
    async with quiet.base.database.transaction() as connection:
        await connection.execute(attempts.insert().values(**sent, error=LOST.to_json()))
        ended = {"attempt_count": 1, "status": RunStatus.UNKNOWN, "finished_at": datetime.now(UTC)}
        await connection.execute(update(runs).where(runs.c.id == run.id).values(ended))
    if looked:
        await interventions.resolve(OPEN_ACTOR, run.id, Resolution.NOT_DELIVERED, note=None)
    # when it is retried, and its schedule or agent is deleted before anything is sent
    await interventions.retry(OPEN_ACTOR, run.id, idempotency_key=None, note=None)
    if gone == "schedule":
        await quiet.services.schedules.delete(OPEN_ACTOR, schedule.id, expected_version=None, note=None)
    else:
        await quiet.services.agents.delete(OPEN_ACTOR, schedule.agent_id, expected_version=None)
    claim = await claims.take_up(run.id, "temporal")
    # then nothing is sent, and it is not said that nothing ever was
    assert claim.next is Next.END
    (run,) = await quiet.runs(schedule.id)
    assert run.status is (RunStatus.SKIPPED if looked else RunStatus.UNKNOWN)
    reason = run.skip_reason if looked else run.error and run.error.code
    assert reason == f"{gone.upper()}_DELETED"


@pytest.mark.parametrize("gone", ["schedule", "agent"])
async def test_a_run_that_waits_is_skipped_when_its_schedule_or_agent_is_deleted(quiet: Stack, gone: str) -> None:
    claims = Claims(quiet.base.database, quiet.base.notifier)
    schedule = await quiet.schedule(await quiet.agent(NOWHERE), DAILY, overlap_policy=OverlapPolicy.QUEUE_ONE)
    # given a run under way, and one that waits for it
    for fire in fires(schedule, 2):
        waiting = (await claims.claim_scheduled(fire)).run_id
    assert (await claims.take_turn(waiting)).next is Next.WAIT
    # when nothing more is to be sent of them
    if gone == "schedule":
        await quiet.services.schedules.delete(OPEN_ACTOR, schedule.id, expected_version=None, note=None)
    else:
        await quiet.services.agents.delete(OPEN_ACTOR, schedule.agent_id, expected_version=None)
    # then it waits no longer
    assert (await claims.take_turn(waiting)).next is Next.END
    run = await quiet.ended(waiting)
    assert (run.status, run.skip_reason) == (RunStatus.SKIPPED, f"{gone.upper()}_DELETED")


async def test_a_run_that_was_not_started_yet_makes_way_at_once(quiet: Stack) -> None:
    claims = Claims(quiet.base.database, quiet.base.notifier)
    schedule = await quiet.schedule(await quiet.agent(NOWHERE), DAILY, overlap_policy=OverlapPolicy.CANCEL_PREVIOUS)
    # given two runs, of one of which Temporal has not taken the workflow yet, so that none can be cancelled
    trigger = quiet.services.manual_runs.trigger
    started, waiting = [await trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None) for _ in range(2)]
    async with quiet.base.database.transaction() as connection:
        await connection.execute(update(runs).where(runs.c.id == waiting.id).values(temporal_run_id=None))
    # when the next fire comes
    (fire,) = fires(schedule, 1)
    claim = await claims.claim_scheduled(fire)
    # then the one is ended there and then, and the other by its workflow
    assert (claim.next, claim.cancel) == (Next.WAIT, (started.temporal_workflow_id,))
    assert (await quiet.ended(waiting.id)).status is RunStatus.CANCELLED
    assert (await claims.take_up(waiting.id, "late")).next is Next.END
    assert await claims.claim_scheduled(fire) == claim
