"""What the simulation makes of its real Postgres: that it can be killed."""

import asyncio
import os
import random
from unittest.mock import patch

import asyncpg
import pytest

from tests.simulation.installation import Pools
from tests.simulation.postgres import Links
from tests.simulation.processes import Process
from tests.simulation.virtual_time import VirtualLoop

# The connection that is broken here is one that nobody closes any more.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def test_a_killed_postgres_keeps_what_was_committed_and_nothing_else(pools: Pools) -> None:
    links = Links(random.Random(1))
    loop = VirtualLoop(links.poll, links.connect)
    with patch.dict(os.environ, PGSSLMODE="disable"), loop.rules(), asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(_ids_around_a_crash(pools.url, links)) == [1, 2 + 32 + 1]


async def _ids_around_a_crash(url: str, links: Links) -> list[int]:
    """Of a row that is committed, and of one that is written afterwards; between them one is lost."""
    observer = await asyncpg.connect(url)
    links.observe()
    rows = await asyncpg.connect(url)

    async def write() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("INSERT INTO written DEFAULT VALUES")
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO written DEFAULT VALUES")
        links.kill()
        with pytest.raises((asyncpg.InterfaceError, asyncpg.ConnectionDoesNotExistError)):
            await connection.execute("COMMIT")

    try:
        await rows.execute("CREATE TABLE written (id bigint GENERATED ALWAYS AS IDENTITY)")
        await Process("worker").start(write())
        await rows.execute("INSERT INTO written DEFAULT VALUES")
        return [row["id"] for row in await rows.fetch("SELECT id FROM written ORDER BY id")]
    finally:
        await rows.execute("DROP TABLE IF EXISTS written")
        for connection in (rows, observer):
            connection.terminate()
        links.close()
        await asyncio.sleep(1)
