"""Work with a deadline: what comes of it is what would come of it without one."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from nextfire.transport.deadlines import Expired, within

LONG, SHORT = 60.0, 0.01


async def at_once() -> str:
    return "done"


async def after_waiting() -> str:
    await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    return "done"


async def failing() -> str:
    await asyncio.sleep(0)
    raise LookupError("own")


async def timing_out_itself() -> str:
    await asyncio.sleep(0)
    raise TimeoutError("own")


@pytest.mark.parametrize("work", [at_once, after_waiting])
async def test_the_work_is_done(work: Any) -> None:
    assert await within(LONG, work()) == "done"


@pytest.mark.parametrize(("work", "error"), [(failing, LookupError), (timing_out_itself, TimeoutError)])
async def test_its_own_errors_are_let_through(work: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="own"):
        await within(LONG, work())


async def test_it_is_cancelled_at_its_deadline() -> None:
    seen: list[str] = []
    with pytest.raises(Expired):
        await within(SHORT, _forever(seen))
    assert seen == ["cancelled"]


async def test_it_is_cancelled_with_its_caller() -> None:
    # given
    seen: list[str] = []
    task = asyncio.create_task(within(LONG, _forever(seen)))
    await asyncio.sleep(0)
    # when
    task.cancel()
    # then
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


async def test_it_may_go_on_when_it_catches_an_error() -> None:
    async def stubborn() -> str:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, LookupError("own"))
        try:
            await future
        except LookupError:
            await asyncio.sleep(0)
        return "done"

    assert await within(LONG, stubborn()) == "done"


def _forever(seen: list[str]) -> Coroutine[Any, Any, None]:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    return work()
