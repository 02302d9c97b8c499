"""The search attribute RowVersion is gone, as with a Temporal that came back empty."""

from pathlib import Path

from temporalio.api.operatorservice.v1 import RemoveSearchAttributesRequest

from nextfire.embedded import running_temporal
from nextfire.processes import free_port
from nextfire.worker import sweeper
from services.clock import TemporalAway
from services.clock_values import ROW_VERSION
from services.principals import OPEN_ACTOR
from services.schedule import ClockStatus
from tests.stack import Stack, stack
from tests.waiting import eventually


async def test_it_is_registered_anew_and_no_clock_is_taken_for_refused(database_url: str, tmp_path: Path) -> None:
    with running_temporal(tmp_path / "temporal", free_port(), free_port(), tmp_path / "temporal.log") as server:
        async with stack(database_url, server.address, worker=False) as running:
            # given a process that has registered it, and a server that knows neither it nor the clock
            schedule = await running.schedule(await running.agent("http://127.0.0.1:9/agent"))
            await running.base.clock.delete(schedule.id)
            removal = RemoveSearchAttributesRequest(namespace="default", search_attributes=[ROW_VERSION])
            await running.base.temporal.operator_service.remove_search_attributes(removal)
            # when the clock is rebuilt
            await eventually(lambda: _rebuilt(running))
            # then it is there with its version, and nothing was taken for a refusal
            described = await running.base.clock.describe(schedule.id)
            assert described is not None
            assert described.version == 2
            (row,) = (await running.services.schedule_queries.get_many(OPEN_ACTOR, [schedule.id])).values()
            assert (row.clock.status, row.clock.error) == (ClockStatus.IN_SYNC, None)


async def _rebuilt(running: Stack) -> bool | None:
    sweep = sweeper(running.base)
    try:
        for finding in await sweep.look():
            await sweep.put_right(finding)
        return True if not await sweep.look() else None
    except TemporalAway:
        return None
