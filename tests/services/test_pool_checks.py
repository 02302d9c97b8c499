"""A pool whose connections lead nowhere is found out at once, and nobody but the one who finds out has to wait."""

import asyncio

import pytest
from sqlalchemy import text

from services.database import Database
from services.errors import Unavailable
from tests.faults.figures import Figures
from tests.faults.proxy import FaultProxy
from tests.services.feeding import opened

POOL = 5


async def ask(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(text("SELECT 1 FROM pg_sleep(0.05)"))).scalar_one())


@pytest.mark.fault("F17")
async def test_a_pool_of_half_open_connections_is_replaced_without_an_error(
    database_url: str, figures: Figures
) -> None:
    # given a pool whose connections all lead nowhere
    port = int(database_url.rsplit(":", 1)[1].split("/")[0])
    async with (
        FaultProxy(port).running() as proxy,
        opened(database_url.replace(f":{port}/", f":{proxy.port}/"), pool_size=POOL) as database,
    ):
        assert await asyncio.gather(*(ask(database) for _ in range(POOL))) == [1] * POOL
        assert proxy.half_open() == POOL
        # when they are used, one after another and all at once
        answers = [await ask(database) for _ in range(POOL)]
        answers += await asyncio.gather(*(ask(database) for _ in range(POOL)))
        # then each question is answered, over as many new connections, and one of the old ones was asked in vain
        assert answers == [1] * (2 * POOL)
        assert proxy.connections == 2 * POOL
        assert proxy.swallowed_bytes > 0
        figures.injected("half-open connections of a pool", POOL)


@pytest.mark.fault("F17")
async def test_a_pool_with_no_way_to_postgres_says_so_and_is_right_again_with_it(database_url: str) -> None:
    port = int(database_url.rsplit(":", 1)[1].split("/")[0])
    async with (
        FaultProxy(port).running() as proxy,
        opened(database_url.replace(f":{port}/", f":{proxy.port}/"), pool_size=POOL) as database,
    ):
        assert await ask(database) == 1
        await proxy.refuse()
        with pytest.raises(Unavailable):
            await ask(database)
        await proxy.listen()
        assert await ask(database) == 1
