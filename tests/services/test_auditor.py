"""Every due time has its run, and every run its end, whatever was away meanwhile."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update
from temporalio.client import Client, WorkflowExecutionStatus

from nextfire.embedded import Temporal
from nextfire.processes import free_port
from nextfire.worker import auditor, temporal_worker
from services.acp import AcpClient, http_client
from services.auditor import Summary
from services.cadence import Interval
from services.clock import TemporalAway
from services.due import expected_fires
from services.histories import Histories
from services.lost_runs import LostRuns
from services.principals import OPEN_ACTOR
from services.run import Run, RunStatus, RunTrigger, SkipReason
from services.schedule import MissedFirePolicy, OverlapPolicy, Schedule
from services.tables import runs, schedule_revisions, schedules, skipped_fires
from services.temporal_states import TemporalStates
from tests.agents.scripted import ScriptedAgent, full, status, stream
from tests.services.backends import backend, idle
from tests.stack import EVERY_SECOND, YEARLY, Stack, stack
from tests.waiting import eventually

__all__ = ["backend", "idle"]

URL = "http://127.0.0.1:9/agent"
"""Of an agent that no test here reaches."""
HOUR = timedelta(hours=1)
MISSED, CLAIMED = RunStatus.MISSED, RunStatus.CLAIMED
NOW = timedelta(0)
"""The grace of an audit for which nobody need be waited."""


@pytest.fixture
async def quiet(database_url: str, temporal: Temporal) -> Any:
    """A stack in which nobody sweeps, audits or claims but the test, on one scheduler: the clock plays no part."""
    async with stack(database_url, temporal.address, worker=False) as built:
        yield built


@pytest.mark.parametrize(
    ("policy", "started"),
    [(MissedFirePolicy.RUN_ALL, 6), (MissedFirePolicy.RUN_LATEST, 1), (MissedFirePolicy.RUN_NONE, 0)],
)
@pytest.mark.fault("F13")
async def test_what_nobody_claimed_is_run_or_recorded_by_the_policy(
    quiet: Stack, policy: MissedFirePolicy, started: int
) -> None:
    # given six due times within the last hour that nothing took up
    schedule = await _aged(
        quiet, missed_fire_policy=policy, overlap_policy=OverlapPolicy.ALLOW, catch_up_window=timedelta(hours=2)
    )
    # when the auditor comes by
    summary = await auditor(quiet.base).audit()
    # then each has its run, the newest ones started
    assert summary == Summary(expected=6, started=started, missed=6 - started)
    made = await _runs_in_order(quiet, schedule.id)
    assert [run.fire_at for run in made] == await _expected(quiet, schedule.id)
    assert [run.status for run in made] == [RunStatus.MISSED] * (6 - started) + [RunStatus.CLAIMED] * started
    assert {run.trigger for run in made} == {RunTrigger.SCHEDULED}
    for run in made[: 6 - started]:
        assert run.error is not None
        assert run.error.code == "TOO_LATE"
        assert policy in run.error.message
    # and the next audit finds nothing left to do
    assert await auditor(quiet.base).audit() == Summary()
    since = datetime.now(UTC) - timedelta(hours=3)
    assert await auditor(quiet.base).audit(since=since) == Summary(expected=6, found=6)


async def test_the_latest_is_the_last_that_was_due_before_a_pause(quiet: Stack) -> None:
    # given due times that nothing took up, the later half of them within a pause that is over
    schedule = await quiet.schedule(await quiet.agent(URL), _every_ten_minutes())
    await quiet.services.schedules.pause(OPEN_ACTOR, schedule.id, expected_version=None, note=None)
    await quiet.services.schedules.resume(OPEN_ACTOR, schedule.id, expected_version=None, note=None)
    await _age(quiet, schedule, HOUR, timedelta(minutes=30), timedelta(minutes=2))
    # when the auditor comes by
    summary = await auditor(quiet.base).audit()
    # then the last one before the pause is run
    assert summary == Summary(expected=3, started=1, missed=2)
    assert [run.status for run in await _runs_in_order(quiet, schedule.id)] == [*2 * [MISSED], CLAIMED]


async def test_the_latest_is_the_last_that_was_due_before_an_update(quiet: Stack) -> None:
    # given due times that nothing took up, and a cadence that is new and would have been due after them
    schedule = await quiet.schedule(await quiet.agent(URL), _every_ten_minutes(last=timedelta(minutes=9)))
    cadence = _every_ten_minutes(last=timedelta(minutes=4))
    await quiet.services.schedules.update(OPEN_ACTOR, schedule.id, {"cadence": cadence}, expected_version=1)
    await _age(quiet, schedule, HOUR, timedelta(minutes=2))
    # when the auditor comes by
    summary = await auditor(quiet.base).audit()
    # then the last one by the cadence of its day is run
    assert summary == Summary(expected=6, started=1, missed=5)
    assert [run.status for run in await _runs_in_order(quiet, schedule.id)] == [*5 * [MISSED], CLAIMED]


async def test_the_latest_is_the_last_that_no_one_asked_to_skip(quiet: Stack) -> None:
    # given due times that nothing took up, the last of which was to be skipped
    schedule = await _aged(quiet)
    skipped = (await _expected(quiet, schedule.id))[-1]
    async with quiet.base.database.transaction() as connection:
        values = {"schedule_id": schedule.id, "fire_at": skipped, "by": OPEN_ACTOR.to_json()}
        await connection.execute(skipped_fires.insert().values(values))
    # when the auditor comes by
    summary = await auditor(quiet.base).audit()
    # then the one before it is run
    assert summary == Summary(expected=6, started=1, skipped=1, missed=4)
    made = await _runs_in_order(quiet, schedule.id)
    assert [run.status for run in made] == [*4 * [MISSED], CLAIMED, RunStatus.SKIPPED]


async def test_what_is_older_than_the_catch_up_window_is_missed(quiet: Stack) -> None:
    schedule = await _aged(quiet, missed_fire_policy=MissedFirePolicy.RUN_ALL, catch_up_window=timedelta(seconds=10))
    assert await auditor(quiet.base).audit() == Summary(expected=6, missed=6)
    assert {run.status for run in await quiet.runs(schedule.id)} == {RunStatus.MISSED}


async def test_a_skip_and_a_pause_hold_for_what_is_found_later(quiet: Stack) -> None:
    # given due times from before a pause
    schedule = await _aged(quiet)
    await quiet.services.schedules.pause(OPEN_ACTOR, schedule.id, expected_version=None, note=None)
    # when the auditor comes by
    summary = await auditor(quiet.base).audit()
    # then nothing is claimed any more, and each is on record
    assert (summary.expected, summary.found + summary.skipped) == (6, 6)
    assert {run.skip_reason for run in await quiet.runs(schedule.id)} == {SkipReason.SCHEDULE_PAUSED}


async def test_a_paused_or_deleted_schedule_is_expected_to_do_nothing(quiet: Stack) -> None:
    paused = await _aged(quiet, paused=True)
    deleted = await _aged(quiet)
    assert (await auditor(quiet.base).audit()).expected == 6
    await quiet.services.schedules.delete(OPEN_ACTOR, deleted.id, expected_version=None, note=None)
    assert await auditor(quiet.base).audit(grace=NOW) == Summary()
    assert await quiet.runs(paused.id) == []


async def test_the_clock_has_its_time_of_grace_and_its_jitter(quiet: Stack) -> None:
    schedule = await _aged(quiet, _every_ten_minutes(last=timedelta(seconds=5)), age=timedelta(seconds=10))
    late = await _aged(quiet, jitter=timedelta(hours=3))
    assert await auditor(quiet.base).audit() == Summary()
    assert await quiet.runs(schedule.id) + await quiet.runs(late.id) == []


@pytest.mark.fault("F12")
async def test_two_auditors_at_once_make_each_run_once(quiet: Stack) -> None:
    schedule = await _aged(
        quiet,
        Interval(timedelta(seconds=20)),
        age=timedelta(hours=1),
        missed_fire_policy=MissedFirePolicy.RUN_ALL,
        overlap_policy=OverlapPolicy.ALLOW,
        catch_up_window=2 * HOUR,
    )
    # when several are at it
    summaries = await asyncio.gather(*(auditor(quiet.base).audit() for _ in range(3)))
    # then what they made together is what was due, each once
    made = await _all_runs(quiet, schedule.id)
    assert 170 < len(made) < 180
    assert sum(summary.started for summary in summaries) == len(made)
    assert len({run.fire_at for run in made}) == len({run.temporal_workflow_id for run in made}) == len(made)
    again = await auditor(quiet.base).audit(since=datetime.now(UTC) - 2 * HOUR, grace=timedelta(minutes=2))
    assert again == Summary(expected=again.expected, found=again.expected)
    assert again.expected > 170


async def test_what_was_overlooked_is_delivered_in_turn(
    database_url: str, temporal: Temporal, scripted_agent: ScriptedAgent
) -> None:
    scripted_agent.always(stream(full("Yes.")))
    # given due times that nothing took up, of which one at a time may run and one may wait
    async with stack(database_url, temporal.address, worker=False) as away:
        one_waits = OverlapPolicy.QUEUE_ONE
        schedule = await _aged(
            away,
            url=scripted_agent.url,
            missed_fire_policy=MissedFirePolicy.RUN_ALL,
            overlap_policy=one_waits,
            catch_up_window=2 * HOUR,
        )
    # when a worker comes up, and audits
    async with stack(database_url, temporal.address) as running:
        ended = await eventually(lambda: _all_ended(running, schedule.id, 6))
    # then two are delivered one after the other, and the rest has its reason
    delivered = [run for run in ended if run.status is RunStatus.DELIVERED]
    assert [run.fire_at for run in delivered] == [run.fire_at for run in ended[:2]]
    assert all(earlier.finished_at <= later.delivered_at for earlier, later in pairwise(delivered))  # type: ignore[operator]
    assert {run.skip_reason for run in ended[2:]} == {SkipReason.OVERLAP}
    assert sorted(scripted_agent.effects_of("message/send")) == sorted(str(run.id) for run in delivered)


async def test_an_earlier_run_is_cancelled_for_what_was_overlooked(
    database_url: str, temporal: Temporal, scripted_agent: ScriptedAgent
) -> None:
    # given a run that is being retried, and a due time after it that nothing took up
    scripted_agent.always(status(503, retry_after="1"))
    async with stack(database_url, temporal.address) as running:
        agent = await running.agent(scripted_agent.url)
        cancels = OverlapPolicy.CANCEL_PREVIOUS
        schedule = await running.schedule(agent, _every_ten_minutes(), overlap_policy=cancels)
        first = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
        await running.first_run(schedule.id, RunStatus.RETRYING)
        await _age(running, schedule, timedelta(minutes=12))
        # when the auditor takes it up
        await auditor(running.base).audit()
        # then the earlier one makes way, by itself or by the next audit
        lost = LostRuns(
            running.base.database, running.base.notifier, TemporalStates(running.base.temporal), running.base.starter
        )

        async def cancelled() -> Run | None:
            await lost.restart(older_than=NOW)
            return next((run for run in await running.runs(schedule.id) if run.status is RunStatus.CANCELLED), None)

        assert (await eventually(cancelled)).id == first.id
        # and the overlooked one has its turn
        taken_up = await running.first_run(schedule.id, RunStatus.RETRYING)
        assert taken_up.trigger is RunTrigger.SCHEDULED


@pytest.mark.fault("F9")
async def test_a_run_whose_workflow_is_gone_gets_another(
    database_url: str, temporal: Temporal, scripted_agent: ScriptedAgent
) -> None:
    scripted_agent.always(stream(full("Yes.")))
    # given runs whose workflows someone has ended in Temporal
    async with stack(database_url, temporal.address, worker=False) as away:
        agent = await away.agent(scripted_agent.url)
        schedule = await away.schedule(agent)
        trigger = away.services.manual_runs.trigger
        lost, cancelled = [await trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None) for _ in range(2)]
        await away.base.temporal.get_workflow_handle(lost.temporal_workflow_id).terminate()
        await _cancel_before_it_begins(away, cancelled)
        await _predate(away, claimed_at=datetime.now(UTC) - timedelta(minutes=1))
        # when the auditor comes by
        assert (await auditor(away.base).audit()).restarted == 2
        # then what was cancelled has ended, and what was lost has a new workflow
        assert (await away.ended(cancelled.id)).status is RunStatus.CANCELLED
        assert (await auditor(away.base).audit()).restarted == 0
        async with (
            http_client(away.base.dialer) as http,
            temporal_worker(away.base, away.base.temporal, AcpClient(http)),
        ):
            assert (await away.ended(lost.id)).status is RunStatus.DELIVERED
    assert scripted_agent.effects_of("message/send") == [str(lost.id)]


@pytest.mark.fault("F7")
async def test_a_change_of_the_clock_loses_nothing_that_was_due(idle: Stack) -> None:
    # given a schedule whose due times nobody has taken up yet, but for those of the moment its clock was made
    agent = await idle.agent(URL)
    schedule = await idle.schedule(agent, EVERY_SECOND, overlap_policy=OverlapPolicy.ALLOW)
    await eventually(lambda: _due(idle, schedule.id, 3))
    assert len(await idle.runs(schedule.id)) < len(await _expected(idle, schedule.id))
    # when its cadence changes
    changed, _ = await idle.services.schedules.update(OPEN_ACTOR, schedule.id, {"cadence": YEARLY}, expected_version=1)
    # then each time that was due up to the change has its run at once
    assert changed.clock.applied_version == 2
    expected = await _expected(idle, schedule.id)
    assert len(expected) >= 3
    assert [run.fire_at for run in await _runs_in_order(idle, schedule.id)] == expected


@pytest.mark.fault("F25")
async def test_one_schedule_that_cannot_be_audited_harms_no_other(quiet: Stack) -> None:
    poisoned, other = await _aged(quiet), await _aged(quiet)
    async with quiet.base.database.transaction() as connection:
        definition = schedule_revisions.c.definition.op("||")(
            {"cadence": {"cron": {"expression": "?", "timeZone": "-"}}}
        )
        await connection.execute(
            update(schedule_revisions)
            .where(schedule_revisions.c.schedule_id == poisoned.id)
            .values(definition=definition)
        )
    summary = await auditor(quiet.base).audit()
    assert (summary.expected, summary.failed) == (6, 1)
    assert len(await quiet.runs(other.id)) == 6
    assert await quiet.runs(poisoned.id) == []


async def _aged(
    running: Stack, cadence: Interval | None = None, *, url: str = URL, age: timedelta = HOUR, **values: Any
) -> Schedule:
    """A schedule that has been there for so long, while nobody was."""
    schedule = await running.schedule(await running.agent(url), cadence or _every_ten_minutes(), **values)
    await _age(running, schedule, age)
    return schedule


def _every_ten_minutes(*, last: timedelta = timedelta(minutes=5)) -> Interval:
    """Last due so long ago: no test comes near the next due time."""
    every = timedelta(minutes=10)
    return Interval(every, (timedelta(seconds=int(datetime.now(UTC).timestamp())) - last) % every)


async def _age(running: Stack, schedule: Schedule, *ages: timedelta) -> None:
    """Its versions are so old, and its clock is taken away, so that nothing but the test brings it a fire."""
    await running.base.clock.delete(schedule.id)
    now = datetime.now(UTC)
    async with running.base.database.transaction() as connection:
        for version, age in enumerate(ages, start=1):
            of_schedule = schedule_revisions.c.schedule_id == schedule.id
            revision = update(schedule_revisions).where(of_schedule, schedule_revisions.c.version == version)
            await connection.execute(revision.values(at=now - age))
        row = update(schedules).where(schedules.c.id == schedule.id)
        await connection.execute(row.values(created_at=now - ages[0]))


async def test_nothing_goes_on_asking_a_temporal_that_does_not_answer(quiet: Stack) -> None:
    # given many runs under way, and a Temporal that is away
    schedule = await quiet.schedule(await quiet.agent(URL), YEARLY)
    for _ in range(20):
        await quiet.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    await _predate(quiet, claimed_at=datetime.now(UTC) - timedelta(minutes=1), temporal_run_id="under way")
    away = TemporalStates(await Client.connect(f"127.0.0.1:{free_port()}", lazy=True))
    lost = LostRuns(quiet.base.database, quiet.base.notifier, away, quiet.base.starter)
    # when it is asked how their workflows stand, then that is given up as a whole
    with pytest.raises(TemporalAway):
        await lost.restart()
    assert [task for task in asyncio.all_tasks() if "of_each" in repr(task.get_coro())] == []


async def _predate(running: Stack, **values: Any) -> None:
    async with running.base.database.transaction() as connection:
        await connection.execute(update(runs).values(**values))


async def _cancel_before_it_begins(running: Stack, run: Run) -> None:
    """Its workflow ends before it has taken the run up, so that nobody settles the run."""
    handle = running.base.temporal.get_workflow_handle(run.temporal_workflow_id)
    await handle.cancel()

    async def cancelled() -> bool | None:
        return True if (await handle.describe()).status is WorkflowExecutionStatus.CANCELED else None

    async with (
        http_client(running.base.dialer) as http,
        temporal_worker(running.base, running.base.temporal, AcpClient(http)),
    ):
        await eventually(cancelled)


async def _expected(running: Stack, schedule_id: UUID) -> list[datetime]:
    """By the oracle, up to now."""
    (history,) = [each async for page in Histories(running.base.database).pages(_long_ago()) for each in page]
    assert history.schedule_id == schedule_id
    return list(expected_fires(history.regimes, history.after, datetime.now(UTC)))


async def _due(running: Stack, schedule_id: UUID, count: int) -> bool | None:
    return True if len(await _expected(running, schedule_id)) >= count else None


def _long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(days=1)


async def _runs_in_order(running: Stack, schedule_id: UUID) -> list[Run]:
    return sorted(await running.runs(schedule_id), key=lambda run: run.fire_at)


async def _all_runs(running: Stack, schedule_id: UUID) -> list[Any]:
    async with running.base.database.read() as connection:
        return list(await connection.execute(select(runs).where(runs.c.schedule_id == schedule_id)))


async def _all_ended(running: Stack, schedule_id: UUID, count: int) -> list[Run] | None:
    found = await _runs_in_order(running, schedule_id)
    return found if len(found) == count and all(run.finished_at for run in found) else None
