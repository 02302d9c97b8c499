"""Anything by its global id."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from resolvers import agents, runs, schedules
from resolvers.context import Context
from resolvers.ids import Kind, decode
from services.agent import Agent
from services.run import Run, Task
from services.schedule import Schedule

T = TypeVar("T")
Found = Agent | Schedule | Run | Task


async def by_id(context: Context, text: str, kinds: frozenset[Kind]) -> Found | None:
    """The row of that id, if it is of one of the kinds and the caller may see it."""
    decoded = decode(text)
    if decoded is None or decoded[0] not in kinds:
        return None
    kind, key = decoded
    if kind is Kind.AGENT:
        return await agents.by_key(context, key)
    if kind is Kind.SCHEDULE:
        return await schedules.by_key(context, key)
    if kind is Kind.RUN:
        return await runs.by_key(context, key)
    return await runs.task(context, key)


async def in_order(reads: list[Coroutine[Any, Any, T]]) -> list[T]:
    """All of them at once, so that their loaders read each kind in one go."""
    return [*await asyncio.gather(*reads)]
