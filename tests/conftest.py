"""What every test may ask for: a fresh database, and a Temporal server of the session. Both are real."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from nextfire.embedded import Postgres, Temporal, running_postgres, running_temporal
from nextfire.processes import free_port
from tests.agents.fixtures import scripted_agent
from tests.databases import Databases
from tests.leftover_clocks import LeftoverClocks
from tests.temporal_options import CHASM, LIGHT

__all__ = ["scripted_agent"]

# What is lost without these is safe only from a crash of the machine, not of the server: tests may kill that.
FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB"}

# A busy machine is slow to draw examples and to run them, which is no failure of what is tested.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# By default a traceback is drawn with all that stands in its frames, which holds a process up for seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


LONGEST = ("simulation", "nextfire")
"""Directories with tests that take up to a minute each, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests come first, so that not one process is left with them when the others are through."""
    items.sort(key=lambda item: (*LONGEST, item.path.parent.name).index(item.path.parent.name))


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
def leftover_clocks() -> LeftoverClocks:
    """What a test's clocks are taken from when it ends: the session's Temporal servers."""
    return LeftoverClocks()


@pytest.fixture(scope="session")
def temporal(servers: Path, leftover_clocks: LeftoverClocks) -> Iterator[Temporal]:
    """The session's Temporal server, with `address` and `ui_url`, and the search attribute RowVersion."""
    places = (servers / "temporal", free_port(), free_port(), servers / "temporal.log")
    with running_temporal(*places, options=LIGHT) as server:
        leftover_clocks.of(server)
        yield server


@pytest.fixture(scope="session")
def chasm_temporal(servers: Path, leftover_clocks: LeftoverClocks) -> Iterator[Temporal]:
    """The session's Temporal server with the newer of the two schedulers."""
    places = (servers / "chasm", free_port(), free_port(), servers / "chasm.log")
    with running_temporal(*places, options=(*CHASM, *LIGHT)) as server:
        leftover_clocks.of(server)
        yield server


@pytest.fixture(scope="session")
async def databases(postgres: Postgres, leftover_clocks: LeftoverClocks) -> Databases:
    """The session's migrated databases, lent to one test after another."""
    lent = Databases(postgres, leftover_clocks)
    await lent.prepare()
    return lent


@pytest.fixture
async def database_url(postgres: Postgres, databases: Databases) -> AsyncIterator[str]:
    """The URL of a migrated database that is this test's own, with nothing in it."""
    name = await databases.take()
    yield postgres.url(name)
    await databases.give_back(name)
