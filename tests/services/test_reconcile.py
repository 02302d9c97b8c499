"""A clock is made equal to its row: inline after a change, and by the loop where that did not go through."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update
from temporalio.client import Client, ScheduleUpdate, ScheduleUpdateInput

from nextfire.wiring import in_background
from services.cadence import Cadence, Cron, Interval
from services.clock_leases import ClockLeases
from services.clock_spec import DesiredClock
from services.live import LiveStatus
from services.live_reader import Wanted
from services.principals import OPEN_ACTOR
from services.reconcile import GAP, DirtyLoop, Outcome
from services.schedule import ClockStatus, OverlapPolicy, Schedule, clock_id
from services.schedules import ScheduleChanges, Schedules
from services.tables import schedule_revisions, schedules
from tests.services.backends import backend, idle
from tests.stack import YEARLY, Stack, definition
from tests.statements import statements
from tests.waiting import eventually

__all__ = ["backend", "idle"]

URL = "http://127.0.0.1:9/agent"
"""Of an agent that no test here reaches."""


@pytest.fixture
def running(idle: Stack) -> Stack:
    return idle


@pytest.mark.parametrize(
    "cadence",
    [
        Cron("0 17 * * MON-FRI", "Europe/Berlin"),
        Cron("*/20 8-18/2 1,15 jan-jun *", "America/New_York"),
        Cron("30 0 9 * * 1 2099", "UTC"),
        Cron("@daily", "Asia/Kolkata"),
        Cron("@every 1h30m", "UTC"),
        Interval(timedelta(seconds=90), timedelta(seconds=7)),
    ],
    ids=str,
)
async def test_a_new_schedule_is_in_sync_when_the_call_returns(running: Stack, cadence: Cadence) -> None:
    agent = await running.agent(URL)
    window = {
        "start_at": datetime(2030, 1, 1, 12, 30, 15, 250_000, tzinfo=UTC),
        "end_at": datetime(2099, 12, 31, tzinfo=UTC),
    }
    schedule = await running.schedule(agent, cadence, jitter=timedelta(seconds=5), **window)
    assert (schedule.clock.status, schedule.clock.applied_version) == (ClockStatus.IN_SYNC, 1)
    # and nothing is sent where nothing differs
    described = await running.base.clock.describe(schedule.id)
    assert await running.base.reconciler.reconcile(schedule.id) is Outcome.IN_SYNC
    again = await running.base.clock.describe(schedule.id)
    assert described is not None
    assert again is not None
    assert again.conflict_token == described.conflict_token


async def test_each_change_reaches_the_clock_and_a_rename_does_not(running: Stack) -> None:
    agent = await running.agent(URL)
    schedule = await running.schedule(agent)
    before = await running.base.clock.describe(schedule.id)
    assert before is not None
    # a rename
    renamed, _ = await running.services.schedules.update(
        OPEN_ACTOR, schedule.id, {"name": "another"}, expected_version=1
    )
    assert renamed.clock.status is ClockStatus.IN_SYNC
    after = await running.base.clock.describe(schedule.id)
    assert after is not None
    assert after.conflict_token == before.conflict_token
    # a new cadence
    cadence = Cron("15 3 * * *", "Europe/Lisbon")
    changed, _ = await running.services.schedules.update(
        OPEN_ACTOR, schedule.id, {"cadence": cadence}, expected_version=2
    )
    assert (changed.clock.status, changed.clock.applied_version) == (ClockStatus.IN_SYNC, 3)
    (live,) = await running.base.live.read([Wanted(changed, fresh=True)])
    assert live.status is LiveStatus.AVAILABLE
    assert live.values is not None
    assert live.values.next_fires[0].minute == 15
    # a pause, a resume and a delete
    paused = await running.services.schedules.pause(OPEN_ACTOR, schedule.id, expected_version=None, note="why")
    described = await running.base.clock.describe(schedule.id)
    assert paused.clock.status is ClockStatus.IN_SYNC
    assert described is not None
    assert described.message.state.paused
    await running.services.schedules.resume(OPEN_ACTOR, schedule.id, expected_version=None, note=None)
    described = await running.base.clock.describe(schedule.id)
    assert described is not None
    assert not described.message.state.paused
    await running.services.schedules.delete(OPEN_ACTOR, schedule.id, expected_version=None, note=None)
    assert await running.base.clock.describe(schedule.id) is None


class Keeper:
    """Keeps no clock, but which ones it was told of."""

    def __init__(self) -> None:
        self.told: list[UUID] = []

    async def settle_soon(self, schedule_id: UUID) -> None:
        self.told.append(schedule_id)


async def test_a_change_that_leaves_the_clock_as_it_is_asks_nothing_of_temporal(running: Stack) -> None:
    keeper = Keeper()
    commands = Schedules(running.base.database, running.base.notifier, keeper)
    schedule = await running.schedule(await running.agent(URL))
    changes: ScheduleChanges = {"description": "words", "labels": (("key", "value"),), "task_params": {"a": 1}}
    after, _ = await commands.update(OPEN_ACTOR, schedule.id, changes, expected_version=1)
    assert keeper.told == []
    assert (after.version, after.clock.applied_version, after.clock.status) == (2, 2, ClockStatus.IN_SYNC)
    # and it says what the row says
    assert after == await _row(running, schedule.id)
    assert after.definition == replace(schedule.definition, **changes)
    # a clock that carries the version before is none that has drifted
    assert after.clock.clock_version == 1
    assert await running.base.reconciler.drift(after) is None
    # one that is behind stays behind, and so does one that is being written
    await commands.pause(OPEN_ACTOR, schedule.id, expected_version=2, note=None)
    after, _ = await commands.update(OPEN_ACTOR, schedule.id, {"description": "more"}, expected_version=3)
    assert keeper.told == [schedule.id] * 2
    assert (after.version, after.clock.applied_version, after.clock.status) == (4, 2, ClockStatus.PENDING)


async def test_a_change_while_the_clock_is_leased_is_left_to_who_holds_it(running: Stack) -> None:
    keeper, leases = Keeper(), ClockLeases(running.base.database)
    commands = Schedules(running.base.database, running.base.notifier, keeper)
    schedule = await running.schedule(await running.agent(URL))
    lease = await leases.take(schedule.id)
    assert lease is not None
    after, _ = await commands.update(OPEN_ACTOR, schedule.id, {"name": "another"}, expected_version=1)
    assert keeper.told == [schedule.id]
    assert (after.clock.applied_version, after.clock.status) == (1, ClockStatus.PENDING)
    await leases.give_back(lease, applied_version=1)
    assert await running.base.reconciler.reconcile(schedule.id) is Outcome.IN_SYNC
    assert (await _row(running, schedule.id)).clock.applied_version == 2


async def _row(running: Stack, schedule_id: UUID) -> Schedule:
    return (await running.services.schedule_queries.get_many(OPEN_ACTOR, [schedule_id]))[schedule_id]


async def test_a_clock_that_is_there_though_nobody_wrote_that_down_is_found_and_not_written_again(
    running: Stack,
) -> None:
    # given a row that knows of no clock, as when a process is lost after Temporal has taken it
    schedule = await running.schedule(await running.agent(URL))
    unknown = {"applied_version": None, "clock_version": None, "checked_at": None, "clock_status": "PENDING"}
    await _set(running, schedule.id, unknown)
    before = await running.base.clock.describe(schedule.id)
    assert before is not None
    assert await running.base.reconciler.reconcile(schedule.id) is Outcome.IN_SYNC
    after = await running.base.clock.describe(schedule.id)
    assert after is not None
    assert after.conflict_token == before.conflict_token
    assert (await _row(running, schedule.id)).clock.applied_version == 1
    # and one that is of another version is changed
    await _set(running, schedule.id, {**unknown, "version": 2, "cron_expression": "5 5 * * *"})
    assert await running.base.reconciler.reconcile(schedule.id) is Outcome.IN_SYNC
    changed = await running.base.clock.describe(schedule.id)
    assert changed is not None
    assert (changed.version, changed.form) == (2, await _form_of(running, await _row(running, schedule.id)))


async def test_a_deleted_row_that_nobody_has_looked_after_loses_its_clock(running: Stack) -> None:
    schedule = await running.schedule(await running.agent(URL))
    gone = {"applied_version": None, "checked_at": None, "version": 2, "deleted_at": datetime.now(UTC)}
    await _set(running, schedule.id, gone)
    assert await running.base.reconciler.reconcile(schedule.id) is Outcome.IN_SYNC
    assert await running.base.clock.describe(schedule.id) is None


async def test_what_was_due_before_the_clock_was_there_has_its_runs(running: Stack) -> None:
    # given a schedule of which no clock was made for some seconds
    commands = Schedules(running.base.database, running.base.notifier, Keeper())
    every_hour = definition(Interval(timedelta(hours=1)), overlap_policy=OverlapPolicy.ALLOW)
    agent = await running.agent(URL)
    schedule = await commands.create(OPEN_ACTOR, agent.id, every_hour)
    made = schedule.created_at - timedelta(hours=2)
    await _set(running, schedule.id, {"created_at": made, "updated_at": made})
    async with running.base.database.transaction() as connection:
        await connection.execute(update(schedule_revisions).values(at=made))
    assert await running.base.reconciler.reconcile(schedule.id) is Outcome.IN_SYNC
    due = [run.fire_at for run in await running.runs(schedule.id)]
    assert len(due) == 2
    assert all(made < at <= datetime.now(UTC) and at.minute == at.second == 0 for at in due)


async def _set(running: Stack, schedule_id: UUID, columns: dict[str, Any]) -> None:
    async with running.base.database.transaction() as connection:
        await connection.execute(update(schedules).where(schedules.c.id == schedule_id).values(columns))


async def test_the_loop_brings_in_line_what_was_left_behind(running: Stack) -> None:
    # given three rows whose clocks were not written: a new one, a changed one and a deleted one
    agent = await running.agent(URL)
    rows = [await running.schedule(agent, YEARLY) for _ in range(3)]
    await running.base.clock.delete(rows[0].id)
    async with running.base.database.transaction() as connection:
        ids = [row.id for row in rows]
        await connection.execute(
            update(schedules)
            .where(schedules.c.id.in_(ids))
            .values(version=2, cron_expression="5 5 * * *", clock_status="PENDING")
        )
        await connection.execute(update(schedules).where(schedules.c.id == ids[2]).values(deleted_at=datetime.now(UTC)))
    # when the loop goes round
    loop = DirtyLoop(running.base.database, running.base.reconciler, running.base.listener)
    assert await loop.sweep() == 3
    # then each clock is what its row says, and the next round finds nothing
    first, second, third = [await running.base.clock.describe(schedule_id) for schedule_id in ids]
    assert first is not None
    assert second is not None
    assert third is None
    assert {first.version, second.version} == {2}
    assert first.form != (await _form_of(running, rows[0]))
    assert await loop.sweep() == 0


async def test_many_wake_ups_are_few_rounds_of_the_loop(running: Stack) -> None:
    loop = DirtyLoop(running.base.database, running.base.reconciler, running.base.listener)
    with statements(running.base.database) as sent:
        async with in_background(loop.run()):
            # when it is woken all the time, for two gaps
            begun = time.monotonic()
            while time.monotonic() - begun < 2 * GAP.total_seconds():
                running.base.listener.wake()
                await asyncio.sleep(0.001)
            passed = time.monotonic() - begun
    # then it has looked once in each
    assert 2 <= len(sent) <= passed / GAP.total_seconds() + 1


async def test_many_reconcilers_at_once_write_once(running: Stack) -> None:
    agent = await running.agent(URL)
    schedule = await running.schedule(agent)
    await running.base.clock.delete(schedule.id)
    async with running.base.database.transaction() as connection:
        await connection.execute(update(schedules).where(schedules.c.id == schedule.id).values(version=2))
    outcomes = await asyncio.gather(*(running.base.reconciler.reconcile(schedule.id) for _ in range(8)))
    assert outcomes.count(Outcome.IN_SYNC) >= 1
    assert set(outcomes) <= {Outcome.IN_SYNC, Outcome.BUSY}
    described = await running.base.clock.describe(schedule.id)
    assert described is not None
    assert described.version == 2


async def test_an_edit_behind_our_back_shows_in_the_canonical_form(running: Stack) -> None:
    agent = await running.agent(URL)
    schedule = await running.schedule(agent)
    wanted = await _form_of(running, schedule)
    described = await running.base.clock.describe(schedule.id)
    assert described is not None
    assert described.form == wanted
    client: Client = running.base.temporal

    def edit(found: ScheduleUpdateInput) -> ScheduleUpdate:
        found.description.schedule.policy.catchup_window = timedelta(days=3)
        return ScheduleUpdate(found.description.schedule)

    await client.get_schedule_handle(clock_id(schedule.id)).update(edit)
    assert await _eventually_another_form(running, schedule.id, wanted) != wanted


async def _form_of(running: Stack, schedule: Schedule) -> str:
    return await running.base.clock.desired_form(DesiredClock(schedule.id, schedule.version, schedule.definition))


async def _eventually_another_form(running: Stack, schedule_id: UUID, form: str) -> str:
    async def other() -> str | None:
        described = await running.base.clock.describe(schedule_id)
        return described.form if described is not None and described.form != form else None

    return await eventually(other)
