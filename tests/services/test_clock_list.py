"""Listing all clocks of a server that does not answer at once."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest
from temporalio.service import RPCStatusCode

from services.clock_list import ClockList
from services.temporal_calls import TemporalAway
from tests.simulation.temporal import Engine, Network, Refusal, SimulatedTemporal, client
from tests.simulation.temporal.network import Answer


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


def _clocks(network: Network) -> ClockList:
    return ClockList(client(SimulatedTemporal(Engine.V1, random.Random(1)).handle, network))
