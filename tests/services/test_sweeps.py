"""What someone does to a clock behind our back is found, put right, and kept in the history."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update
from temporalio.api.common.v1 import Payload, RetryPolicy, SearchAttributes
from temporalio.api.schedule.v1 import Range, StructuredCalendarSpec
from temporalio.api.schedule.v1 import Schedule as ScheduleMessage
from temporalio.api.workflowservice.v1 import UpdateScheduleRequest
from temporalio.client import Client, ScheduleUpdate, ScheduleUpdateInput

from nextfire.worker import sweeper
from services.cadence import Cron, Interval
from services.clock import Clock
from services.clock_list import ClockList
from services.clock_spec import DesiredClock
from services.duties import Duty
from services.live import LiveStatus
from services.live_reader import Wanted
from services.principals import OPEN_ACTOR
from services.reconcile import Drift
from services.schedule import ChangeKind, ClockStatus, Schedule, clock_id
from services.strays import Strays
from services.sweeps import Finding, FindingKind, Sweeper
from services.tables import duties, new_id, schedule_revisions, schedules
from tests.clocks import CountingClock
from tests.services.backends import backend, idle
from tests.stack import YEARLY, Stack, definition
from tests.waiting import eventually

__all__ = ["backend", "idle"]

URL = "http://127.0.0.1:9/agent"
"""Of an agent that no test here reaches."""
Deed = Callable[[Client, Schedule], Awaitable[None]]


async def _delete(client: Client, schedule: Schedule) -> None:
    await client.get_schedule_handle(clock_id(schedule.id)).delete()


async def _pause(client: Client, schedule: Schedule) -> None:
    await client.get_schedule_handle(clock_id(schedule.id)).pause(note="an operator was here")


async def _edit_zone(client: Client, schedule: Schedule) -> None:
    def edit(found: ScheduleUpdateInput) -> ScheduleUpdate:
        found.description.schedule.spec.time_zone_name = "Asia/Tokyo"
        return ScheduleUpdate(found.description.schedule)

    await client.get_schedule_handle(clock_id(schedule.id)).update(edit)


async def _edit_catch_up(client: Client, schedule: Schedule) -> None:
    def edit(found: ScheduleUpdateInput) -> ScheduleUpdate:
        found.description.schedule.policy.catchup_window = timedelta(days=3)
        return ScheduleUpdate(found.description.schedule)

    await client.get_schedule_handle(clock_id(schedule.id)).update(edit)


@pytest.mark.parametrize(
    ("deed", "described", "kind", "words"),
    [
        (_delete, 0, FindingKind.MISSING, "no clock"),
        (_pause, 0, FindingKind.DRIFTED, "paused was true instead of false"),
        (_edit_zone, 0, FindingKind.DRIFTED, 'the time zone was "Asia/Tokyo" instead of "UTC"'),
        (_edit_catch_up, 10, FindingKind.DRIFTED, "the catch-up window (seconds) was 259200 instead of 3600"),
    ],
    ids=["deleted", "paused", "edited", "edited where a list shows nothing"],
)
@pytest.mark.fault("F10")
async def test_what_was_done_to_a_clock_is_undone_and_recorded(
    idle: Stack, deed: Deed, described: int, kind: FindingKind, words: str
) -> None:
    # given a clock that someone changes in Temporal itself
    agent = await idle.agent(URL)
    schedule = await idle.schedule(agent)
    await deed(idle.base.temporal, schedule)
    # when a sweep sees it
    (finding,) = await eventually(lambda: _found(_sweeper(idle, described=described)))
    assert (finding.kind, finding.schedule_id) == (kind, schedule.id)
    assert words in finding.text
    # then the clock is as its row wants it
    assert await _drift_of(idle, schedule.id) is None
    (row,) = await _rows(idle, [schedule.id])
    assert row.clock.status is ClockStatus.IN_SYNC
    # and the history has one more version, by nobody, with the same definition
    assert row.version == row.clock.applied_version == 2
    assert row.definition == schedule.definition
    first, repair = await _revisions(idle, schedule.id)
    assert (repair.version, repair.kind, repair.by) == (2, ChangeKind.REPAIRED, None)
    assert words in repair.note
    assert repair.definition == first.definition
    # and the live values are there
    (live,) = await idle.base.live.read([Wanted(row, fresh=True)])
    assert live.status is LiveStatus.AVAILABLE


def _start(message: ScheduleMessage) -> Any:
    return message.action.start_workflow


NEW_YEAR = StructuredCalendarSpec(
    day_of_month=[Range(start=1)], month=[Range(start=1)], day_of_week=[Range(start=0, end=6)]
)
EDITS: dict[str, Callable[[ScheduleMessage], object]] = {
    "the calendar was": lambda m: m.spec.structured_calendar[0].minute[0].MergeFrom(Range(start=5)),
    "a further calendar was": lambda m: m.spec.exclude_structured_calendar.append(NEW_YEAR),
    "the interval was [[4320000,0]]": lambda m: m.spec.interval.add().interval.FromTimedelta(timedelta(days=50)),
    "the window (seconds since 1970) was [2000000000,null]": lambda m: m.spec.start_time.FromSeconds(2_000_000_000),
    "the jitter (seconds) was 0.5 instead of 0": lambda m: m.spec.jitter.FromMilliseconds(500),
    "SCHEDULE_OVERLAP_POLICY_SKIP": lambda m: setattr(m.policies, "overlap_policy", 1),
    "the catch-up window (seconds) was 99": lambda m: m.policies.catchup_window.FromSeconds(99),
    'a further policy was {"pauseOnFailure":true}': lambda m: setattr(m.policies, "pause_on_failure", True),
    "keepOriginalWorkflowId": lambda m: setattr(m.policies, "keep_original_workflow_id", True),
    "the limit of actions was true": lambda m: setattr(m.state, "limited_actions", True),
    'the workflow\'s id was "other"': lambda m: setattr(_start(m), "workflow_id", "other"),
    'the workflow\'s type was "Other"': lambda m: setattr(_start(m).workflow_type, "name", "Other"),
    'the task queue was "other"': lambda m: setattr(_start(m).task_queue, "name", "other"),
    "the workflow's timeout (seconds) was 1": lambda m: _start(m).workflow_execution_timeout.FromSeconds(1),
    "what the workflow is told was []": lambda m: _start(m).ClearField("input"),
    '["what cannot be read"]': lambda m: setattr(_start(m).input.payloads[0], "data", b"{"),
    '["other","scheduled"]': lambda m: setattr(_start(m).input.payloads[0], "data", b'"other"'),
    'what else the workflow is started with was {"workflowRunTimeout":"1s"} instead of {}': (
        lambda m: _start(m).workflow_run_timeout.FromSeconds(1)
    ),
    "workflowTaskTimeout": lambda m: _start(m).workflow_task_timeout.FromSeconds(1),
    "retryPolicy": lambda m: _start(m).retry_policy.CopyFrom(RetryPolicy(maximum_attempts=5)),
    "memo": lambda m: _start(m).memo.fields["a"].CopyFrom(Payload(data=b"x")),
    "header": lambda m: _start(m).header.fields["a"].CopyFrom(Payload(data=b"x")),
    "priority": lambda m: setattr(_start(m).priority, "priority_key", 5),
    "TASK_QUEUE_KIND_STICKY": lambda m: setattr(_start(m).task_queue, "kind", 2),
    "versioningOverride": lambda m: setattr(_start(m).versioning_override, "auto_upgrade", True),
}
"""By words of what is then found: edits of each part of a clock that the server lets anyone edit."""


@pytest.mark.fault("F10")
async def test_an_edit_of_any_part_of_a_clock_is_undone_and_recorded(idle: Stack) -> None:
    # given clocks of which each is edited in another part
    agent = await idle.agent(URL)
    rows = {words: await idle.schedule(agent) for words in EDITS}
    for words, edit in EDITS.items():
        await _edit(idle, rows[words], edit)
    # when a sweep describes them
    findings = await _sweeper(idle, described=len(rows)).sweep()
    # then each is found, and told apart
    found = {finding.schedule_id: finding.text for finding in findings}
    assert {words: words in found.get(row.id, "") for words, row in rows.items()} == dict.fromkeys(EDITS, True)
    # and put right, and recorded
    for row in rows.values():
        assert await _drift_of(idle, row.id) is None
        assert (await _revisions(idle, row.id))[-1].note == found[row.id]


async def test_another_row_version_is_undone_and_recorded(idle: Stack) -> None:
    # given a clock that says to be of a version that there is not
    schedule = await idle.schedule(await idle.agent(URL))
    await _edit(idle, schedule, lambda message: None, row_version=99)
    # when a sweep sees it
    (finding,) = await eventually(lambda: _found(_sweeper(idle, described=0)))
    # then it is put right, and recorded
    assert finding.text == "In the clock the version of its row was 99 instead of 1."
    described = await idle.base.clock.describe(schedule.id)
    assert described is not None
    assert described.version == 2
    assert [each.kind for each in await _revisions(idle, schedule.id)] == [ChangeKind.CREATED, ChangeKind.REPAIRED]


async def test_a_list_raises_no_suspicion_about_clocks_that_are_right(idle: Stack) -> None:
    # given clocks of each sort, whose rows are at several versions
    agent = await idle.agent(URL)
    start, end = datetime(2030, 1, 1, 0, 0, 7, 250_000, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
    rows = [
        await idle.schedule(agent, Cron("*/20 8-18/2 1,15 jan-jun *", "America/New_York"), start_at=start, end_at=end),
        await idle.schedule(agent, Cron("0 0 * * *", "UTC"), jitter=timedelta(seconds=5)),
        await idle.schedule(agent, Interval(timedelta(days=90), timedelta(seconds=7)), paused=True),
    ]
    for row in rows:
        await idle.services.schedules.update(OPEN_ACTOR, row.id, {"description": "words"}, expected_version=1)
    counting = CountingReconciler(idle)
    sweep = Sweeper(
        idle.base.database,
        idle.base.clock,
        ClockList(idle.base.temporal, page=2),
        counting,  # type: ignore[arg-type]  # the one method that looking needs
        described=0,
    )
    # when visibility knows them all

    async def unsuspected() -> bool | None:
        counting.asked.clear()
        assert await sweep.look() == []
        return True if not counting.asked else None

    # then nothing is described
    assert await eventually(unsuspected)


@pytest.mark.fault("F9")
async def test_every_clock_is_rebuilt_after_temporal_came_back_empty(idle: Stack) -> None:
    agent = await idle.agent(URL)
    rows = [await idle.schedule(agent) for _ in range(12)]
    for row in rows:
        await idle.base.clock.delete(row.id)
    findings = await sweeper(idle.base).sweep()
    assert {finding.schedule_id for finding in findings} == {row.id for row in rows}
    assert [await _drift_of(idle, row.id) for row in rows] == [None] * 12
    assert await sweeper(idle.base).sweep() == []


@pytest.mark.fault("F5")
async def test_a_clock_that_comes_back_after_its_schedule_was_deleted_is_removed(idle: Stack) -> None:
    # given a create that was stalled, and lands after the delete
    agent = await idle.agent(URL)
    schedule = await idle.schedule(agent)
    await idle.services.schedules.delete(OPEN_ACTOR, schedule.id, expected_version=None, note=None)
    await idle.base.clock.create(DesiredClock(schedule.id, 1, schedule.definition), "stalled")
    # when a sweep sees it
    (finding,) = await eventually(lambda: _found(_sweeper(idle, described=0)))
    # then it is gone, and that is on record
    assert (finding.kind, finding.schedule_id) == (FindingKind.DRIFTED, schedule.id)
    assert await idle.base.clock.describe(schedule.id) is None
    kinds = [revision.kind for revision in await _revisions(idle, schedule.id)]
    assert kinds == [ChangeKind.CREATED, ChangeKind.DELETED, ChangeKind.REPAIRED]


async def test_a_stray_is_removed_and_what_is_not_ours_stays(idle: Stack) -> None:
    # given a clock of ours without a row, and another installation's
    stray, foreign = new_id(), new_id()
    await idle.base.clock.create(DesiredClock(stray, 1, definition(YEARLY)), "stray")
    another = Clock(idle.base.temporal, task_queue="another")
    await another.create(DesiredClock(foreign, 1, definition(YEARLY)), "foreign")
    # when it is young, it stays
    assert await _found(_sweeper(idle, least_age=timedelta(days=1))) is None
    assert await idle.base.clock.describe(stray) is not None
    # when it is of age
    sweep = _sweeper(idle, least_age=timedelta(0))
    (finding,) = await eventually(lambda: _found(sweep))
    # then it alone is removed
    assert (finding.kind, finding.schedule_id) == (FindingKind.STRAY, stray)
    assert await idle.base.clock.describe(stray) is None

    async def listed() -> bool | None:
        return True if foreign in await ClockList(idle.base.temporal).all() else None

    assert await eventually(listed)
    assert await sweep.look() == []
    assert await idle.base.clock.describe(foreign) is not None


async def test_a_neighbours_many_clocks_are_looked_at_in_turn(idle: Stack) -> None:
    # given more clocks of another installation than are looked at in one sweep, and a stray behind them
    clock = CountingClock(idle.base.clock)
    another = Clock(idle.base.temporal, task_queue="another")
    *foreign, stray = sorted(new_id() for _ in range(5))
    for schedule_id in foreign:
        await another.create(DesiredClock(schedule_id, 1, definition(YEARLY)), "foreign")
    await clock.create(DesiredClock(stray, 1, definition(YEARLY)), "stray")
    strays = Strays(idle.base.database, clock, timedelta(0), looked_at=3)
    # when they are looked for, then a few are described each time, and each of the neighbour's only once
    assert (await strays.among([*foreign, stray]), clock.describes) == ([], 3)
    ((found, _),) = await strays.among([*foreign, stray])
    assert (found, clock.describes) == (stray, 5)
    assert len(await strays.among([*foreign, stray])) == 1
    assert clock.describes == 6


async def test_looking_writes_nothing(idle: Stack) -> None:
    # given a clock that is missing, a row that waits and one that was refused
    agent = await idle.agent(URL)
    missing, waits, refused = [await idle.schedule(agent) for _ in range(3)]
    await idle.base.clock.delete(missing.id)
    async with idle.base.database.transaction() as connection:
        for row, values in ((waits, {}), (refused, {"clock_error": "No.", "clock_error_version": 2})):
            await connection.execute(update(schedules).where(schedules.c.id == row.id).values(version=2, **values))
    # when someone looks
    findings = {finding.schedule_id: finding.kind for finding in await sweeper(idle.base).look()}
    # then it is told, and left as it is
    kinds = (FindingKind.MISSING, FindingKind.PENDING, FindingKind.REFUSED)
    assert findings == dict(zip((missing.id, waits.id, refused.id), kinds, strict=True))
    assert await idle.base.clock.describe(missing.id) is None
    assert len(await _revisions(idle, missing.id)) == 1


@pytest.mark.fault("F25")
async def test_one_row_that_cannot_be_read_harms_no_other(idle: Stack) -> None:
    agent = await idle.agent(URL)
    poisoned, other = [await idle.schedule(agent) for _ in range(2)]
    async with idle.base.database.transaction() as connection:
        await connection.execute(
            update(schedules).where(schedules.c.id == poisoned.id).values(cron_expression="poison", time_zone="Moon")
        )
    await idle.base.clock.delete(other.id)
    (finding,) = await sweeper(idle.base).sweep()
    assert finding.schedule_id == other.id
    assert await _drift_of(idle, other.id) is None
    assert await idle.base.clock.describe(poisoned.id) is not None


async def test_a_duty_is_done_by_one_and_when_it_is_due(idle: Stack) -> None:
    # given several workers with the same duty
    done: list[None] = []

    async def step() -> None:
        done.append(None)
        # while one is at it, nobody else begins
        assert not await Duty(idle.base.database, "test", timedelta(0), step).turn()

    often = [Duty(idle.base.database, "test", timedelta(0), step) for _ in range(2)]
    seldom = Duty(idle.base.database, "test", timedelta(hours=1), step)
    # then it is done again and again, but not before it is due
    assert [await duty.turn() for duty in often] == [True, True]
    assert not await seldom.turn()
    # and who is gone without giving it back is replaced once the lease is over
    async with idle.base.database.transaction() as connection:
        await connection.execute(update(duties).values(held_until=datetime.now(UTC) + timedelta(hours=1)))
    assert not await often[0].turn()
    async with idle.base.database.transaction() as connection:
        await connection.execute(update(duties).values(held_until=datetime.now(UTC) - timedelta(seconds=1)))
    assert await often[0].turn()
    assert len(done) == 3


class CountingReconciler:
    """Remembers which clocks were described."""

    def __init__(self, running: Stack) -> None:
        self._reconciler = running.base.reconciler
        self.asked: list[UUID] = []

    async def drift(self, schedule: Schedule) -> Drift | None:
        self.asked.append(schedule.id)
        return await self._reconciler.drift(schedule)


async def _edit(
    running: Stack, schedule: Schedule, edit: Callable[[ScheduleMessage], object], row_version: int | None = None
) -> None:
    """Change a clock as anyone may, and wait until it is changed."""
    before = await running.base.clock.describe(schedule.id)
    assert before is not None
    message = ScheduleMessage()
    message.CopyFrom(before.message)
    edit(message)
    payload = Payload(metadata={"encoding": b"json/plain", "type": b"Int"}, data=str(row_version).encode())
    request = UpdateScheduleRequest(
        namespace=running.base.temporal.namespace,
        schedule_id=clock_id(schedule.id),
        schedule=message,
        search_attributes=SearchAttributes(indexed_fields={"RowVersion": payload}) if row_version else None,
    )
    await running.base.temporal.workflow_service.update_schedule(request)

    async def taken() -> bool | None:
        now = await running.base.clock.describe(schedule.id)
        return (now is not None and now.conflict_token != before.conflict_token) or None

    await eventually(taken)


def _sweeper(running: Stack, *, described: int = 0, least_age: timedelta = timedelta(seconds=10)) -> Sweeper:
    clocks = ClockList(running.base.temporal)
    base = running.base
    return Sweeper(base.database, base.clock, clocks, base.reconciler, described=described, least_age=least_age)


async def _found(sweep: Sweeper) -> list[Finding] | None:
    return await sweep.sweep() or None


async def _rows(running: Stack, ids: list[UUID]) -> list[Schedule]:
    found = await running.services.schedule_queries.get_many(OPEN_ACTOR, ids)
    return [found[schedule_id] for schedule_id in ids]


async def _drift_of(running: Stack, schedule_id: UUID) -> Drift | None:
    (row,) = await _rows(running, [schedule_id])
    return await running.base.reconciler.drift(row)


async def _revisions(running: Stack, schedule_id: UUID) -> list[Any]:
    query = select(schedule_revisions).where(schedule_revisions.c.schedule_id == schedule_id)
    async with running.base.database.read() as connection:
        return list(await connection.execute(query.order_by(schedule_revisions.c.version)))
