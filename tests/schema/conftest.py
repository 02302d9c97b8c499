from collections.abc import AsyncIterator

import pytest

from nextfire.embedded import Temporal
from services.provider_authentication import actor_of
from tests.provider.scripted import ScriptedProvider, principal
from tests.schema.api import Api
from tests.stack import Stack, provided_by, stack


@pytest.fixture
async def running(database_url: str, temporal: Temporal) -> AsyncIterator[Stack]:
    """The real stores with no worker: what is written down stays as it was written."""
    async with stack(database_url, temporal.address, worker=False) as stacked:
        yield stacked


@pytest.fixture
def api(running: Stack) -> Api:
    """A caller of the schema over them."""
    return Api(running.services)


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    """An authorization provider that allows everything until it is told otherwise."""
    async with ScriptedProvider() as server:
        yield server


@pytest.fixture
async def provided(database_url: str, temporal: Temporal, provider: ScriptedProvider) -> AsyncIterator[Stack]:
    """The real stores, with no worker, where the provider decides."""
    async with stack(database_url, temporal.address, worker=False, **provided_by(provider.url)) as stacked:
        yield stacked


@pytest.fixture
def ada(provided: Stack) -> Api:
    """A caller whom the provider knows."""
    return Api(provided.services, actor_of(principal("ada")))


@pytest.fixture
def bob(provided: Stack) -> Api:
    """Another caller of the same account."""
    return Api(provided.services, actor_of(principal("bob")))
