"""`nextfire reconcile` and `nextfire audit`, as an operator runs them."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text, update

from nextfire.embedded import Postgres, Temporal
from nextfire.processes import free_port
from services.clock_spec import DesiredClock
from services.principals import OPEN_ACTOR
from services.sweeps import DESCRIBED
from services.tables import runs, schedules
from tests.programs import environment
from tests.stack import Stack, stack

URL = "http://127.0.0.1:9/agent"


@pytest.fixture
async def running(database_url: str, temporal: Temporal) -> AsyncIterator[Stack]:
    async with stack(database_url, temporal.address, worker=False) as built:
        yield built


async def test_a_dry_run_tells_what_the_next_run_changes(running: Stack, database_url: str, temporal: Temporal) -> None:
    # given two clocks, of which one is missing
    agent = await running.agent(URL)
    schedule, _ = [await running.schedule(agent) for _ in range(2)]
    await running.base.clock.delete(schedule.id)
    variables = environment(database_url, temporal.address, NEXTFIRE_TASK_QUEUE=running.base.task_queue)
    told = f"{schedule.id} {schedule.definition.name} MISSING: There was no clock."
    # when it is only asked, it is told, and left as it is
    assert await _nextfire(variables, "reconcile", "--dry-run") == (1, [told, "1 clock would be changed."])
    assert await running.base.clock.describe(schedule.id) is None
    # when it is to be put right, it is
    assert await _nextfire(variables, "reconcile") == (0, [told, "1 clock put right, 0 left."])
    assert await running.base.clock.describe(schedule.id) is not None
    # and there is nothing left
    assert await _nextfire(variables, "reconcile") == (0, ["Every clock is as its row wants it."])


async def test_it_looks_at_all_of_every_clock(running: Stack, database_url: str, temporal: Temporal) -> None:
    # given a clock that was edited where a list shows nothing, looked at after more clocks than a sweep describes
    schedule = await running.schedule(await running.agent(URL))
    described = await running.base.clock.describe(schedule.id)
    assert described is not None
    edited = replace(schedule.definition, catch_up_window=timedelta(days=3))
    await running.base.clock.update(DesiredClock(schedule.id, 1, edited), described.conflict_token, "by hand")
    names = [column.name for column in schedules.c]
    new = {"id": "gen_random_uuid()", "name": "'copy-' || number", "checked_at": "NULL"}
    copy = f"""
        INSERT INTO agent_run_schedules ({", ".join(names)})
        SELECT {", ".join(new.get(name, name) for name in names)}
        FROM agent_run_schedules, generate_series(1, {DESCRIBED}) AS number
    """
    async with running.base.database.transaction() as connection:
        await connection.execute(text(copy))
    # when someone asks, then it is found
    variables = environment(database_url, temporal.address, NEXTFIRE_TASK_QUEUE=running.base.task_queue)
    code, lines = await _nextfire(variables, "reconcile", "--dry-run")
    assert (code, lines[-1]) == (1, f"{DESCRIBED + 1} clocks would be changed.")
    assert [line for line in lines if line.startswith(str(schedule.id)) and "catch-up window" in line]


async def test_an_audit_prints_its_summary(running: Stack, database_url: str, temporal: Temporal) -> None:
    await running.schedule(await running.agent(URL))
    code, lines = await _nextfire(environment(database_url, temporal.address), "audit", "--hours", "1")
    assert code == 0
    assert lines[0] == "Due times expected  0"
    assert lines[-1] == "Lost runs restarted 0"


async def test_an_audit_says_what_it_could_not_look_at(running: Stack, database_url: str) -> None:
    # given a run that is under way, and a Temporal that does not answer
    schedule = await running.schedule(await running.agent(URL))
    run = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    async with running.base.database.transaction() as connection:
        begun = {"claimed_at": datetime.now(UTC) - timedelta(minutes=5), "temporal_run_id": "lost"}
        await connection.execute(update(runs).where(runs.c.id == run.id).values(begun))
    # when due times are audited, then they are, and it is told that nobody knows of that run
    code, lines = await _nextfire(environment(database_url, f"127.0.0.1:{free_port()}"), "audit")
    assert (code, lines[0]) == (1, "Due times expected  0")
    assert lines[-1] == "Lost runs restarted unknown: Temporal does not answer"


@pytest.mark.parametrize("hours", ["0", "1e9", "nan"])
async def test_an_audit_does_not_look_back_for_ever(postgres: Postgres, database_url: str, hours: str) -> None:
    code, lines = await _nextfire(environment(database_url, "127.0.0.1:9"), "audit", "--hours", hours)
    assert code == 2
    assert "'--hours'" in lines[-1]


async def test_it_says_so_when_temporal_does_not_answer(database_url: str, postgres: Postgres) -> None:
    code, lines = await _nextfire(environment(database_url, f"127.0.0.1:{free_port()}"), "reconcile")
    assert code == 1
    assert lines[-1].startswith("Error: Temporal does not answer at TEMPORAL_ADDRESS")


async def test_it_says_why_temporal_is_of_no_use(database_url: str, temporal: Temporal) -> None:
    variables = environment(database_url, temporal.address, TEMPORAL_NAMESPACE="nowhere")
    code, lines = await _nextfire(variables, "reconcile")
    assert code == 1
    assert "Namespace nowhere is not found" in lines[-1]


async def _nextfire(variables: dict[str, str], *arguments: str) -> tuple[int, list[str]]:
    """Its exit code, and what it prints besides its log."""
    command = [sys.executable, "-m", "nextfire", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, [line for line in output.decode().splitlines() if not line.startswith("{")]
