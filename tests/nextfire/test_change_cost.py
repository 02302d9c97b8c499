"""What a change costs in statements and calls: held here, so that none comes back that is not needed."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from nextfire.embedded import Temporal
from services.clock import WRITE_TIMEOUT, Clock, Described
from services.clock_spec import DesiredClock
from services.principals import OPEN_ACTOR
from services.reconcile import Reconciler
from services.schedules import Schedules
from tests.schema.api import Api
from tests.stack import Stack, definition, stack
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
    lock, write = sent
    assert lock.endswith("FOR UPDATE")
    assert all(part in write for part in ("UPDATE agent_run_schedules", "schedule_revisions", "INTO events"))


async def test_what_does_not_differ_is_one_statement(running: Stack) -> None:
    schedule = await running.schedule(await running.agent("http://127.0.0.1:9"))
    wanted = {"id": f"Schedule:{schedule.id}", "expectedVersion": 1, "name": schedule.name}
    with statements(running.base.database) as sent:
        await Api(running.services).change("updateSchedule", wanted)
    assert len(sent) == 1, sent


async def test_a_new_schedule_is_five_statements(running: Stack) -> None:
    agent = await running.agent("http://127.0.0.1:9")
    with statements(running.base.database) as sent:
        await running.schedule(agent)
    required, written, leased, given_back, read = sent
    assert required.endswith("FOR SHARE")
    assert all(part in written for part in ("INTO agent_run_schedules", "schedule_revisions", "INTO events"))
    assert all(each.startswith("UPDATE agent_run_schedules") for each in (leased, given_back))
    assert read.startswith("SELECT")


class Recorded(Clock):
    """Keeps the names of its calls."""

    calls: list[str]

    async def describe(self, schedule_id: UUID, *, timeout: timedelta = WRITE_TIMEOUT) -> Described | None:
        self.calls.append("describe")
        return await super().describe(schedule_id, timeout=timeout)

    async def create(self, desired: DesiredClock, request_id: str) -> None:
        self.calls.append("create")
        await super().create(desired, request_id)


async def test_a_new_clock_is_made_and_read_back_and_not_sought_before(running: Stack) -> None:
    base, agent = running.base, await running.agent("http://127.0.0.1:9")
    clock = Recorded(base.temporal, task_queue=base.task_queue)
    clock.calls = []
    keeper = Reconciler(base.database, clock, base.live, base.starter)
    schedule = await Schedules(base.database, base.notifier, keeper).create(OPEN_ACTOR, agent.id, definition())
    assert schedule.is_applied
    assert clock.calls[:2] == ["create", "describe"]
    # and more often than once only where Temporal does not yet show it
    assert {*clock.calls[2:]} <= {"describe"}


async def test_a_triggered_run_is_seven_statements(running: Stack) -> None:
    schedule = await running.schedule(await running.agent("http://127.0.0.1:9"))
    with statements(running.base.database) as sent:
        await Api(running.services).change(
            "triggerSchedule", {"id": f"Schedule:{schedule.id}"}, "... on ScheduleTriggered { run { id status } }"
        )
    locked, agent, written, frozen, run, started, schedule_as_it_is = sent
    assert locked.endswith("FOR UPDATE")
    assert "INTO runs" in written
    assert "INTO events" in written
    assert "INTO tasks" in frozen
    assert "INTO messages" in frozen
    assert started.startswith("UPDATE runs")
    assert all(each.startswith("SELECT") for each in (agent, run, schedule_as_it_is))
