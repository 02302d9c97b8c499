"""At fire time in the mode `keys`: a run acts as the service account of a key, as long as one by that name works."""

from collections.abc import AsyncIterator

import pytest

from nextfire.embedded import Temporal
from nextfire.settings import AuthMode
from services.agent import AgentProtocol
from services.api_key import ApiKey
from services.api_keys import ApiKeys
from services.principals import Actor, Principal, PrincipalType, Role
from services.run import Run, RunStatus, SkipReason
from services.schedule import Schedule
from tests.agents.scripted import ScriptedAgent, full, stream
from tests.stack import Stack, definition, stack
from tests.waiting import eventually

ROBOT = Actor("acme", Principal(PrincipalType.SERVICE_ACCOUNT, None, "robot", "acme"), Role.OPERATOR)


@pytest.fixture
async def running(database_url: str, temporal: Temporal) -> AsyncIterator[Stack]:
    async with stack(database_url, temporal.address, auth=AuthMode.KEYS) as built:
        yield built


@pytest.fixture
def keys(running: Stack) -> ApiKeys:
    return ApiKeys(running.base.database)


async def key(keys: ApiKeys, role: Role = Role.OPERATOR) -> ApiKey:
    made, _ = await keys.create(account_id="acme", name="robot", role=role, expires_at=None)
    return made


@pytest.fixture
async def schedule(running: Stack, scripted_agent: ScriptedAgent) -> Schedule:
    """Made by the holder of a key of the name `robot`."""
    scripted_agent.always(stream(full("Yes.")))
    agent = await running.services.agents.register(
        ROBOT, name="writer", description=None, protocol=AgentProtocol.SYNC, url=scripted_agent.url, api_key=None
    )
    return await running.services.schedules.create(ROBOT, agent.id, definition())


async def fired(running: Stack, schedule: Schedule) -> Run:
    run = await running.services.manual_runs.trigger(ROBOT, schedule.id, idempotency_key=None, note=None)

    async def found() -> Run | None:
        now = (await running.services.runs.get_many(ROBOT, [run.id]))[run.id]
        return now if now.finished_at is not None else None

    return await eventually(found)


async def test_nothing_is_sent_for_a_revoked_key(
    running: Stack, keys: ApiKeys, schedule: Schedule, scripted_agent: ScriptedAgent
) -> None:
    # given a schedule that fires as long as its creator's key works
    first = await key(keys)
    assert (await fired(running, schedule)).status is RunStatus.DELIVERED
    # when the key is revoked
    await keys.revoke(first.id)
    run = await fired(running, schedule)
    # then the fire is on record with its reason, and the agent has heard nothing of it
    assert (run.status, run.skip_reason) == (RunStatus.SKIPPED, SkipReason.PERMISSION_DENIED)
    assert len(scripted_agent.of("message/send")) == 1
    # and a new key by the same name lets it go on
    await key(keys)
    assert (await fired(running, schedule)).status is RunStatus.DELIVERED


async def test_nothing_is_sent_for_a_key_that_may_only_look(
    running: Stack, keys: ApiKeys, schedule: Schedule, scripted_agent: ScriptedAgent
) -> None:
    await key(keys, Role.VIEWER)
    run = await fired(running, schedule)
    assert (run.status, run.skip_reason) == (RunStatus.SKIPPED, SkipReason.PERMISSION_DENIED)
    assert scripted_agent.of("message/send") == []
