"""A Postgres whose time is that of its connections: for simulations, which share one."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from migrations import upgrade
from nextfire.embedded import running_postgres
from nextfire.processes import free_port
from tests.conftest import FAST_SETTINGS
from tests.databases import administer, connected
from tests.faults.figures import Figures
from tests.simulation.installation import Pools
from tests.simulation.postgres import VIRTUAL_NOW

# By itself such a server does nothing at a time that real time decides: a vacuum would hold the event log back for a
# moment, and statistics would change the order of rows. And as it is never killed in truth, no commit waits for a disk.
SETTINGS = {**FAST_SETTINGS, "autovacuum": "off", "synchronous_commit": "off"}


@pytest.fixture(scope="session")
async def pools(servers: Path) -> AsyncIterator[Pools]:
    """Pools of a migrated database in which `now()` is virtual, in defaults of columns as well."""
    name = "simulation"
    with running_postgres(servers / name, free_port(), servers / f"{name}.log", settings=SETTINGS) as server:
        await administer(server, f"CREATE DATABASE {name}")
        await administer(server, f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
        async with connected(server, name) as connection:
            await connection.execute(VIRTUAL_NOW)
        upgrade(server.url(name))
        pools = Pools(server.url(name))
        await pools.warm_up()
        yield pools


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
