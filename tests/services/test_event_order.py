"""The order of events: that of the versions, however the changes wait for each other.

Events are read in the order of their transactions' ids. A transaction gets its id with the first row that it writes or
locks, so none may have one while it waits for its schedule: others would pass it by, with higher ids.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import select, text

from nextfire.embedded import Temporal
from services.principals import OPEN_ACTOR
from services.run import Run
from services.tables import schedules
from tests.stack import Stack, stack
from tests.waiting import eventually

URL = "http://127.0.0.1:9"

Change = Callable[[Stack, Run], Awaitable[object]]


@pytest.fixture
async def running(database_url: str, temporal: Temporal) -> AsyncIterator[Stack]:
    async with stack(database_url, temporal.address, worker=False) as built:
        yield built


async def _trigger(running: Stack, run: Run) -> None:
    assert run.schedule_id is not None
    await running.services.manual_runs.trigger(
        OPEN_ACTOR, run.schedule_id, idempotency_key="once", note=None, skip_next_fire=True
    )


async def _retry(running: Stack, run: Run) -> None:
    await running.services.interventions.retry(OPEN_ACTOR, run.id, idempotency_key="once", note=None)


@pytest.mark.parametrize("change", [_trigger, _retry])
async def test_a_change_with_a_key_writes_nothing_before_it_has_its_schedule(running: Stack, change: Change) -> None:
    # given a schedule with a run, and someone who changes it
    schedule = await running.schedule(await running.agent(URL))
    run = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    held = select(schedules.c.id).where(schedules.c.id == schedule.id).with_for_update()
    async with running.base.database.engine.connect() as other:
        await other.execute(held)
        # when another change comes, with an idempotency key
        changed = asyncio.ensure_future(change(running, run))
        waiting = await eventually(lambda: _waiting(running))
        await other.rollback()
    await changed
    # then it waited without a transaction id
    assert waiting == [None]


async def _waiting(running: Stack) -> list[str | None] | None:
    """The transaction ids of who waits for a lock of this database."""
    query = text(
        "SELECT backend_xid::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with running.base.database.read() as connection:
        return list((await connection.execute(query)).scalars()) or None
