"""What the product relies on in Temporal. The simulated server keeps the same contract as the real ones."""

import dataclasses
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.cadence import Cron, Interval
from services.cadence import compile as compile_cadence
from services.calendar import fires
from services.clock import Clock, ClockMoved, ClockRefused, Described
from services.clock_list import Entry
from services.clock_spec import DesiredClock, desired_listed_form
from services.live import LiveValues
from services.lost_runs import WorkflowState
from services.run import RunTrigger
from services.schedule import clock_id
from services.tables import new_id
from services.temporal_calls import TemporalAway
from tests.services.clock_servers import Server, real_servers, server
from tests.simulation.temporal import Engine
from tests.stack import EVERY_SECOND, YEARLY, definition
from tests.waiting import eventually

__all__ = ["real_servers", "server"]

SECOND = timedelta(seconds=1)
WINDOW: dict[str, Any] = {
    "start_at": datetime(2030, 1, 1, 0, 0, 7, 250_000, tzinfo=UTC),
    "end_at": datetime(2099, 1, 1, tzinfo=UTC),
}


def desired(cadence: Cron | Interval = YEARLY, version: int = 1, **values: Any) -> DesiredClock:
    return DesiredClock(new_id(), version, definition(cadence, **values))


@pytest.mark.parametrize(
    ("cadence", "values"),
    [
        (Cron("*/20 8-18/2 1,15 jan-jun mon-fri", "America/New_York"), WINDOW),
        (Cron("30 0 12 * * sun 2030-2032", "Europe/Berlin"), {"jitter": timedelta(minutes=5)}),
        (Interval(timedelta(days=90), timedelta(seconds=7)), {"paused": True, "pause_note": "by hand"}),
        (Interval(timedelta(minutes=7), timedelta(0)), {"catch_up_window": timedelta(days=2)}),
    ],
    ids=["cron with a window", "cron with seconds and years", "paused interval", "interval"],
)
async def test_a_clock_is_described_as_it_was_made(
    server: Server, cadence: Cron | Interval, values: dict[str, Any]
) -> None:
    wanted = desired(cadence, version=7, **values)
    await server.clock.create(wanted, "a request")
    described = await there(server, wanted.schedule_id)
    assert described.form == await server.clock.desired_form(wanted)
    assert await server.clock.differences(wanted, described) == []
    assert described.version == 7
    assert described.message.state.notes == (wanted.definition.pause_note or "")
    assert server.clock.owns(wanted.schedule_id, described)
    # and what is to come is what our calendar says, with a jitter of the server's choice
    assert described.live.paused is wanted.definition.paused
    start, end = wanted.definition.start_at, wanted.definition.end_at
    times = fires(compile_cadence(cadence), datetime.now(UTC), start=start, end=end)
    expected = [] if described.live.paused else list(islice(times, 3))
    late = [at - nominal for at, nominal in zip(described.live.next_fires, expected, strict=False)]
    assert len(late) == len(expected)
    assert all(timedelta(0) <= each <= wanted.definition.jitter for each in late)


async def test_what_is_not_there_is_no_error_to_read_or_remove(server: Server) -> None:
    wanted = desired()
    assert await server.clock.describe(wanted.schedule_id) is None
    await server.clock.delete(wanted.schedule_id)
    with pytest.raises(ClockMoved):
        await server.clock.update(wanted, b"", "a request")


async def test_a_create_is_idempotent_by_its_request(server: Server) -> None:
    # given a clock
    wanted = desired()
    await server.clock.create(wanted, "a request")
    # when the same request comes again, then it is the same clock
    await server.clock.create(wanted, "a request")
    # and another request finds it there
    with pytest.raises(ClockMoved):
        await server.clock.create(dataclasses.replace(wanted, version=2), "another request")
    assert (await there(server, wanted.schedule_id)).version == 1


async def test_an_update_replaces_the_whole_clock(server: Server) -> None:
    # given a paused clock
    before = desired(paused=True, pause_note="wait", jitter=SECOND)
    await server.clock.create(before, "a request")
    token = (await there(server, before.schedule_id)).conflict_token
    # when it is updated with its token
    after = DesiredClock(before.schedule_id, 2, definition(Interval(timedelta(hours=3), SECOND), **WINDOW))
    await server.clock.update(after, token, "another request")
    # then that is all there is
    described = await reads(server, after)
    assert (described.form, described.version) == (await server.clock.desired_form(after), 2)
    assert described.message.state.notes == ""
    assert described.conflict_token != token


