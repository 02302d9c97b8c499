"""Deadlines that cost nothing where there is nothing to wait for."""

import asyncio
from collections.abc import Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any, TypeVar

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
            return await _going_on(work, waits_for)
    except TimeoutError:
        if limit.expired():
            raise Expired from None
        raise


@coroutine
def _going_on(work: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """The rest of a coroutine that waits already: what `await` does with one that does not yet."""
    while True:
        try:
            sent = yield waits_for
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:
            go_on = partial(work.throw, error)
        else:
            go_on = partial(work.send, sent)
        try:
            waits_for = go_on()
        except StopIteration as done:
            result: T = done.value
            return result
