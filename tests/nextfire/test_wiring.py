"""What a program stands on comes up though a store is away for a moment."""

import asyncio

import pytest

from nextfire.temporal import temporal_client
from nextfire.wiring import foundation, in_background
from tests.faults.proxy import FaultProxy, Mode
from tests.stack import settings
from tests.waiting import eventually


async def test_a_start_outlasts_a_short_outage_of_postgres(database_url: str) -> None:
    port = int(database_url.rsplit(":", 1)[1].split("/")[0])
    async with FaultProxy(port).running() as proxy:
        # given a way to Postgres on which every connection is reset
        proxy.set(Mode.RESET)
        url = database_url.replace(f":{port}/", f":{proxy.port}/")
        up = asyncio.Event()

        async def start() -> None:
            async with foundation(
                settings(url).model_copy(update={"task_queue": None}), await temporal_client(lazy=True)
            ):
                up.set()

        starting = asyncio.create_task(start())

        async def refused() -> bool | None:
            return proxy.resets > 0 or None

        await eventually(refused)
        assert not up.is_set()
        # when the way is free again
        proxy.set(Mode.PASS)
        # then the program starts
        await starting
        assert up.is_set()


async def test_what_loses_its_cancellation_is_cancelled_again() -> None:
    lost = 0

    async def work() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if lost:
                    raise
                lost += 1

    async with in_background(work()):
        await asyncio.sleep(0)
    assert lost == 1


async def test_what_has_failed_in_the_background_is_told() -> None:
    async def work() -> None:
        raise RuntimeError("on its own")

    with pytest.raises(RuntimeError, match="on its own"):
        async with in_background(work()):
            await asyncio.sleep(0)