async def test_an_update_with_a_stale_token_changes_nothing(server: Server) -> None:
    # given a clock that someone else has written since it was described
    first = desired(EVERY_SECOND)
    await server.clock.create(first, "a request")
    token = (await there(server, first.schedule_id)).conflict_token
    second = DesiredClock(first.schedule_id, 2, definition(EVERY_SECOND, catch_up_window=timedelta(hours=2)))
    await server.clock.update(second, token, "another request")
    count = (await reads(server, second)).live.counters
    assert count is not None
    # when it is updated with the old token, which only the newer scheduler refuses aloud
    third = DesiredClock(first.schedule_id, 3, definition(EVERY_SECOND, catch_up_window=timedelta(hours=3)))
    with suppress(ClockMoved) if server.engine is Engine.V1 else pytest.raises(ClockMoved):
        await server.clock.update(third, token, "a third request")
    # then it stays as it was, whatever else it has done meanwhile
    await eventually(lambda: fired(server, first.schedule_id, count.fire_count + 2))
    described = await there(server, first.schedule_id)
    assert (described.form, described.version) == (await server.clock.desired_form(second), 2)
    await server.clock.delete(first.schedule_id)


async def test_a_removed_clock_can_be_made_again(server: Server) -> None:
    wanted = desired()
    await server.clock.create(wanted, "a request")
    await server.clock.delete(wanted.schedule_id)
    assert await eventually(lambda: absent(server, wanted.schedule_id))
    again = dataclasses.replace(wanted, version=2)
    await server.clock.create(again, "another request")
    assert (await reads(server, again)).version == 2


async def test_lists_show_every_clock_after_a_moment(server: Server) -> None:
    # given three clocks, more than a page
    wanted = [desired(paused=True), desired(Cron("*/5 8-18 * * *", "Asia/Tokyo")), desired(EVERY_SECOND, **WINDOW)]
    for each in wanted:
        await server.clock.create(each, "a request")
    # when visibility knows them
    entries = {each.schedule_id: Entry(1, desired_listed_form(each.definition)) for each in wanted}
    assert await eventually(lambda: all_listed(server, entries)) == entries
    # then they are found by id as well, and only those that are there
    ids = [each.schedule_id for each in wanted]
    found = await server.clock.look_up([*ids, uuid4()], timeout=timedelta(seconds=5))
    assert found.keys() == {*ids}
    assert [found[schedule_id].paused for schedule_id in ids] == [True, False, False]
    assert all(found[schedule_id].version == 1 for schedule_id in ids)
    # and one that is removed is gone after a moment
    await server.clock.delete(ids[0])
    await eventually(lambda: unlisted(server, ids[0]))


async def test_a_clock_starts_a_workflow_for_each_of_its_times(server: Server) -> None:
    wanted = desired(EVERY_SECOND)
    await server.clock.create(wanted, "a request")
    created = (await there(server, wanted.schedule_id)).created_at
    await eventually(lambda: fired(server, wanted.schedule_id, 3))
    # each by an id that ends with its nominal time, and open while nobody works on it
    first = created.replace(microsecond=0) + SECOND
    for nominal in (first, first + SECOND, first + 2 * SECOND):
        assert await server.states.state(workflow_id(wanted, nominal)) is WorkflowState.OPEN
    described = await there(server, wanted.schedule_id)
    assert described.live.last_fire_at is not None
    assert described.live.last_fire_at >= first + 2 * SECOND
    await server.clock.delete(wanted.schedule_id)


async def test_what_was_due_during_a_pause_is_not_made_up_for(server: Server) -> None:
    # given a clock that is paused for some of its times
    paused = desired(EVERY_SECOND, paused=True)
    await server.clock.create(paused, "a request")
    since = datetime.now(UTC).replace(microsecond=0)
    await eventually(lambda: passed(since + 3 * SECOND))
    described = await there(server, paused.schedule_id)
    assert described.live.counters is not None
    assert described.live.counters.fire_count == 0
    # when it is resumed
    resumed = DesiredClock(paused.schedule_id, 2, dataclasses.replace(paused.definition, paused=False))
    await server.clock.update(resumed, described.conflict_token, "another request")
    await eventually(lambda: fired(server, paused.schedule_id, 1))
    # then it fires again, and nothing of what is over
    for nominal in (since + SECOND, since + 2 * SECOND):
        assert await server.states.state(workflow_id(paused, nominal)) is WorkflowState.GONE
    await server.clock.delete(paused.schedule_id)


