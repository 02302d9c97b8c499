"""Waiting on a condition, or on many calls at once; and one condition that many wait on: that a process has ended."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import psutil

Found = TypeVar("Found")
Item = TypeVar("Item")
Answer = TypeVar("Answer")

PATIENCE = 120.0
"""Seconds after which something will not happen any more, on a machine that is busy with much else."""
FIRST_PAUSE, LAST_PAUSE = 0.02, 0.2
"""Seconds from one look to the next, which grow: each look at a clock has Temporal run a workflow."""


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Return as soon as the condition holds.

    Raises:
        TimeoutError: it did not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    pause = 0.02
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not within {seconds} s.")
        time.sleep(pause)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be collected by its parent does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def eventually(
    found: Callable[[], Awaitable[Found | None]], seconds: float = PATIENCE, look_every: float | None = None
) -> Found:
    """What `found` answers, as soon as that is something; by default it is looked at less and less often.

    Raises:
        TimeoutError: it was nothing for all of `seconds`.
    """
    pause = FIRST_PAUSE
    async with asyncio.timeout(seconds):
        while (answer := await found()) is None:
            await asyncio.sleep(look_every or pause)
            pause = min(1.5 * pause, LAST_PAUSE)
        return answer


async def each(call: Callable[[Item], Awaitable[Answer]], items: Iterable[Item], at_once: int = 8) -> list[Answer]:
    """What the call answers for each of the items, in their order; so many are under way at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(item: Item) -> Answer:
        async with gate:
            return await call(item)

    return await asyncio.gather(*(one(item) for item in items))
