"""A process freezes with a plan for a clock in its hands, loses its lease, and wakes up when the plan is old."""

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack

import pytest

from services.failpoints import Failpoint
from tests.agents.scripted import ScriptedAgent
from tests.faults.installation import OFTEN, YEARLY, Installation, Unanswered
from tests.faults.oracle import Oracle, our_clocks
from tests.waiting import eventually

FROZEN_BEFORE_IT_WRITES = "before_clock_write=freeze; after_clock_accepted=wait:0"


@pytest.mark.fault("F4")
@pytest.mark.matrix
async def test_an_old_plan_for_an_update_changes_nothing(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent
) -> None:
    async with (
        installation.api() as api,
        installation.api(FROZEN_BEFORE_IT_WRITES) as frozen,
        AsyncExitStack() as later,
    ):
        schedule = await api.create(await api.agent(scripted_agent.url), YEARLY)
        # given an API that freezes before it writes the clock of version 2
        asked = asyncio.create_task(frozen.update(schedule["id"], 1, cadence=OFTEN))
        await frozen.program.frozen(Failpoint.BEFORE_CLOCK_WRITE)
        # and a version 3, which a worker applies once the lease is over
        await later.enter_async_context(installation.worker())
        third = await api.update(schedule["id"], 2, cadence={"interval": {"everySeconds": 7200}})
        assert third["version"] == 3
        await installation.in_sync()
        # when it wakes up, and sends what it had in mind
        frozen.program.thaw()
        await asyncio.wait_for(_answered(asked), 60)
        await frozen.program.says("reconcile_later")
        # then the clock is still that of version 3
        described = await installation.describe(schedule["id"])
        assert described is not None
        assert described.version == 3
        row = await installation.row("SELECT version, applied_version FROM agent_run_schedules")
        assert row is not None
        assert (row["version"], row["applied_version"]) == (3, 3)
        await oracle.verdict(api)


@pytest.mark.fault("F5")
@pytest.mark.matrix
async def test_a_create_that_lands_after_the_delete_is_removed_and_delivers_nothing(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent
) -> None:
    async with (
        installation.api() as api,
        installation.api(FROZEN_BEFORE_IT_WRITES) as frozen,
        AsyncExitStack() as later,
    ):
        agent_id = await api.agent(scripted_agent.url)
        # given an API that freezes before it makes a clock
        asked = asyncio.create_task(frozen.create(agent_id, OFTEN))
        await frozen.program.frozen(Failpoint.BEFORE_CLOCK_WRITE)
        row = await installation.until("SELECT id FROM agent_run_schedules")
        # and a delete meanwhile, with a worker there
        await later.enter_async_context(installation.worker())
        await api.act("delete", row["id"])
        await installation.in_sync()
        # when it wakes up, and the clock is made
        frozen.program.thaw()
        await frozen.program.hit(Failpoint.AFTER_CLOCK_ACCEPTED)
        landed = time.monotonic()
        await asyncio.wait_for(_answered(asked), 60)
        # then the zombie is gone soon
        client, queue = await installation.temporal(), await installation.task_queue()

        async def gone() -> bool | None:
            return None if await our_clocks(client, queue) else True

        await eventually(gone, 90)
        installation.figures.took("Heal: orphan", time.monotonic() - landed)
        # and what it brought is on record, and reached nobody
        verdict = await oracle.verdict(api)
        assert {run["skip_reason"] for run in verdict.runs} <= {"SCHEDULE_DELETED"}
        assert scripted_agent.of("message/send") == []
        kinds = await installation.rows("SELECT kind FROM schedule_revisions ORDER BY version")
        assert [row["kind"] for row in kinds] == ["CREATED", "DELETED", "REPAIRED"]


async def _answered(asked: "asyncio.Task[object]") -> None:
    """The caller hears something, or that nobody answered in time: both are right."""
    with contextlib.suppress(Unanswered):
        await asked
