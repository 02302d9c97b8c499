"""The loaders of one request: whatever its fields ask for at one moment is read in one go."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from resolvers.loader import Loader
from services.agent import Agent
from services.agents import Agents
from services.authorization import Authorizer, Question, ResourceType
from services.live import Live
from services.live_reader import LiveReader, Wanted
from services.principals import Actor
from services.run import Attempt, Run, Task, TaskCancellation
from services.runs import Runs
from services.schedule import Schedule
from services.schedule_queries import ScheduleQueries

T = TypeVar("T")


class Loaders:
    """Every one is for one actor, and knows nothing of rows outside that actor's account.

    They say what there is, and not who may see it: that is asked for by the resolvers, of `allowed` and `readable`.
    """

    def __init__(
        self,
        actor: Actor,
        *,
        authorizer: Authorizer,
        agents: Agents,
        schedules: ScheduleQueries,
        runs: Runs,
        live: LiveReader,
    ) -> None:
        self.agent: Loader[UUID, Agent | None] = _by_id(lambda ids: agents.get_many(actor, ids))
        self.schedule: Loader[UUID, Schedule | None] = _by_id(lambda ids: schedules.get_many(actor, ids))
        self.run: Loader[UUID, Run | None] = _by_id(lambda ids: runs.get_many(actor, ids))
        self.last_run: Loader[UUID, Run | None] = _by_id(lambda ids: runs.last_of(actor, ids))
        self.task: Loader[UUID, Task | None] = _by_id(lambda ids: runs.tasks(actor, ids))
        self.cancellation: Loader[UUID, TaskCancellation | None] = _by_id(lambda ids: runs.cancellations_of(actor, ids))
        self.attempts: Loader[UUID, list[Attempt] | None] = _by_id(lambda ids: runs.attempts_of(actor, ids))
        self.skips: Loader[UUID, tuple[datetime, ...] | None] = _by_id(lambda ids: schedules.skipped_of(actor, ids))
        self.live: Loader[Wanted, Live] = Loader(live.read, name=_live_key)

        async def allowed(questions: list[Question]) -> list[bool]:
            return await authorizer.allowed(actor, questions)

        async def readable(types: list[ResourceType]) -> list[frozenset[UUID] | None]:
            return [*await asyncio.gather(*(authorizer.readable(actor, each) for each in types))]

        self.allowed: Loader[Question, bool] = Loader(allowed, name=_question_key)
        self.readable: Loader[ResourceType, frozenset[UUID] | None] = Loader(readable)


def _by_id(read: Callable[[list[UUID]], Awaitable[dict[UUID, T]]]) -> Loader[UUID, T | None]:
    async def load(ids: list[UUID]) -> list[T | None]:
        found = await read(ids)
        return [found.get(each) for each in ids]

    return Loader(load)


def _question_key(question: Question) -> Hashable:
    """Two actions of one operation are one question."""
    return question.action.operation, question.resource


def _live_key(wanted: Wanted) -> Hashable:
    schedule, fresh, counters = wanted
    return schedule.id, schedule.version, fresh, counters
