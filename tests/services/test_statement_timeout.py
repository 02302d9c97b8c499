"""No statement holds a connection for ever."""

import pytest
from sqlalchemy import text

from services.database import Database
from services.errors import Unavailable
from tests.services.feeding import opened


async def sleep(database: Database) -> None:
    """A statement that takes ten minutes, where it may take 50 ms: the test need not wait for the real bound."""
    async with database.read() as connection:
        await connection.execute(text("SET statement_timeout = 50"))
        await connection.execute(text("SELECT pg_sleep(600)"))


async def test_postgres_itself_ends_a_statement_that_takes_too_long(database_url: str) -> None:
    async with opened(database_url) as database:
        async with database.read() as connection:
            assert (await connection.execute(text("SHOW statement_timeout"))).scalar_one() == "10s"

        with pytest.raises(Unavailable):
            await sleep(database)