async def test_what_was_due_in_an_outage_is_caught_up_with(server: Server) -> None:
    # given a clock that fires
    wanted = desired(EVERY_SECOND, catch_up_window=timedelta(hours=1))
    await server.clock.create(wanted, "a request")
    await eventually(lambda: fired(server, wanted.schedule_id, 1))
    # when the server is away for some of its times
    await server.stop()
    gone = datetime.now(UTC).replace(microsecond=0)
    for call in (
        server.clock.describe(wanted.schedule_id),
        server.clocks.all(),
        server.clock.create(wanted, "another"),
    ):
        with pytest.raises(TemporalAway):
            await call
    await eventually(lambda: passed(gone + 4 * SECOND))
    await server.start()
    # then it brings each of them
    times = [gone + number * SECOND for number in range(1, 4)]
    await eventually(lambda: all_open(server, wanted, times))
    await server.clock.delete(wanted.schedule_id)


@pytest.mark.parametrize("server", ["v1", "simulated v1"], indirect=True)
async def test_what_was_due_before_the_catch_up_window_is_only_counted(server: Server) -> None:
    # given a clock that gives up after ten seconds, the least that Temporal knows
    wanted = desired(EVERY_SECOND, catch_up_window=timedelta(seconds=10))
    await server.clock.create(wanted, "a request")
    await eventually(lambda: fired(server, wanted.schedule_id, 1))
    # when the server is away for longer than that
    await server.stop()
    gone = datetime.now(UTC).replace(microsecond=0)
    await eventually(lambda: passed(gone + 12 * SECOND))
    await server.start()
    # then the first times are lost
    await eventually(lambda: missed(server, wanted.schedule_id))
    assert await server.states.state(workflow_id(wanted, gone + SECOND)) is WorkflowState.GONE
    await server.clock.delete(wanted.schedule_id)


async def test_a_clock_that_can_never_be_is_refused(server: Server) -> None:
    wanted = desired()
    clock = Clock(server.client, task_queue="q" * 2_000)
    with pytest.raises(ClockRefused):
        await clock.create(wanted, "a request")
    assert await server.clock.describe(wanted.schedule_id) is None


async def test_a_workflow_is_started_once_by_its_id(server: Server) -> None:
    run, own = uuid4(), f"agent-run:{uuid4()}"
    assert await server.states.state(own) is WorkflowState.GONE
    first = await server.workflows.start_run(own, run, RunTrigger.MANUAL)
    assert await server.workflows.start_run(own, run, RunTrigger.MANUAL) == first
    assert await server.states.state(own) is WorkflowState.OPEN
    # when it has ended, then it is not started again
    await server.client.get_workflow_handle(own).terminate()
    assert await server.states.state(own) is WorkflowState.GONE
    assert await server.workflows.start_run(own, run, RunTrigger.MANUAL) == first
    assert await server.states.state(own) is WorkflowState.GONE


async def there(server: Server, schedule_id: UUID) -> Described:
    described = await server.clock.describe(schedule_id)
    assert described is not None
    return described


async def reads(server: Server, wanted: DesiredClock) -> Described:
    """The clock once it shows what was written, which the V1 scheduler takes its time for."""

    async def shows() -> Described | None:
        described = await server.clock.describe(wanted.schedule_id)
        return described if described is not None and described.version == wanted.version else None

    return await eventually(shows)


async def absent(server: Server, schedule_id: UUID) -> bool | None:
    return True if await server.clock.describe(schedule_id) is None else None


async def all_listed(server: Server, wanted: dict[UUID, Entry]) -> dict[UUID, Entry] | None:
    listed = await server.clocks.all()
    found = {schedule_id: entry for schedule_id, entry in listed.items() if schedule_id in wanted}
    return found if len(found) == len(wanted) else None


async def unlisted(server: Server, schedule_id: UUID) -> bool | None:
    return None if schedule_id in await server.clocks.all() else True


async def fired(server: Server, schedule_id: UUID, count: int) -> LiveValues | None:
    live = (await there(server, schedule_id)).live
    return live if live.counters is not None and live.counters.fire_count >= count else None


async def missed(server: Server, schedule_id: UUID) -> bool | None:
    with suppress(TemporalAway):  # it has only just come back
        counters = (await there(server, schedule_id)).live.counters
        return True if counters is not None and counters.missed_catch_up else None
    return None


async def all_open(server: Server, wanted: DesiredClock, times: list[datetime]) -> bool | None:
    with suppress(TemporalAway):  # it has only just come back
        states = [await server.states.state(workflow_id(wanted, nominal)) for nominal in times]
        return True if {*states} == {WorkflowState.OPEN} else None
    return None


async def passed(at: datetime) -> bool | None:
    return datetime.now(UTC) > at or None


def workflow_id(wanted: DesiredClock, nominal: datetime) -> str:
    return f"{clock_id(wanted.schedule_id)}-{nominal:%Y-%m-%dT%H:%M:%SZ}"
