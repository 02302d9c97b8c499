"""Listing all clocks: of a server that does not answer at once, and beside others that look alike."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest
from temporalio.api.workflowservice.v1 import CreateScheduleRequest, ListSchedulesRequest
from temporalio.service import RPCStatusCode

from services.clock import Clock
from services.clock_list import ClockList
from services.clock_spec import DesiredClock
from services.schedule import CLOCK_PREFIX
from services.tables import new_id
from services.temporal_calls import TemporalAway
from tests.simulation.temporal import Engine, Network, Refusal, SimulatedTemporal, client
from tests.simulation.temporal.network import Answer
from tests.stack import definition
from tests.waiting import eventually


class Failing(Network):
    """One on which the first calls end like this."""

    def __init__(self, *statuses: RPCStatusCode) -> None:
        self.left = [*statuses]

    async def carry(self, rpc: str, timeout: timedelta | None, answer: Callable[[], Answer]) -> Answer:
        if self.left:
            raise Refusal(self.left.pop(0), "as it is")
        return answer()


async def test_it_has_patience_with_a_server_that_is_busy() -> None:
    network = Failing(RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.UNAVAILABLE)
    assert await _clocks(network).all() == {}
    assert network.left == []


async def test_it_does_not_ask_again_where_nothing_answers() -> None:
    network = Failing(RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.DEADLINE_EXCEEDED)
    with pytest.raises(TemporalAway):
        await _clocks(network).all()
    assert len(network.left) == 1


async def test_another_way_to_write_an_id_is_another_clock() -> None:
    # given a clock that is gone, and one by the same id in capitals
    connected = client(SimulatedTemporal(Engine.CHASM, random.Random(1)).handle, Network())
    clock, clocks = Clock(connected, task_queue="queue"), ClockList(connected)
    wanted = DesiredClock(new_id(), 1, definition())
    await clock.create(wanted, "a request")
    described = await clock.describe(wanted.schedule_id)
    assert described is not None
    await clock.delete(wanted.schedule_id)
    alike = f"{CLOCK_PREFIX}{str(wanted.schedule_id).upper()}"
    others = {alike, f"{CLOCK_PREFIX}other"}
    for schedule_id in others:
        request = CreateScheduleRequest(schedule_id=schedule_id, schedule=described.message, request_id=schedule_id)
        await connected.workflow_service.create_schedule(request)
    # when all are listed, then neither is ours
    query = ListSchedulesRequest(maximum_page_size=10, query=f"ScheduleId STARTS_WITH '{CLOCK_PREFIX}'")

    async def visible() -> bool | None:
        answer = await connected.workflow_service.list_schedules(query)
        return {each.schedule_id for each in answer.schedules} == others or None

    await eventually(visible)
    assert await clocks.all() == {}


def _clocks(network: Network) -> ClockList:
    return ClockList(client(SimulatedTemporal(Engine.V1, random.Random(1)).handle, network))
