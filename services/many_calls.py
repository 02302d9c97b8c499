"""One call for each of many, a few at a time. Some may get no answer; where many get none, the rest are not asked."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.clock import TemporalAway
from services.errors import Unavailable

AT_ONCE = 8
OUTAGE = 5
"""So many calls without an answer are no matter of a single one, which must not hold up the others."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Answers(Generic[R]):
    """What came of the calls, in their order; None where one got no answer, or was not made."""

    found: list[R | None]
    away: list[Exception]
    """`TemporalAway` and `Unavailable`, as they came."""

    @property
    def is_outage(self) -> bool:
        return len(self.away) >= OUTAGE


async def of_each(do: Callable[[T], Awaitable[R]], items: Sequence[T]) -> Answers[R]:
    """Whatever else a call raises is raised."""
    gate = asyncio.Semaphore(AT_ONCE)
    away: list[Exception] = []

    async def one(item: T) -> R | None:
        async with gate:
            if len(away) < OUTAGE:
                try:
                    return await do(item)
                except (TemporalAway, Unavailable) as error:
                    away.append(error)
        return None

    return Answers(await asyncio.gather(*(one(item) for item in items)), away)
