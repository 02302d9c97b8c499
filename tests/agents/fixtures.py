"""The scripted agent as a fixture; a conftest imports it by name."""

from collections.abc import AsyncIterator

import pytest

from tests.agents.scripted import ScriptedAgent


@pytest.fixture
async def scripted_agent() -> AsyncIterator[ScriptedAgent]:
    """An agent that dedupes, accepts everything until it is scripted, and is stopped after the test."""
    async with ScriptedAgent() as agent:
        yield agent
