"""A stack without a worker on each of Temporal's two schedulers; a module imports both by name."""

from collections.abc import AsyncIterator

import pytest

from nextfire.embedded import Temporal
from tests.stack import Stack, stack


@pytest.fixture(params=["v1", "chasm"])
def backend(request: pytest.FixtureRequest) -> Temporal:
    server: Temporal = request.getfixturevalue("temporal" if request.param == "v1" else "chasm_temporal")
    return server


@pytest.fixture
async def idle(database_url: str, backend: Temporal) -> AsyncIterator[Stack]:
    """A stack in which nobody sweeps, audits or claims but the test."""
    async with stack(database_url, backend.address, worker=False) as built:
        yield built
