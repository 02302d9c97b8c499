from collections.abc import AsyncIterator

import pytest

from nextfire.embedded import Temporal
from tests.schema.api import Api
from tests.stack import Stack, stack


@pytest.fixture
async def running(database_url: str, temporal: Temporal) -> AsyncIterator[Stack]:
    """The real stores with no worker: what is written down stays as it was written."""
    async with stack(database_url, temporal.address, worker=False) as stacked:
        yield stacked


@pytest.fixture
def api(running: Stack) -> Api:
    """A caller of the schema over them."""
    return Api(running.services)
