"""Agents: by id, by name, by page, and the commands on them."""

from uuid import UUID

from resolvers import filters, paging
from resolvers.context import Context
from resolvers.ids import Kind, key_of
from services import fields
from services.agent import Agent, AgentProtocol
from services.agents import AgentChanges, AgentFilter
from services.errors import Issue, NotFound

CREATED_AT, UPDATED_AT, NAME = "created_at", "updated_at", "name"


def order(column: str, *, descending: bool) -> paging.Order:
    by = paging.Sorted.BY_NAME if column == NAME else paging.Sorted.BY_TIME
    return paging.Order("agents", column, by, descending)


NEWEST_FIRST = order(CREATED_AT, descending=True)


async def by_key(context: Context, agent_id: UUID) -> Agent | None:
    return await context.loaders.agent.load(agent_id)


async def of(context: Context, agent_id: UUID) -> Agent:
    """The agent that a row refers to, deleted or not. Raises `NotFound` where the caller may not see it."""
    agent = await by_key(context, agent_id)
    if agent is None:
        raise NotFound("agent")
    return agent


async def by_id(context: Context, text: str) -> Agent | None:
    return await by_key(context, key_of(Kind.AGENT, text))


async def by_name(context: Context, name: str) -> Agent | None:
    """The live agent of that name; a text that is no name is nobody's."""
    if not fields.NAME_PATTERN.fullmatch(name):
        return None
    return await context.services.agents.by_name(context.actor, name)


async def page(
    context: Context, filter: AgentFilter, order: paging.Order, asked: paging.Slice
) -> paging.Listing[Agent]:
    """Raises `InvalidInput`."""
    filters.check((filter.search, ("filter", "search")))
    window = paging.window(asked, order)
    agents, actor = context.services.agents, context.actor
    found = await agents.page(actor, filter, order.column, window)
    return paging.listing(
        found,
        order,
        key=lambda agent: (getattr(agent, order.column), agent.id),
        count=lambda: agents.count(actor, filter),
    )


async def register(
    context: Context, *, name: str, description: str | None, protocol: AgentProtocol, url: str, api_key: str | None
) -> Agent:
    return await context.services.agents.register(
        context.actor, name=name, description=description, protocol=protocol, url=url, api_key=api_key
    )


async def update(
    context: Context, agent_id: UUID, changes: AgentChanges, *, expected_version: int, issues: tuple[Issue, ...]
) -> Agent:
    agent = await context.services.agents.update(
        context.actor, agent_id, changes, expected_version=expected_version, issues=issues
    )
    context.forget()
    return agent


async def delete(context: Context, agent_id: UUID, *, expected_version: int | None) -> Agent:
    agent = await context.services.agents.delete(context.actor, agent_id, expected_version=expected_version)
    context.forget()
    return agent
