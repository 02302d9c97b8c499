"""Somebody changes clocks with Temporal's own command: it is found, put right and recorded, while fires go on."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

import pytest

from nextfire.embedded import temporal_program
from services.clock import Clock, Described
from services.clock_spec import DesiredClock
from services.schedule import clock_id
from tests.agents.scripted import ScriptedAgent
from tests.faults.installation import OFTEN, PATIENCE_SECONDS, YEARLY, Installation
from tests.faults.oracle import Oracle, our_clocks
from tests.stack import YEARLY as ONCE_A_YEAR
from tests.stack import definition
from tests.waiting import eventually

pytestmark = pytest.mark.matrix

EACH = 5
DEEDS: dict[str, Sequence[str]] = {
    "Heal: deleted clock": ("delete",),
    "Heal: edited clock": ("update", "--interval", "1h", "--workflow-id", "other", "--type", "Other", "-t", "other"),
    "Heal: paused clock": ("toggle", "--pause", "--reason", "an operator was here"),
}


async def temporal(installation: Installation, *arguments: str) -> str:
    """What `temporal` says."""
    command = [str(temporal_program()), *arguments, "--address", installation.direct_temporal]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.mark.fault("F10")
async def test_what_is_done_with_the_temporal_command_is_undone_and_recorded(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent
) -> None:
    async with installation.running() as (api, _):
        # given clocks, of which one of each kind fires all the time
        agent_id = await api.agent(scripted_agent.url)
        touched: dict[UUID, tuple[str, datetime]] = {}
        for figure, command in DEEDS.items():
            for number in range(EACH):
                schedule = await api.create(agent_id, YEARLY if number else OFTEN)
                await installation.in_sync()
                verb, *options = command
                which = ["--schedule-id", clock_id(schedule["id"])]
                # when somebody changes it in Temporal
                before = await installation.describe(schedule["id"])
                await temporal(installation, "schedule", verb, *which, *options)
                await eventually(partial(_took, installation, schedule["id"], before), PATIENCE_SECONDS)
                touched[schedule["id"]] = (figure, datetime.now(UTC))
                installation.figures.injected(f"clock: {verb}")
        # then each is as it was, and the history says what was wrong with it
        repaired = """
            SELECT s.id, s.applied_at, r.note FROM agent_run_schedules s
            JOIN schedule_revisions r ON r.schedule_id = s.id AND r.kind = 'REPAIRED'
            WHERE s.applied_version = s.version
        """

        async def unhealed() -> list[tuple[str, str]]:
            done = {row["id"] for row in await installation.rows(repaired)}
            return [(str(key), figure) for key, (figure, _) in touched.items() if key not in done]

        async def healed() -> bool | None:
            return None if await unhealed() else True

        with suppress(TimeoutError):
            await eventually(healed, PATIENCE_SECONDS)
        assert await unhealed() == []
        for row in await installation.rows(repaired):
            figure, done = touched[row["id"]]
            installation.figures.took(figure, (row["applied_at"] - done).total_seconds())
            assert row["note"]
        await oracle.verdict(api)


async def _took(installation: Installation, schedule_id: UUID, before: Described | None) -> bool | None:
    """Whether the deed is done: the V1 scheduler says yes first, and may be long in doing it."""
    now = await installation.describe(schedule_id)
    query = "SELECT 1 FROM schedule_revisions WHERE schedule_id = $1 AND kind = 'REPAIRED'"
    differs = now is None or before is None or now.form != before.form
    return True if differs or await installation.rows(query, schedule_id) else None


@pytest.mark.fault("F10")
async def test_clocks_without_rows_are_removed_and_others_are_left_alone(
    installation: Installation, scripted_agent: ScriptedAgent
) -> None:
    async with installation.running():
        client, queue = await installation.temporal(), await installation.task_queue()
        # given clocks of ours that no row stands behind, and one of somebody else
        strays = [uuid4() for _ in range(EACH)]
        made = datetime.now(UTC)
        for schedule_id in strays:
            await Clock(client, task_queue=queue).create(DesiredClock(schedule_id, 1, definition(ONCE_A_YEAR)), "stray")
            installation.figures.injected("clock: stray")
        foreign = uuid4()
        await Clock(client, task_queue="foreign").create(DesiredClock(foreign, 1, definition(ONCE_A_YEAR)), "foreign")
        # then those are removed
        left = set(strays)

        async def removed() -> bool | None:
            gone = left - await our_clocks(client, queue)
            left.difference_update(gone)
            for _ in gone:
                installation.figures.took("Heal: orphan", (datetime.now(UTC) - made).total_seconds())
            return None if left else True

        async def listed() -> bool | None:
            return True if await our_clocks(client, queue) == left else None

        await eventually(listed)
        await eventually(removed, PATIENCE_SECONDS)
        # and the other one is not
        said = await temporal(installation, "schedule", "describe", "--schedule-id", clock_id(foreign), "-o", "json")
        assert json.loads(said)
        await client.get_schedule_handle(clock_id(foreign)).delete()
