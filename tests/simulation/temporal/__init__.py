"""A Temporal server as far as Nextfire uses one, in memory, on the time of the event loop that runs it.

It is reached by the SDK's own client, at the level of single calls; `tests/services/test_clock_contract.py` holds it
against real servers.
"""

from tests.simulation.temporal.network import Network, Refusal, client
from tests.simulation.temporal.schedules import Engine
from tests.simulation.temporal.server import SimulatedTemporal

__all__ = ["Engine", "Network", "Refusal", "SimulatedTemporal", "client"]
