"""The product under random steps and faults, in virtual time; and whether such a simulation would notice anything.

By default a few short simulations; `make simulate` runs the 1,000 long ones.
"""

import gc
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from nextfire.wiring import Foundation, in_background
from nextfire.worker import START_EVERY, periodically, run_activities
from services.acp import AcpClient
from services.acp_outcomes import Outcome as Sent
from services.activities import RunActivities
from services.deliveries import Delivered, Ended
from services.reconcile import DirtyLoop
from services.settlements import Settlements
from tests.faults.figures import Figures
from tests.simulation.installation import Parts, Pools
from tests.simulation.simulation import Violation, shortened, simulate

SEEDS = int(os.environ.get("NEXTFIRE_SIMULATION_SEEDS") or 50)
STEPS = int(os.environ.get("NEXTFIRE_SIMULATION_STEPS") or 5)
SEED = os.environ.get("NEXTFIRE_SIMULATION_SEED")
CHUNK = 5
LONGER = 25
"""As many as it takes for a fault that the broken part would have to make up for."""
LONG = 60
ALL = [int(SEED)] if SEED else [*range(SEEDS)]

Record = Callable[[str, object], None]

# A process that dies closes nothing, and here what it leaves behind is found by Python instead of its system.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def left_behind() -> Iterator[None]:
    """Nothing of it is found in another test."""
    yield
    gc.collect()


@pytest.mark.parametrize("first", ALL[::CHUNK])
def test_the_invariants_hold_after_any_steps(pools: Pools, first: int, record_property: Record) -> None:
    figures, violations = Figures(), []
    for seed in [each for each in ALL if first <= each < first + CHUNK]:
        try:
            simulate(pools, seed, STEPS, figures)
        except Violation as found:
            violations.append(str(shortened(pools, found)))
    assert not violations, "\n\n".join(violations)
    record_property("figures", json.dumps([figures.faults, figures.counts]))
    assert figures.counts["Due times with a run"] == figures.counts["Due times expected"]
    if not SEED:  # one short seed may be so quiet
        assert figures.counts["Due times expected"] > 0
        assert figures.faults.total() > 0


def test_a_seed_has_one_outcome(pools: Pools) -> None:
    first, second = (simulate(pools, 7, LONG, Figures()) for _ in range(2))
    assert first.steps == second.steps
    for name, rows in first.rows.items():
        assert rows == second.rows[name], name
        assert rows


class Rekeying(AcpClient):
    """Sends each attempt under a key of its own."""

    async def send(self, url: str, body: bytes, *, request_id: str, idempotency_key: str, **more: Any) -> Sent:
        key = f"{idempotency_key}-{request_id}"
        return await super().send(url, body, request_id=request_id, idempotency_key=key, **more)


def rekeying(base: Foundation, agents: AcpClient) -> RunActivities:
    return run_activities(base, Rekeying(agents._http))


class Optimistic(Settlements):
    """Takes every run that has ended for delivered."""

    async def settle(self, run_id: Any, end: Delivered | Ended, *, workflow_id: str) -> Any:
        return await super().settle(run_id, Delivered(), workflow_id=workflow_id)


def optimistic(base: Foundation, agents: AcpClient) -> RunActivities:
    activities = run_activities(base, agents)
    activities._settlements = Optimistic(base.database, base.notifier)
    return activities


def without_auditor_and_sweep(base: Foundation) -> AbstractAsyncContextManager[None]:
    dirty = DirtyLoop(base.database, base.reconciler, base.listener)
    overlooked = periodically("start_overlooked", START_EVERY, base.starter.start_overlooked)
    return in_background(dirty.run(), overlooked)


@pytest.mark.parametrize(
    "parts",
    [Parts(activities=rekeying), Parts(activities=optimistic), Parts(loops=without_auditor_and_sweep)],
    ids=["a key for each attempt", "all is delivered", "nobody looks after the clocks"],
)
def test_a_broken_product_is_found_out(pools: Pools, parts: Parts) -> None:
    found = next((found for seed in range(10) if (found := violation(pools, seed, parts))), None)
    assert found is not None
    # and the report says how to see it again
    assert f"make simulate SEED={found.seed} STEPS={LONGER}" in str(found)


def test_a_violation_is_told_with_no_more_steps_than_it_takes(pools: Pools) -> None:
    parts = Parts(activities=rekeying)
    found = next(found for seed in range(10) if (found := violation(pools, seed, parts)))
    shorter = shortened(pools, found, parts)
    assert shorter.steps < found.steps
    assert f"make simulate SEED={found.seed} STEPS={shorter.steps}" in str(shorter)


def violation(pools: Pools, seed: int, parts: Parts) -> Violation | None:
    """What the oracle says of a seed; None where all is well."""
    try:
        simulate(pools, seed, LONGER, Figures(), parts)
    except Violation as found:
        return found
    return None
