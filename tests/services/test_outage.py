"""Temporal is away for a while, and the first thing after it is back is a change: the newer scheduler then forgets what
was due meanwhile.
"""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from nextfire.embedded import running_temporal
from nextfire.processes import free_port
from services.clock import TemporalAway
from services.clock_leases import LeaseLost
from services.due import expected_fires
from services.histories import Histories
from services.principals import OPEN_ACTOR
from services.reconcile import Outcome
from services.run import RunStatus
from services.schedule import MissedFirePolicy, OverlapPolicy
from tests.agents.scripted import ScriptedAgent, full, stream
from tests.stack import EVERY_SECOND, YEARLY, Stack, stack
from tests.temporal_options import CHASM
from tests.waiting import eventually


@pytest.mark.fault("F7")
@pytest.mark.parametrize(
    "options", [pytest.param(CHASM, id="chasm"), pytest.param((), id="v1", marks=pytest.mark.matrix)]
)
async def test_a_change_right_after_an_outage_loses_no_due_time(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent, options: Sequence[str]
) -> None:
    scripted_agent.always(stream(full("Yes.")))
    data, port, log = tmp_path / "temporal", free_port(), tmp_path / "temporal.log"
    # The servers outlive the stack, which would else try for long to tell them of its end.
    with ExitStack() as servers:
        server = servers.enter_context(running_temporal(data, port, free_port(), log, options=options))
        async with stack(database_url, server.address) as running:
            # given a schedule that fires, and Temporal goes away for several of its times
            agent = await running.agent(scripted_agent.url)
            policies = {"missed_fire_policy": MissedFirePolicy.RUN_ALL, "overlap_policy": OverlapPolicy.ALLOW}
            schedule = await running.schedule(agent, EVERY_SECOND, **policies)
            await running.first_run(schedule.id, RunStatus.DELIVERED)
            await asyncio.to_thread(server.child.stop, signal.SIGKILL)
            gone = datetime.now(UTC)
            await eventually(lambda: _due_since(running, schedule.id, gone, 5))
            # when the cadence changes meanwhile, and the clock is written as soon as Temporal is back
            changed, _ = await running.services.schedules.update(
                OPEN_ACTOR, schedule.id, {"cadence": YEARLY}, expected_version=1
            )
            assert changed.clock.applied_version == 1
            servers.enter_context(running_temporal(data, port, free_port(), log, options=options))
            await eventually(lambda: _applied(running, schedule.id))
            # then every time that was due before the change has its run
            expected = await _expected(running, schedule.id)
            assert len([fire for fire in expected if fire > gone]) >= 5
            found = {run.fire_at for run in await running.runs(schedule.id)}
            assert set(expected) <= found
            # and each is delivered once
            ended = await eventually(lambda: _all_delivered(running, schedule.id))
            assert set(expected) <= set(ended)
            assert len(ended) == len(set(ended))
            keys = scripted_agent.effects_of("message/send")
            assert len(keys) == len(set(keys)) == len(ended)


async def _expected(running: Stack, schedule_id: UUID) -> list[datetime]:
    since = datetime.now(UTC) - timedelta(days=1)
    pages = [page async for page in Histories(running.base.database).pages(since)]
    (history,) = [history for page in pages for history in page if history.schedule_id == schedule_id]
    return list(expected_fires(history.regimes, history.after, datetime.now(UTC)))


async def _due_since(running: Stack, schedule_id: UUID, since: datetime, count: int) -> bool | None:
    return True if sum(fire > since for fire in await _expected(running, schedule_id)) >= count else None


async def _applied(running: Stack, schedule_id: UUID) -> bool | None:
    try:
        outcome = await running.base.reconciler.reconcile(schedule_id)
    except (TemporalAway, LeaseLost):  # a slow answer may take longer than the lease
        return None
    return True if outcome is Outcome.IN_SYNC else None


async def _all_delivered(running: Stack, schedule_id: UUID) -> list[datetime] | None:
    found = await running.runs(schedule_id)
    return [run.fire_at for run in found] if all(run.status is RunStatus.DELIVERED for run in found) else None
