"""Rounds: each contestant in turn, again and again, so that what else the machine does meets all of them alike."""

import gc
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import uvloop

from benchmarks.load import Load, drive
from benchmarks.stack import Server


@dataclass(frozen=True)
class Pace:
    """How long it is measured, and how much."""

    rounds: int
    seconds: float
    rows: int
    clients: int
    full: bool
    """Whether the sizes are those of the goals, or such as only show that it runs."""


FULL = Pace(rounds=5, seconds=2.0, rows=10_000, clients=16, full=True)
SHORT = Pace(rounds=1, seconds=0.2, rows=500, clients=2, full=False)


@dataclass(frozen=True)
class Entrant:
    """A server and the requests that it gets."""

    name: str
    server: Server
    requests: Callable[[], bytes | None]


@dataclass(frozen=True)
class Speed:
    """Medians over the rounds."""

    per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    first_ms: float


def compete(entrants: Sequence[Entrant], pace: Pace, *, clients: int | None = None) -> dict[str, Speed]:
    """The speed of each entrant, by its name. A first round, which does not count, warms them up."""
    seen: dict[str, list[tuple[Load, float]]] = {entrant.name: [] for entrant in entrants}
    for number in range(pace.rounds + 1):
        for entrant in entrants:
            gc.collect()
            measured = uvloop.run(_measured(entrant, pace.seconds, min(clients or pace.clients, pace.clients)))
            if number:
                seen[entrant.name].append(measured)
    return {name: _speed(rounds) for name, rounds in seen.items()}


async def _measured(entrant: Entrant, seconds: float, clients: int) -> tuple[Load, float]:
    before = entrant.server.cpu_seconds()
    load = await drive(entrant.server.port, entrant.requests, clients=clients, seconds=seconds)
    return load, (entrant.server.cpu_seconds() - before) / load.count


def _speed(rounds: Sequence[tuple[Load, float]]) -> Speed:
    latencies = [sorted(load.latencies) for load, _ in rounds]
    return Speed(
        per_second=statistics.median(load.per_second for load, _ in rounds),
        cpu_us=statistics.median(cpu for _, cpu in rounds) * 1e6,
        p50_ms=statistics.median(each[len(each) // 2] for each in latencies) * 1e3,
        p99_ms=statistics.median(each[len(each) * 99 // 100] for each in latencies) * 1e3,
        first_ms=statistics.median(statistics.median(load.firsts) for load, _ in rounds) * 1e3,
    )
