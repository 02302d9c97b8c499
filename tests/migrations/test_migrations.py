"""The migrations go up, down and up again, and agree with the tables in code."""

import itertools

import asyncpg
import pytest
from alembic.util import CommandError

import migrations
from nextfire.embedded import Postgres
from tests.databases import administer

_numbers = itertools.count(1)


@pytest.fixture
async def empty_database(postgres: Postgres) -> str:
    name = f"empty_{next(_numbers)}"
    await administer(postgres, f"CREATE DATABASE {name}")
    return postgres.url(name)


async def test_up_down_and_up_again_ends_where_it_began(empty_database: str) -> None:
    migrations.upgrade(empty_database)
    first = await _catalogue(empty_database)
    migrations.downgrade(empty_database, "base")
    assert {name for name, *_ in await _catalogue(empty_database)} <= {"alembic_version"}
    migrations.upgrade(empty_database)
    assert await _catalogue(empty_database) == first
    assert {name for name, *_ in first} >= {"agents", "agent_run_schedules", "runs", "events"}


async def test_the_code_and_the_migrations_agree(empty_database: str) -> None:
    migrations.upgrade(empty_database)
    migrations.check(empty_database)


async def test_a_column_that_the_code_does_not_know_is_noticed(empty_database: str) -> None:
    migrations.upgrade(empty_database)
    connection = await asyncpg.connect(empty_database)
    await connection.execute("ALTER TABLE agents ADD COLUMN stray text")
    await connection.close()
    with pytest.raises(CommandError):
        migrations.check(empty_database)


async def _catalogue(url: str) -> list[tuple[str, str, str]]:
    """Every column and every constraint, as Postgres describes them."""
    connection = await asyncpg.connect(url)
    columns = await connection.fetch(
        "SELECT table_name, column_name, data_type || is_nullable || coalesce(column_default, '')"
        " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    constraints = await connection.fetch(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
    )
    indexes = await connection.fetch(
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"
    )
    await connection.close()
    return [tuple(row) for row in (*columns, *constraints, *indexes)]
