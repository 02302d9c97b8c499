"""One workload that several servers can do: answers compared, then speeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import uvloop

from benchmarks.comparing import require_same
from benchmarks.load import Refused, ask, endlessly
from benchmarks.results import Figures, of_speed
from benchmarks.rounds import Entrant, Pace, compete
from benchmarks.stack import Server

A_FEW = 20


def unchanged(answer: Any) -> Any:
    return answer


@dataclass(frozen=True)
class Contestant:
    """A server, what it is asked, and how its answer comes into the product's form."""

    name: str
    server: Server
    requests: Sequence[bytes]
    normal: Callable[[Any], Any] = unchanged
    expected: Callable[[Any], Any] = unchanged
    """What of the product's answer there is to compare with, where the contestant cannot produce all of it."""


def contest(
    first: Contestant, others: Sequence[Contestant], pace: Pace, *, clients: int | None = None
) -> dict[str, Figures]:
    """Compare every answer of the others with the first one's, then measure all."""
    compare(first, others, at_most=None if pace.full else A_FEW)
    entrants = [Entrant(each.name, each.server, endlessly(each.requests)) for each in (first, *others)]
    return {name: of_speed(speed) for name, speed in compete(entrants, pace, clients=clients).items()}


def compare(first: Contestant, others: Sequence[Contestant], *, at_most: int | None = None) -> None:
    """Raises `Differs`."""
    for number, request in enumerate(first.requests[:at_most]):
        expected = data_of(first.server, request)
        for other in others:
            found = other.normal(data_of(other.server, other.requests[number]))
            require_same(f"{other.name}'s answer", other.expected(expected), found)


def data_of(server: Server, request: bytes) -> Any:
    """The data of one answer, or all of one that is not GraphQL's. Raises `Refused` where there are errors in it."""
    answer: Any = uvloop.run(ask(server.port, request)).json()
    if answer.get("errors"):
        raise Refused(f"{server.name}: {answer['errors']}")
    return answer.get("data", answer)
