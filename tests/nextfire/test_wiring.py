"""What a program stands on comes up though a store is away for a moment."""

import asyncio

from nextfire.temporal import temporal_client
from nextfire.wiring import foundation
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
