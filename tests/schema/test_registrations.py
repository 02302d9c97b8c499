"""What the authorization provider is told of agents and schedules, and that a failure leaves nothing behind."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select, update

from resolvers.ids import Kind, key_of
from services.authorization import Resource, ResourceType, agent_resource, schedule_resource
from services.errors import ProviderMisconfigured, Unavailable
from services.registrations import ProviderRegistrations
from services.tables import deregistrations, new_id, schedules
from services.transactions import CoreTransaction
from tests.agents.scripted import status
from tests.provider.scripted import (
    DEREGISTER,
    GRANT,
    REGISTER,
    REVOKE,
    ScriptedProvider,
    answer,
    principal,
)
from tests.schema.api import SCHEDULE, Api, creation
from tests.stack import Stack

ADA, BOB = principal("ada"), principal("bob")


def agent_selector(agent_id: str) -> str:
    return agent_resource(key_of(Kind.AGENT, agent_id)).selector


def selector(agent_id: str, schedule_id: str) -> str:
    return schedule_resource(key_of(Kind.AGENT, agent_id), key_of(Kind.SCHEDULE, schedule_id)).selector


async def count(provided: Stack, table: Any) -> int:
    async with provided.base.database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


async def test_a_new_agent_is_registered_and_granted(ada: Api, provider: ScriptedProvider) -> None:
    agent_id = await ada.agent()
    name = agent_selector(agent_id)
    assert provider.shorts() == [
        "check agent:* create",
        f"register agent:{name}",
        f"grant agent:{name} create",
    ]
    assert provider.of_path(REGISTER)[0].json["parent"] is None


async def test_a_new_schedule_is_registered_under_its_agent_and_granted_before_it_is_there(
    ada: Api, provided: Stack, provider: ScriptedProvider
) -> None:
    agent_id = await ada.agent()
    provider.asked.clear()
    schedule_id = await ada.schedule(agent_id)
    agent, schedule = agent_selector(agent_id), selector(agent_id, schedule_id)
    assert provider.shorts() == [
        f"check agent:{agent} update",
        f"register schedule:{schedule}",
        f"grant schedule:{schedule} create",
    ]
    # as its creator, verbatim, and of the creator only four fields are kept
    assert [asked.json["principal"] for asked in provider.asked] == [ADA, ADA, ADA]
    assert provider.of_path(REGISTER)[0].json["parent"] == {"type": "agent", "selector": agent}
    async with provided.base.database.read() as connection:
        stored = (await connection.execute(select(schedules.c.creator_principal))).scalar_one()
    assert stored == {name: ADA[name] for name in ("principal_type", "user_id", "service_account_id", "account_id")}
    assert await count(provided, deregistrations) == 0


@pytest.mark.parametrize("path", [REGISTER, GRANT])
@pytest.mark.parametrize("code", [403, 404, 500])
async def test_what_cannot_be_registered_or_granted_leaves_nothing_behind(
    path: str, code: int, ada: Api, provided: Stack, provider: ScriptedProvider
) -> None:
    # given an agent, and a provider that fails at the new schedule
    agent_id = await ada.agent()
    provider.broken[path] = answer({}, code)
    # when a schedule is created
    wanted = creation(agent_id, name="nightly")
    if code == 403:
        assert (await ada.change("createSchedule", wanted))["__typename"] == "Forbidden"
    else:
        error = await ada.refusal(
            "mutation($input: CreateScheduleInput!) { createSchedule(input: $input) { __typename } }", input=wanted
        )
        assert isinstance(error, ProviderMisconfigured if code == 404 else Unavailable)
    # then there is neither a row nor a clock nor an entry at the provider, nor anything left to do
    assert await count(provided, schedules) == 0
    assert {kind for kind, _ in provider.registered} == {"agent"}
    assert await count(provided, deregistrations) == 0
    # and it can be created once that is over
    provider.broken.clear()
    assert (await ada.change("createSchedule", wanted))["__typename"] == "ScheduleCreated"


async def test_what_cannot_be_taken_back_at_once_is_taken_back_later(
    ada: Api, provided: Stack, provider: ScriptedProvider
) -> None:
    # given a provider that knows the schedule and then fails
    agent_id = await ada.agent()
    provider.broken |= {path: status(500) for path in (GRANT, REVOKE, DEREGISTER)}
    await ada.answer(
        "mutation($input: CreateScheduleInput!) { createSchedule(input: $input) { __typename } }",
        input=creation(agent_id),
    )
    assert {kind for kind, _ in provider.registered} == {"agent", "schedule"}
    assert await count(provided, schedules) == 0
    # when it is still failing, and when it is back
    registrations = provided.base.authority.registrations
    assert await _forget_all(provided) == 1
    assert {kind for kind, _ in provider.registered} == {"agent", "schedule"}
    assert await registrations.forget_due() == 0
    provider.broken.clear()
    assert await _forget_all(provided) == 1
    # then it has forgotten the schedule, as of the four fields that are kept
    assert {kind for kind, _ in provider.registered} == {"agent"}
    assert await count(provided, deregistrations) == 0
    stored = {name: value for name, value in ADA.items() if name != "metadata"}
    assert provider.of_path(DEREGISTER)[-1].json["principal"] == stored


async def test_what_is_lost_between_the_provider_and_the_commit_is_taken_back_later(
    ada: Api, provided: Stack, provider: ScriptedProvider
) -> None:
    registrations = provided.base.authority.registrations
    resource = Resource(ResourceType.SCHEDULE, f"run-schedule::{new_id()}::{new_id()}")
    # given a process that ends after it has told the provider
    with pytest.raises(asyncio.CancelledError):
        async with registrations.of(ada.actor, resource, None):
            raise asyncio.CancelledError
    assert provider.registered == {(resource.type, resource.selector)}
    # when a worker looks at what is due, now and later
    assert await registrations.forget_due() == 0
    assert await _forget_all(provided) == 1
    # then nothing is left of it
    assert provider.registered == set()
    assert await count(provided, deregistrations) == 0


async def test_a_registration_that_was_given_up_meanwhile_keeps_the_row_from_being_written(
    ada: Api, provided: Stack
) -> None:
    registrations = provided.base.authority.registrations
    assert isinstance(registrations, ProviderRegistrations)
    resource = agent_resource(new_id())

    async def write_slowly() -> None:
        async with registrations.of(ada.actor, resource, None) as registration:
            # a worker takes it for abandoned, though its process was only slow
            await _forget_all(provided)
            async with provided.base.database.transaction() as connection:
                await registration.keep(CoreTransaction(connection))

    with pytest.raises(Unavailable):
        await write_slowly()


async def test_a_name_that_is_taken_is_not_left_at_the_provider(ada: Api, provider: ScriptedProvider) -> None:
    agent_id = await ada.agent(name="echo")
    await ada.schedule(agent_id, name="nightly")
    known = set(provider.registered)
    assert (await ada.change("createSchedule", creation(agent_id, name="nightly")))["__typename"] == "NameTaken"
    taken = {"name": "echo", "protocol": "SYNC", "url": "http://agent.test"}
    assert (await ada.change("registerAgent", taken))["__typename"] == "NameTaken"
    assert provider.registered == known


async def test_a_repeated_create_is_registered_once(ada: Api, provider: ScriptedProvider) -> None:
    agent_id = await ada.agent()
    wanted = creation(agent_id, idempotencyKey="once")
    first, *others = await asyncio.gather(*(ada.change("createSchedule", wanted, SCHEDULE) for _ in range(3)))
    assert all(other == first for other in others)
    assert await ada.change("createSchedule", wanted, SCHEDULE) == first
    assert {name for kind, name in provider.registered if kind == "schedule"} == {
        selector(agent_id, first["schedule"]["id"])
    }


async def test_a_deleted_schedule_is_revoked_and_deregistered(
    ada: Api, provided: Stack, provider: ScriptedProvider
) -> None:
    agent_id = await ada.agent()
    schedule_id = await ada.schedule(agent_id)
    provider.asked.clear()
    await ada.change("deleteSchedule", {"id": schedule_id})
    name = selector(agent_id, schedule_id)
    assert provider.shorts() == [
        f"check schedule:{name} delete",
        f"revoke schedule:{name} delete",
        f"deregister schedule:{name}",
    ]
    assert await count(provided, deregistrations) == 0
    await ada.change("deleteAgent", {"id": agent_id})
    assert provider.registered == set()


async def test_a_delete_holds_while_the_provider_cannot_be_told(
    ada: Api, provided: Stack, provider: ScriptedProvider
) -> None:
    schedule_id = await ada.schedule(await ada.agent())
    provider.broken |= {path: status(503) for path in (REVOKE, DEREGISTER)}
    deleted = await ada.change("deleteSchedule", {"id": schedule_id})
    assert deleted["__typename"] == "ScheduleDeleted"
    assert {kind for kind, _ in provider.registered} == {"agent", "schedule"}
    provider.broken.clear()
    assert await _forget_all(provided) == 1
    assert {kind for kind, _ in provider.registered} == {"agent"}


async def _forget_all(provided: Stack) -> int:
    """Let a worker look at what is due, once that is everything."""
    async with provided.base.database.transaction() as connection:
        await connection.execute(update(deregistrations).values(due_at=func.now()))
    return await provided.base.authority.registrations.forget_due()
