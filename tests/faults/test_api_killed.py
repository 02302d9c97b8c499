"""The API dies in the middle of a mutation: what was not committed is not there, and what was is made true."""

import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from resolvers.ids import NOBODY
from services.failpoints import Failpoint
from tests.agents.scripted import ScriptedAgent
from tests.faults.installation import OFTEN, YEARLY, Api, Installation, Unanswered
from tests.faults.oracle import Oracle

NAME = {"name": "nightly", "idempotencyKey": "once"}


Change = Callable[[Api, UUID, UUID], Awaitable[Any]]
CHANGES: dict[str, Change] = {
    "create": lambda api, agent_id, _: api.create(agent_id, YEARLY),
    "update": lambda api, _, schedule_id: api.update(schedule_id, 1, cadence={"interval": {"everySeconds": 3600}}),
    "delete": lambda api, _, schedule_id: api.act("delete", schedule_id),
}


async def cut_off(api: Api, agent_id: UUID, point: Failpoint) -> None:
    """Ask for a schedule of an API that dies over it."""
    with pytest.raises(Unanswered):
        await api.create(agent_id, OFTEN, **NAME)
    await api.program.killed(point)


@pytest.mark.fault("F2")
async def test_killed_before_the_commit_it_has_done_nothing_and_the_retry_works(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent
) -> None:
    async with installation.running() as (api, _):
        agent_id = await api.agent(scripted_agent.url)
        # when an API dies before its commit
        async with installation.api("before_commit=kill") as doomed:
            await cut_off(doomed, agent_id, Failpoint.BEFORE_COMMIT)
        # then nothing is there: no row, no revision, no event, no key
        for table in ("agent_run_schedules", "schedule_revisions", "events", "idempotency_keys"):
            assert await installation.rows(f"SELECT * FROM {table}") == []
        # and the same request makes it
        schedule = await api.create(agent_id, OFTEN, **NAME)
        await installation.ran(schedule["id"], 1)
        await oracle.verdict(api)


@pytest.mark.fault("F1")
async def test_killed_after_the_commit_the_worker_makes_it_true_and_the_retry_finds_it(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent
) -> None:
    async with installation.running() as (api, _):
        agent_id = await api.agent(scripted_agent.url)
        # when an API dies between its commit and Temporal
        async with installation.api("after_commit=kill") as doomed:
            await cut_off(doomed, agent_id, Failpoint.AFTER_COMMIT)
            died = time.monotonic()
        # then the worker makes the clock, and it fires
        row = await installation.until("SELECT * FROM agent_run_schedules")
        await installation.in_sync("Heal: dirty row", since=died)
        await installation.ran(row["id"], 1)
        # and the retry answers with the same schedule
        assert (await api.create(agent_id, OFTEN, **NAME))["id"] == row["id"]
        assert len(await installation.rows("SELECT * FROM agent_run_schedules")) == 1
        installation.figures.add("Acknowledged mutations lost", 0)
        await oracle.verdict(api)


@pytest.mark.fault("F3")
@pytest.mark.matrix
@pytest.mark.parametrize("change", [*CHANGES])
async def test_killed_after_temporal_took_it_nothing_is_written_twice(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent, change: str
) -> None:
    async with installation.api() as api:
        agent_id = await api.agent(scripted_agent.url)
        # given an API that dies once Temporal has taken its write
        schedule_id = NOBODY if change == "create" else (await api.create(agent_id, YEARLY))["id"]
        async with installation.api("after_clock_accepted=kill") as doomed:
            with pytest.raises(Unanswered):
                await CHANGES[change](doomed, agent_id, schedule_id)
            await doomed.program.killed(Failpoint.AFTER_CLOCK_ACCEPTED)
        row = await installation.until("SELECT id, version, applied_version FROM agent_run_schedules")
        assert row["applied_version"] != row["version"]
        written = await written_at(installation, row["id"])
        # when a worker looks, once the lease is over
        async with installation.worker() as worker:
            await installation.in_sync()
            # then it finds the clock as it should be, and writes nothing
            assert await written_at(installation, row["id"]) == written
            assert [entry for entry in worker.log() if entry.get("level") == "error"] == []
            await oracle.verdict(api)


async def written_at(installation: Installation, schedule_id: UUID) -> object:
    """What changes with each write of a clock; None where there is none."""
    described = await installation.describe(schedule_id)
    return described.conflict_token if described else None
