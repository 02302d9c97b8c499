"""Agents: by id, by name, by page, and the commands on them."""

from dataclasses import replace
from uuid import UUID

from resolvers import filters, paging, permissions
from resolvers.context import Context
from resolvers.ids import NOBODY, Kind, key_of
from services import fields
from services.agent import Agent, AgentProtocol, DeliveryMethod
from services.agents import AgentChanges, AgentFilter
from services.authorization import DELETE_AGENT, UPDATE_AGENT, ResourceType, agent_resource
from services.errors import Issue, NotFound

CREATED_AT, UPDATED_AT, NAME = "created_at", "updated_at", "name"


def order(column: str, *, descending: bool) -> paging.Order:
    by = paging.Sorted.BY_NAME if column == NAME else paging.Sorted.BY_TIME
    return paging.Order("agents", column, by, descending)


NEWEST_FIRST = order(CREATED_AT, descending=True)


async def by_key(context: Context, agent_id: UUID) -> Agent | None:
    """Deleted or not; None as well where the caller may not see it."""
    agent = await context.loaders.agent.load(agent_id)
    return agent if await permissions.may_see_agent(context, agent_id) else None


async def delivery_method(context: Context, agent_id: UUID) -> DeliveryMethod:
    """How the input of a schedule reaches its agent, which is the schedule's to tell."""
    agent = await context.loaders.agent.load(agent_id)
    if agent is None:
        raise NotFound("agent")
    return agent.delivery_method


async def by_id(context: Context, text: str) -> Agent | None:
    return await by_key(context, key_of(Kind.AGENT, text))


async def by_name(context: Context, name: str) -> Agent | None:
    """The live agent of that name; a text that is no name is nobody's."""
    agent = None
    if fields.NAME_PATTERN.fullmatch(name):
        agent = await context.services.agents.by_name(context.actor, name)
    agent_id = agent.id if agent else NOBODY
    return agent if await permissions.may_see_agent(context, agent_id) else None


async def page(
    context: Context, filter: AgentFilter, order: paging.Order, asked: paging.Slice
) -> paging.Listing[Agent]:
    """Raises `InvalidInput`."""
    filters.check((filter.search, ("filter", "search")))
    window = paging.window(asked, order)
    agents, actor = context.services.agents, context.actor
    readable = replace(filter, readable=await permissions.readable(context, ResourceType.AGENT))
    found = await agents.page(actor, readable, order.column, window)
    permissions.found_readable(context, ResourceType.AGENT, lambda: (agent_resource(each.id) for each in found.items))
    return paging.listing(
        found,
        order,
        key=lambda agent: (getattr(agent, order.column), agent.id),
        count=lambda: agents.count(actor, readable),
    )


async def register(
    context: Context, *, name: str, description: str | None, protocol: AgentProtocol, url: str, api_key: str | None
) -> Agent:
    await permissions.require_registration(context)
    return await context.services.agents.register(
        context.actor, name=name, description=description, protocol=protocol, url=url, api_key=api_key
    )


async def update(
    context: Context, agent_id: UUID, changes: AgentChanges, *, expected_version: int, issues: tuple[Issue, ...]
) -> Agent:
    await permissions.require_agent(context, UPDATE_AGENT, agent_id, "input", "id")
    agent = await context.services.agents.update(
        context.actor, agent_id, changes, expected_version=expected_version, issues=issues
    )
    context.forget()
    return agent


async def delete(context: Context, agent_id: UUID, *, expected_version: int | None) -> Agent:
    await permissions.require_agent(context, DELETE_AGENT, agent_id, "input", "id")
    agent = await context.services.agents.delete(context.actor, agent_id, expected_version=expected_version)
    context.forget()
    return agent
