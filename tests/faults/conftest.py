"""What fault tests may ask for: an installation on each of Temporal's schedulers, and stores of their own to break."""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from nextfire.embedded import Temporal
from tests.agents.scripted import ScriptedAgent
from tests.faults.figures import Figures
from tests.faults.installation import Installation
from tests.faults.oracle import Oracle
from tests.faults.servers import OwnPostgres, OwnTemporal, own_postgres, own_temporal
from tests.temporal_options import CHASM

BACKENDS = ["v1", pytest.param("chasm", marks=pytest.mark.matrix)]
"""What is quick runs on one scheduler by default, and on both with --faults."""


@pytest.fixture(params=BACKENDS)
def scheduler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def scheduler_options(scheduler: str) -> Sequence[str]:
    return CHASM if scheduler == "chasm" else ()


@pytest.fixture
def shared_temporal(request: pytest.FixtureRequest, scheduler: str) -> Temporal:
    """A server that other tests use as well: it is left alone."""
    server: Temporal = request.getfixturevalue("chasm_temporal" if scheduler == "chasm" else "temporal")
    return server


@pytest.fixture
async def installation(
    database_url: str, shared_temporal: Temporal, tmp_path: Path, figures: Figures
) -> AsyncIterator[Installation]:
    """An installation over stores that stay as they are."""
    installed = Installation(database_url, shared_temporal.address, tmp_path, figures)
    yield installed
    await installed.clean()


@pytest.fixture
def oracle(installation: Installation, scripted_agent: ScriptedAgent) -> Oracle:
    return Oracle(installation, scripted_agent)


@pytest.fixture
def breakable_temporal(scheduler_options: Sequence[str], tmp_path: Path) -> Iterator[OwnTemporal]:
    with own_temporal(tmp_path / "temporal", scheduler_options) as server:
        yield server


@pytest.fixture
def breakable_postgres(tmp_path: Path) -> Iterator[OwnPostgres]:
    with own_postgres(tmp_path / "postgres") as server:
        yield server
