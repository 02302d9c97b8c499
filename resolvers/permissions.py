"""What the caller may do, asked at every edge: reads that are denied look like absence, and so do other denials where
reading is denied too. What is not there is asked about all the same, so that the time tells no more than the answer.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from resolvers.context import Context
from resolvers.ids import NOBODY
from services.authorization import (
    ANY,
    DELETE_SCHEDULE,
    READ_AGENT,
    READ_SCHEDULE,
    READ_TASK,
    REGISTER_AGENT,
    RUN_AGENT,
    TRIGGER_SCHEDULE,
    UPDATE_SCHEDULE,
    Action,
    Question,
    Resource,
    ResourceType,
    agent_resource,
    schedule_resource,
    task_resource,
)
from services.errors import Forbidden, NotFound
from services.run import Run
from services.runs import ReadableRuns
from services.schedule import Schedule

READS = {
    ResourceType.AGENT: READ_AGENT,
    ResourceType.SCHEDULE: READ_SCHEDULE,
    ResourceType.TASK: READ_TASK,
}
DELETED = "The schedule is deleted."


@dataclass(frozen=True, slots=True)
class Verdict:
    reason: str | None = None
    """Why it is not allowed; None where it is."""

    @property
    def allowed(self) -> bool:
        return self.reason is None


@dataclass(frozen=True, slots=True)
class ScheduleVerdicts:
    update: Verdict
    delete: Verdict
    trigger: Verdict


async def may(context: Context, action: Action, resource: Resource) -> bool:
    """Whether the caller may do it; each question of an operation is asked once."""
    known = context.services.authorizer.known(context.actor, action)
    return known if known is not None else await context.loaders.allowed.load(Question(action, resource))


async def is_operator(context: Context) -> bool:
    """Whether the caller may do what operators may, which is to register agents."""
    return await may(context, REGISTER_AGENT, Resource(ResourceType.AGENT, ANY))


async def may_see_agent(context: Context, agent_id: UUID) -> bool:
    return await may(context, READ_AGENT, agent_resource(agent_id))


async def may_see_schedule(context: Context, schedule_id: UUID, schedule: Schedule | None) -> bool:
    if sees_all(context, ResourceType.SCHEDULE):
        return True
    return await may(context, READ_SCHEDULE, _schedule(schedule_id, schedule))


async def may_see_task(context: Context, task_id: UUID) -> bool:
    return await may(context, READ_TASK, task_resource(task_id))


async def may_see_run(context: Context, run: Run | None) -> bool:
    """A run is its schedule's, and one without a schedule is its agent's."""
    resource = of_run(run)
    return await may(context, READS[resource.type], resource)


async def visible_runs(context: Context, runs: Iterable[Run]) -> list[Run]:
    """Those that the caller may see, asked about at once."""
    found = [*runs]
    if sees_all(context, ResourceType.SCHEDULE) and sees_all(context, ResourceType.AGENT):
        return found
    allowed = await asyncio.gather(*(may_see_run(context, run) for run in found))
    return [run for run, is_allowed in zip(found, allowed, strict=True) if is_allowed]


async def visible_schedules(context: Context, schedules: Iterable[Schedule]) -> list[Schedule]:
    """Those that the caller may see, asked about at once."""
    found = [*schedules]
    if sees_all(context, ResourceType.SCHEDULE):
        return found
    allowed = await asyncio.gather(*(may_see_schedule(context, each.id, each) for each in found))
    return [schedule for schedule, is_allowed in zip(found, allowed, strict=True) if is_allowed]


async def readable(context: Context, type: ResourceType) -> frozenset[UUID] | None:
    """The ids of all that the caller may read, to filter lists by; None where that is all of its account."""
    if context.services.authorizer.known(context.actor, READS[type]):
        return None
    return await context.loaders.readable.load(type)


async def readable_runs(context: Context) -> ReadableRuns | None:
    schedules, agents = await asyncio.gather(
        readable(context, ResourceType.SCHEDULE), readable(context, ResourceType.AGENT)
    )
    return None if schedules is None and agents is None else ReadableRuns(schedules, agents)


def sees_all(context: Context, type: ResourceType) -> bool:
    """Whether it is known that the caller may see everything of that type in its account."""
    return context.services.authorizer.known(context.actor, READS[type]) is True


def found_readable(context: Context, type: ResourceType, resources: Callable[[], Iterable[Resource]]) -> None:
    """These came from a list that only holds what the caller may read: nobody needs to be asked again."""
    if context.services.authorizer.known(context.actor, READS[type]) is None:
        for resource in resources():
            context.loaders.allowed.prime(Question(READS[resource.type], resource), True)


async def require_registration(context: Context) -> None:
    """Raises `Forbidden` where the caller may not register agents."""
    if not await is_operator(context):
        raise Forbidden(REGISTER_AGENT.verb, "agent", "input")


async def require_agent(context: Context, action: Action, agent_id: UUID, *path: str) -> None:
    """Raises `NotFound` and `Forbidden`."""
    if context.services.authorizer.known(context.actor, action):
        return
    agent = await context.loaders.agent.load(agent_id)
    await _require(context, action, agent_resource(agent_id), agent is not None, "agent", path)


async def require_schedule(context: Context, action: Action, schedule_id: UUID) -> None:
    """Raises `NotFound` and `Forbidden`."""
    if context.services.authorizer.known(context.actor, action):
        return
    schedule = await context.loaders.schedule.load(schedule_id)
    is_there = schedule is not None and schedule.deleted_at is None
    await _require(context, action, _schedule(schedule_id, schedule), is_there, "schedule", ("input", "id"))


async def require_run(context: Context, run_id: UUID) -> None:
    """Allowed to whoever may run its schedule, or its agent where it has none. Raises `NotFound` and `Forbidden`."""
    if context.services.authorizer.known(context.actor, TRIGGER_SCHEDULE):
        return
    run = await context.loaders.run.load(run_id)
    resource = of_run(run)
    action = TRIGGER_SCHEDULE if resource.type is ResourceType.SCHEDULE else RUN_AGENT
    await _require(context, action, resource, run is not None, "run", ("input", "id"))


async def _require(
    context: Context, action: Action, resource: Resource, is_there: bool, kind: str, path: tuple[str, ...]
) -> None:
    if await may(context, action, resource) and is_there:
        return
    if await may(context, READS[resource.type], resource) and is_there:
        raise Forbidden(action.verb, kind, *path)
    raise NotFound(kind, *path)


async def of_schedule(context: Context, schedule: Schedule) -> ScheduleVerdicts:
    """Each as the mutation would decide; the questions of a page are asked at once."""
    if schedule.deleted_at is not None:
        gone = Verdict(DELETED)
        return ScheduleVerdicts(update=gone, delete=gone, trigger=gone)
    if (known := known_of_schedules(context)) is not None:
        return known
    resource = schedule_resource(schedule.agent_id, schedule.id)

    async def verdict(action: Action) -> Verdict:
        return _verdict(action, await may(context, action, resource))

    update, delete, trigger = await asyncio.gather(
        *(verdict(action) for action in (UPDATE_SCHEDULE, DELETE_SCHEDULE, TRIGGER_SCHEDULE))
    )
    return ScheduleVerdicts(update=update, delete=delete, trigger=trigger)


def known_of_schedules(context: Context) -> ScheduleVerdicts | None:
    """What holds for every schedule that is not deleted; None where each has to be asked about."""
    known = context.services.authorizer.known
    verdicts = []
    for action in (UPDATE_SCHEDULE, DELETE_SCHEDULE, TRIGGER_SCHEDULE):
        allowed = known(context.actor, action)
        if allowed is None:
            return None
        verdicts.append(_verdict(action, allowed))
    update, delete, trigger = verdicts
    return ScheduleVerdicts(update=update, delete=delete, trigger=trigger)


def _verdict(action: Action, allowed: bool) -> Verdict:
    return Verdict() if allowed else Verdict(Forbidden(action.verb, "schedule").message)


def of_run(run: Run | None) -> Resource:
    """What a run is seen and steered by."""
    if run is None:
        return schedule_resource(NOBODY, NOBODY)
    if run.schedule_id is None:
        return agent_resource(run.agent_id or NOBODY)
    return schedule_resource(run.agent_id or NOBODY, run.schedule_id)


def _schedule(schedule_id: UUID, schedule: Schedule | None) -> Resource:
    return schedule_resource(schedule.agent_id if schedule else NOBODY, schedule_id)
