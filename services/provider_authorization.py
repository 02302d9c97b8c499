"""What callers may do, as the authorization provider says: asked each time, and never remembered."""

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import func, select, update

from services.authorization import (
    ANY,
    Action,
    Operation,
    Question,
    Resource,
    ResourceType,
    agent_resource,
    selected_id,
    task_resource,
)
from services.creators import Work
from services.database import Database
from services.errors import Unauthenticated
from services.principals import Actor
from services.provider import ADVICE, Denied, Provider
from services.tables import tasks

AT_ONCE = 16
"""Questions of one caller at the same time: a page asks many."""

ANY_TASK = Resource(ResourceType.TASK, ANY)


class ProviderAuthorizer:
    """An `Authorizer`."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def known(self, actor: Actor, action: Action) -> bool | None:
        return None

    async def allowed(self, actor: Actor, questions: Sequence[Question]) -> list[bool]:
        principal, gate = presented(actor), asyncio.Semaphore(AT_ONCE)

        async def ask(question: Question) -> bool:
            async with gate:
                return await self._provider.check(principal, question.resource, question.action.operation)

        if len(questions) == 1:
            return [await ask(questions[0])]
        asking = [asyncio.ensure_future(ask(question)) for question in questions]
        try:
            return [*await asyncio.gather(*asking)]
        finally:
            for each in asking:
                each.cancel()

    async def readable(self, actor: Actor, type: ResourceType) -> frozenset[UUID] | None:
        selectors = await self._provider.search(presented(actor), type, Operation.READ)
        if selectors is None:
            return None
        ids = (selected_id(type, selector) for selector in selectors)
        return frozenset(each for each in ids if each is not None)

    def visibility(self, actor: Actor) -> Hashable:
        return actor, orjson.dumps(presented(actor), option=orjson.OPT_SORT_KEYS)


class ProviderCreators:
    """`Creators`. The task of a run is the provider's to know as well, before it is asked about it."""

    asks = True

    def __init__(self, provider: Provider, database: Database) -> None:
        self._provider = provider
        self._database = database

    async def may_send(self, work: Work) -> bool:
        if work.creator is None:
            return False
        creator, agent, task = work.creator.to_json(), agent_resource(work.agent_id), task_resource(work.task_id)
        try:
            return (
                await self._provider.check(creator, agent, Operation.EXECUTE)
                and await self._provider.check(creator, ANY_TASK, Operation.CREATE)
                and await self._register_once(creator, task, agent, work)
                and await self._provider.check(creator, task, Operation.UPDATE)
            )
        except Denied:
            return False

    async def _register_once(self, creator: Mapping[str, Any], task: Resource, agent: Resource, work: Work) -> bool:
        """Tell the provider of the task, under its agent and as its creator's. Always true."""
        mine = tasks.c.id == work.task_id
        async with self._database.read() as connection:
            registered_at = (await connection.execute(select(tasks.c.registered_at).where(mine))).scalar_one()
        if registered_at is None:
            await self._provider.register(creator, task, agent)
            await self._provider.grant(creator, task)
            async with self._database.transaction() as connection:
                await connection.execute(update(tasks).where(mine).values(registered_at=func.now()))
        return True


def presented(actor: Actor) -> Mapping[str, Any]:
    """The principal as the provider gave it. Raises `Unauthenticated` for a caller that it did not give."""
    if actor.presented is None:
        raise Unauthenticated(ADVICE)
    return actor.presented
