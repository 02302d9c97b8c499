"""What every test may ask for: a fresh database, and a Temporal server of the session. Both are real."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from migrations import upgrade
from nextfire.embedded import Postgres, Temporal, running_postgres, running_temporal
from nextfire.processes import free_port
from tests.agents.fixtures import scripted_agent

__all__ = ["scripted_agent"]

# What is lost without these is safe only from a crash of the machine, not of the server: tests may kill that.
FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB"}

_numbers = itertools.count(1)

# A busy machine is slow to draw examples and to run them, which is no failure of what is tested.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the session's servers: their data, and `*.log`."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def postgres(servers: Path) -> Iterator[Postgres]:
    """The session's Postgres server; `postgres.url(name)` is the URL of a database."""
    log = servers / "postgres.log"
    with running_postgres(servers / "postgres", free_port(), log, settings=FAST_SETTINGS) as server:
        yield server


@pytest.fixture(scope="session")
def temporal(servers: Path) -> Iterator[Temporal]:
    """The session's Temporal server, with `address` and `ui_url`, and the search attribute RowVersion."""
    with running_temporal(servers / "temporal", free_port(), free_port(), servers / "temporal.log") as server:
        yield server


@pytest.fixture(scope="session")
async def template(postgres: Postgres) -> str:
    """The name of a database with all migrations applied, to be cloned and never to be connected to."""
    name = "template_migrated"
    await administer(postgres, f"CREATE DATABASE {name}")
    upgrade(postgres.url(name))
    return name


@pytest.fixture
async def database_url(postgres: Postgres, template: str) -> AsyncIterator[str]:
    """The URL of a migrated database that is this test's own; it is dropped after the test."""
    name = f"test_{next(_numbers)}"
    await administer(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield postgres.url(name)
    await administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


async def administer(server: Postgres, statement: str) -> None:
    """Run a statement as superuser, in the database that is always there."""
    connection = await asyncpg.connect(server.url("postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
