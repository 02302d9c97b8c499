"""The search attribute RowVersion is gone, as with a Temporal that came back empty, or cannot be had."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.operatorservice.v1 import RemoveSearchAttributesRequest
from temporalio.service import RPCStatusCode

from nextfire.embedded import running_temporal
from nextfire.processes import free_port
from nextfire.worker import sweeper
from services.clock import Clock, TemporalAway
from services.clock_spec import DesiredClock
from services.clock_values import ROW_VERSION
from services.principals import OPEN_ACTOR
from services.schedule import ClockStatus
from services.tables import new_id
from tests.simulation.temporal import Engine, Network, Refusal, SimulatedTemporal, client
from tests.simulation.temporal.network import Answer
from tests.stack import Stack, definition, stack
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


class Racing(Network):
    """One on which another process registers the attribute once a clock was refused for the lack of it."""

    def __init__(self, register: Callable[[], Awaitable[object]]) -> None:
        self._register = register

    async def carry(self, rpc: str, timeout: timedelta | None, answer: Callable[[], Answer]) -> Answer:
        try:
            return answer()
        except Refusal as refusal:
            if ROW_VERSION in refusal.message:
                await self._register()
            raise


async def test_no_clock_is_taken_for_refused_where_another_process_registers_it_first() -> None:
    # given a process that has registered it, a server that came back empty, and another process that is quicker
    server = SimulatedTemporal(Engine.V1, random.Random(1))
    others = Clock(client(server.handle, Network()), task_queue="queue")
    clock = Clock(client(server.handle, Racing(others.prepare)), task_queue="queue")
    await clock.prepare()
    server.wipe()
    # when a clock is made, then that is to be tried again, and not refused
    wanted = DesiredClock(new_id(), 3, definition())
    with pytest.raises(TemporalAway):
        await clock.create(wanted, "a request")
    await clock.create(wanted, "a request")
    described = await clock.describe(wanted.schedule_id)
    assert described is not None
    assert described.version == 3


class Denying(Network):
    """One behind which these calls need a permission that we do not have."""

    def __init__(self, *denied: str) -> None:
        self._denied = denied

    async def carry(self, rpc: str, timeout: timedelta | None, answer: Callable[[], Answer]) -> Answer:
        if rpc in self._denied:
            raise Refusal(RPCStatusCode.PERMISSION_DENIED, "Request unauthorized.")
        return answer()


async def test_a_clock_goes_without_it_where_the_namespace_denies_it() -> None:
    # given a namespace that lets us neither register it nor ask for it
    server = SimulatedTemporal(Engine.CHASM, random.Random(1))
    network = Denying("add_search_attributes", "list_search_attributes")
    clock = Clock(client(server.handle, network), task_queue="queue")
    # when a clock is made, then it is as it should be, and one of the next version is no other
    wanted = DesiredClock(new_id(), 3, definition())
    await clock.create(wanted, "a request")
    described = await clock.describe(wanted.schedule_id)
    assert described is not None
    assert (described.version, described.form) == (None, await clock.desired_form(wanted))
    assert described.form == await clock.desired_form(replace(wanted, version=4))


async def test_no_clock_is_taken_for_refused_for_want_of_a_permission() -> None:
    server = SimulatedTemporal(Engine.CHASM, random.Random(1))
    clock = Clock(client(server.handle, Denying("create_schedule", "update_schedule")), task_queue="queue")
    wanted = DesiredClock(new_id(), 1, definition())
    for write in (clock.create(wanted, "a request"), clock.update(wanted, b"", "a request")):
        with pytest.raises(TemporalAway):
            await write
