"""What a change costs in statements and calls: held here, so that none comes back that is not needed."""

from collections.abc import AsyncIterator

import pytest

from nextfire.embedded import Temporal
from tests.schema.api import Api
from tests.stack import Stack, stack
from tests.statements import statements


@pytest.fixture
async def running(database_url: str, temporal: Temporal) -> AsyncIterator[Stack]:
    async with stack(database_url, temporal.address, worker=False) as built:
        yield built


async def test_an_update_that_leaves_the_clock_alone_is_two_statements_in_one_transaction(running: Stack) -> None:
    schedule = await running.schedule(await running.agent("http://127.0.0.1:9"))
    wanted = {"id": f"Schedule:{schedule.id}", "expectedVersion": 1, "description": "words", "taskParams": {"a": 1}}
    with statements(running.base.database) as sent:
        answer = await Api(running.services).change(
            "updateSchedule", wanted, "... on ScheduleUpdated { schedule { version description clock { status } } }"
        )
    assert answer["schedule"] == {"version": 2, "description": "words", "clock": {"status": "IN_SYNC"}}
    lock, write = [each for each in sent if not each.startswith("NOTIFY")]
    assert lock.endswith("FOR UPDATE")
    assert all(part in write for part in ("UPDATE agent_run_schedules", "schedule_revisions", "INTO events"))


async def test_what_does_not_differ_is_one_statement(running: Stack) -> None:
    schedule = await running.schedule(await running.agent("http://127.0.0.1:9"))
    wanted = {"id": f"Schedule:{schedule.id}", "expectedVersion": 1, "name": schedule.name}
    with statements(running.base.database) as sent:
        await Api(running.services).change("updateSchedule", wanted)
    assert len([each for each in sent if not each.startswith("NOTIFY")]) == 1, sent
