"""Migrated databases, lent to one test after another: to clear one costs a tenth of making another."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from migrations import upgrade
from nextfire.embedded import Postgres
from tests.leftover_clocks import LeftoverClocks

TEMPLATE = "template_migrated"
LARGEST_BYTES = 4_000_000
"""What a test may leave its tables at for the next one: statistics and dead rows of more would show in it."""

# As DROP DATABASE WITH (FORCE) does it: a program that was killed may have left its connections.
_END_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()"""
_SHAPE = """
SELECT string_agg(concat_ws(' ', oid, relname, relnatts, relchecks, relhastriggers), ', ' ORDER BY oid)
  FROM pg_class WHERE relnamespace = 'public'::regnamespace"""
_SIZE = "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
# In any order, as foreign keys are not looked at.
_CLEAR = """
DO $$
DECLARE name text;
BEGIN
  SET LOCAL session_replication_role = replica;
  FOR name IN SELECT format('%I', tablename) FROM pg_tables
    WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
    EXECUTE 'DELETE FROM ' || name;
  END LOOP;
  FOR name IN SELECT format('%I', sequencename) FROM pg_sequences WHERE schemaname = 'public' LOOP
    EXECUTE 'ALTER SEQUENCE ' || name || ' RESTART';
  END LOOP;
END $$"""


class Databases:
    """The databases of one server; one that a test has changed by more than its rows is lent to no other."""

    def __init__(self, server: Postgres, clocks: LeftoverClocks) -> None:
        self._server = server
        self._clocks = clocks
        self._numbers = itertools.count(1)
        self._clear: list[str] = []
        self._shape: str | None = None

    async def prepare(self) -> None:
        """Make the database that all others are cloned from, which is not connected to after that."""
        await administer(self._server, f"CREATE DATABASE {TEMPLATE}")
        upgrade(self._server.url(TEMPLATE))
        async with connected(self._server, TEMPLATE) as connection:
            self._shape = await connection.fetchval(_SHAPE)

    async def take(self) -> str:
        """The name of a migrated database in which there is nothing."""
        if self._clear:
            return self._clear.pop()
        name = f"test_{next(self._numbers)}"
        await administer(self._server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return name

    async def give_back(self, name: str) -> None:
        """Clear it for another test, or drop it."""
        if await self._cleared(name):
            self._clear.append(name)
        else:
            await administer(self._server, f"DROP DATABASE {name} WITH (FORCE)")

    async def _cleared(self, name: str) -> bool:
        async with connected(self._server, name) as connection:
            await connection.execute(_END_OTHERS)
            if await connection.fetchval(_SHAPE) != self._shape:
                return False
            await self._clocks.remove(connection)
            if await connection.fetchval(_SIZE) > LARGEST_BYTES:
                return False
            await connection.execute(_CLEAR)
            return True


async def administer(server: Postgres, statement: str) -> None:
    """Run a statement as superuser, in the database that is always there."""
    async with connected(server, "postgres") as connection:
        await connection.execute(statement)


@asynccontextmanager
async def connected(server: Postgres, name: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server.url(name))
    try:
        yield connection
    finally:
        await connection.close()
