"""Live values: one call for a page, strong reads where they matter, and an answer in time whatever Temporal does."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from nextfire.embedded import Temporal, running_temporal
from nextfire.processes import free_port
from services.live import LiveStatus
from services.live_reader import LiveReader, Wanted
from services.principals import OPEN_ACTOR
from services.schedule import ClockStatus, Schedule
from tests.clocks import CountingClock
from tests.stack import YEARLY, Stack, stack
from tests.waiting import eventually, wait_until

PATIENT = partial(LiveReader, budget=timedelta(seconds=30), shared_for=timedelta(seconds=60))
"""For tests that are not about time, on a machine that may be busy."""
URL = "http://127.0.0.1:9/agent"


@pytest.fixture
async def running(database_url: str, temporal: Temporal) -> AsyncIterator[Stack]:
    async with stack(database_url, temporal.address, worker=False) as built:
        yield built


@pytest.fixture
def own_temporal(tmp_path: Path) -> Iterator[Temporal]:
    """A Temporal server of this test's own, which it may harm."""
    with running_temporal(tmp_path / "temporal", free_port(), free_port(), tmp_path / "temporal.log") as server:
        yield server


async def _page(running: Stack, count: int) -> list[Schedule]:
    agent = await running.agent(URL)
    made = [await running.schedule(agent, YEARLY) for _ in range(count)]

    async def visible() -> bool | None:
        listed = await running.base.clock.look_up([each.id for each in made], timeout=timedelta(seconds=5))
        return True if len(listed) == count else None

    await eventually(visible)
    return made


async def test_a_page_is_one_list_call_that_concurrent_readers_share(running: Stack) -> None:
    # given a page of schedules whose clocks are applied
    page = await _page(running, 12)
    clock = CountingClock(running.base.clock)
    reader = PATIENT(clock)
    # when three readers want it at once
    answers = await asyncio.gather(*(reader.read([Wanted(each) for each in page]) for _ in range(3)))
    # then one call served them all, and it served the next one as well
    assert all(live.status is LiveStatus.AVAILABLE for answer in answers for live in answer)
    again = await reader.read([Wanted(each) for each in page])
    assert [live.values for live in again] == [live.values for live in answers[0]]
    assert (clock.lists, clock.describes) == ([12], 0)
    # and the values are those of the clock
    first = again[0].values
    assert first is not None
    assert (first.next_fires[0].month, first.next_fires[0].day) == (1, 1)


async def test_what_a_list_cannot_tell_is_described(running: Stack) -> None:
    page = await _page(running, 3)
    clock = CountingClock(running.base.clock)
    # given a row that is ahead of its clock, one that the list does not know, and one that wants counters
    behind = _with(page[0], version=2)
    gone = _with(page[1], clock_version=99)
    wanted = [Wanted(behind), Wanted(gone), Wanted(page[2], counters=True)]
    # when they are read
    first, second, third = await PATIENT(clock).read(wanted)
    # then each is described, and the one that is behind says so
    assert first.status is LiveStatus.NOT_SYNCED
    assert second.status is LiveStatus.AVAILABLE
    assert third.values is not None
    assert third.values.counters is not None
    assert (clock.lists, clock.describes) == ([2], 3)


async def test_more_than_a_hundred_take_a_call_for_each_hundred(running: Stack) -> None:
    page = await _page(running, 2)
    many = [*page, *(_with(page[0], id=UUID(int=number)) for number in range(1, 150))]
    clock = CountingClock(running.base.clock)
    answers = await PATIENT(clock).read([Wanted(each) for each in many])
    assert clock.lists == [100, 51]
    assert [live.status for live in answers[:2]] == [LiveStatus.AVAILABLE] * 2
    assert {live.status for live in answers[2:]} == {LiveStatus.NOT_SYNCED}


async def test_a_server_that_is_gone_and_one_that_is_mute_give_a_reason_in_time(
    database_url: str, own_temporal: Temporal
) -> None:
    async with stack(database_url, own_temporal.address, worker=False) as running:
        page = await _page(running, 2)
        # when it is frozen
        os.kill(own_temporal.child.pid, signal.SIGSTOP)
        mute = await LiveReader(running.base.clock).read([Wanted(each) for each in page])
        changed = await running.services.schedules.pause(OPEN_ACTOR, page[0].id, expected_version=None, note=None)
        os.kill(own_temporal.child.pid, signal.SIGCONT)
        # then the read says so, the change is kept, and neither waited for Temporal to thaw
        assert [live.status for live in mute] == [LiveStatus.TIMED_OUT] * 2
        assert changed.definition.paused
        assert changed.clock.status is ClockStatus.PENDING
        # when it is killed
        os.kill(own_temporal.child.pid, signal.SIGKILL)
        wait_until(lambda: own_temporal.child.exit_code is not None)
        dead = await LiveReader(running.base.clock).read([Wanted(each) for each in page])
        assert [live.status for live in dead] == [LiveStatus.UNAVAILABLE] * 2
        assert all(live.values is None for live in dead)


def _with(schedule: Schedule, **columns: Any) -> Schedule:
    """The schedule as if its row held these."""
    return Schedule(dict(schedule.row.items()) | columns)
