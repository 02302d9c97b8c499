"""One simulation: steps from a seed, an end of all faults, rest, and the oracle."""

import asyncio
import gc
import itertools
import os
import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch
from uuid import UUID

from services.failpoints import arm
from tests.faults.figures import Figures
from tests.faults.oracle import Oracle
from tests.simulation.follower import Follower
from tests.simulation.installation import Installation, Parts, Pools
from tests.simulation.postgres import Links
from tests.simulation.steps import WORKERS, Steps
from tests.simulation.virtual_time import VirtualLoop

PARTS = Parts()
REST_SECONDS = 600.0
LOOK_EVERY_SECONDS = 5.0
YOUNG = 1
"""The generations of garbage that are looked at after each step."""
QUIET_SECONDS = 35.0
"""Without a fault, before the oracle comes: a clock has that long to equal its row (I2), and something comes due."""
ROWS = {
    "runs": "SELECT * FROM runs ORDER BY id",
    "attempts": "SELECT * FROM attempts ORDER BY run_id, n",
    "events": "SELECT kind, schedule_id, run_id, payload, at FROM events ORDER BY xid, id",
}


class Violation(AssertionError):
    """An invariant does not hold: the seed, how many steps it was asked for, and what has happened."""

    def __init__(self, seed: int, steps: int, report: str) -> None:
        super().__init__(report)
        self.seed = seed
        self.steps = steps


@dataclass
class Outcome:
    """What came of a seed: the same each time."""

    steps: list[str] = field(default_factory=list)
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    """All runs, attempts and events, as Postgres has them in the end."""
    virtual_seconds: float = 0.0
    statements: int = 0


def simulate(pools: Pools, seed: int, steps: int, figures: Figures, parts: Parts = PARTS) -> Outcome:
    """Raises `Violation`."""
    # Each draws from a stream of its own: a statement more shifts no step.
    links = Links(random.Random(f"{seed} links"))
    loop = VirtualLoop(links.poll, links.connect)
    outcome = Outcome()
    random.seed(seed)
    with (
        _no_garbage_by_chance(),
        patch.dict(os.environ, PGSSLMODE="disable"),
        patch("services.tables.uuid7", _ids(random.Random(f"{seed} ids"))),
        loop.rules(),
        asyncio.Runner(loop_factory=lambda: loop) as runner,
    ):
        installation = Installation(pools, random.Random(f"{seed} world"), links, figures, parts)
        try:
            runner.run(_simulate(installation, seed, steps, outcome))
        except Exception as error:
            raise Violation(seed, steps, _report(seed, steps, outcome, error)) from error
    outcome.statements = links.statements
    figures.add("Seeds")
    figures.add("Steps", len(outcome.steps))
    figures.add("Notifications lost", links.notifications_lost)
    figures.add("Virtual seconds", round(outcome.virtual_seconds))
    return outcome


@contextmanager
def _no_garbage_by_chance() -> Iterator[None]:
    """For the block, cycles are collected when the simulation says so.

    A prepared statement that is found to be garbage is closed along with the next statement, which is one more answer.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _ids(rng: random.Random) -> Callable[[], UUID]:
    """The same ids for the same seed, since some orders are by id; later ones after earlier ones, as in version 7."""
    numbers = itertools.count(1)
    return lambda: UUID(int=next(numbers) << 80 | rng.getrandbits(80))


def shortened(pools: Pools, found: Violation, parts: Parts = PARTS) -> Violation:
    """The violation with as few steps of its seed as halving finds: fewer are the beginning of the same sequence."""
    harmless = 0
    while found.steps - harmless > 1:
        half = (harmless + found.steps) // 2
        try:
            simulate(pools, found.seed, half, Figures(), parts)
        except Violation as shorter:
            found = shorter
        else:
            harmless = half
    return found


async def _simulate(installation: Installation, seed: int, count: int, outcome: Outcome) -> None:
    begun = asyncio.get_running_loop().time()
    steps = Steps(installation, random.Random(seed))
    follower = Follower(installation, random.Random(f"{seed} follower"))
    try:
        await installation.prepare()
        for name in ("api", *WORKERS):
            installation.start(name)
        await steps.begin()
        await follower.start()
        for _ in range(count):
            outcome.steps.append(await steps.take())
            gc.collect(YOUNG)
        await steps.end()
        await asyncio.sleep(QUIET_SECONDS)
        oracle = Oracle(installation, *installation.agents, look_every=LOOK_EVERY_SECONDS)
        await oracle.verdict(installation, seconds=REST_SECONDS)
        await _check_answers(installation, steps)
        await follower.check()
        outcome.rows = {name: await _rows(installation, query) for name, query in ROWS.items()}
        outcome.virtual_seconds = asyncio.get_running_loop().time() - begun
    finally:
        arm({})
        await follower.stop()
        await installation.close()


async def _check_answers(installation: Installation, steps: Steps) -> None:
    """I1 and I14: what was acknowledged is there, and one key has one answer."""
    rows = await installation.rows("SELECT schedule_id, version FROM schedule_revisions")
    there = {(row["schedule_id"], row["version"]) for row in rows}
    assert set(steps.acknowledged) - there == set()
    assert {key: each for key, each in steps.answers.items() if len(each) > 1} == {}
    installation.figures.add("Acknowledged changes", len(steps.acknowledged))
    installation.figures.add("Acknowledged changes: lost", 0)


async def _rows(installation: Installation, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in await installation.rows(query)]


def _report(seed: int, steps: int, outcome: Outcome, error: Exception) -> str:
    taken = "\n".join(f"  {number}. {step}" for number, step in enumerate(outcome.steps, start=1))
    again = f"make simulate SEED={seed} STEPS={steps}"
    where = "".join(traceback.format_exception(error))
    return f"Seed {seed}: {error!r}\nThe steps:\n{taken}\n{where}To repeat it: {again}"
