"""Deadlines that cost nothing where there is nothing to wait for."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from nextfire.transport.stepping import going_on

T = TypeVar("T")


class Expired(Exception):
    """The time was up before the work was done."""


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """What the work returns, which is cancelled at its deadline; raises `Expired` then.

    Most of what may wait finds everything there, and a timer would take longer than it: one is set only once it waits.
    """
    try:
        waits_for = work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    try:
        async with asyncio.timeout(seconds) as limit:
            return await going_on(work, waits_for)
    except TimeoutError:
        if limit.expired():
            raise Expired from None
        raise
