"""A stack without a worker on each of Temporal's two schedulers; a module imports all three by name."""

from collections.abc import AsyncIterator, Iterator

import pytest

from nextfire.embedded import Temporal, running_temporal
from nextfire.processes import free_port
from tests.stack import Stack, stack

CHASM = (
    "--dynamic-config-value",
    "history.enableCHASMSchedulerCreation=true",
    "--dynamic-config-value",
    "history.chasmSchedulerCreationRolloutPercent=100",
)


@pytest.fixture(scope="module")
def chasm_temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Temporal]:
    """A Temporal server with the newer of the two schedulers."""
    directory = tmp_path_factory.mktemp("chasm")
    with running_temporal(directory, free_port(), free_port(), directory / "server.log", options=CHASM) as server:
        yield server


@pytest.fixture(params=["v1", "chasm"])
def backend(request: pytest.FixtureRequest) -> Temporal:
    server: Temporal = request.getfixturevalue("temporal" if request.param == "v1" else "chasm_temporal")
    return server


@pytest.fixture
async def idle(database_url: str, backend: Temporal) -> AsyncIterator[Stack]:
    """A stack in which nobody sweeps, audits or claims but the test."""
    async with stack(database_url, backend.address, worker=False) as built:
        yield built
