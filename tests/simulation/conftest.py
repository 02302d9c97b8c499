"""A database whose time is that of its connections: for simulations, which share one."""

import json

import pytest

from migrations import upgrade
from nextfire.embedded import Postgres
from services.tables import metadata
from tests.databases import administer, connected
from tests.faults.figures import Figures
from tests.simulation.installation import Pools
from tests.simulation.postgres import VIRTUAL_NOW


@pytest.fixture(scope="session")
async def pools(postgres: Postgres) -> Pools:
    """Pools of a migrated database in which `now()` is virtual, in defaults of columns as well."""
    name = "simulation"
    await administer(postgres, f"CREATE DATABASE {name}")
    await administer(postgres, f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
    await administer(postgres, f"ALTER DATABASE {name} SET synchronous_commit = off")  # here nothing is killed in truth
    async with connected(postgres, name) as connection:
        await connection.execute(VIRTUAL_NOW)
    upgrade(postgres.url(name))
    async with connected(postgres, name) as connection:
        for table in metadata.tables:  # statistics that come at some moment would change the order of rows
            await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    pools = Pools(postgres.url(name))
    await pools.warm_up()
    return pools


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of all simulations, whichever process ran them."""
    figures = Figures()
    for report in terminalreporter.getreports("passed"):
        for name, value in getattr(report, "user_properties", ()):
            if name == "figures" and report.when == "call":
                faults, counts = json.loads(value)
                figures.faults.update(faults)
                figures.counts.update(counts)
    if not figures.is_empty:
        terminalreporter.section("figures of the simulations")
        terminalreporter.write_line(figures.as_text())
