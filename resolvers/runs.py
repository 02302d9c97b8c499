"""Runs, with their attempts, tasks and messages, and the runs that someone asks for."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from resolvers import paging, permissions
from resolvers.context import Context
from resolvers.ids import Kind, key_of
from services import keyset
from services.authorization import RUN_AGENT, TRIGGER_SCHEDULE, ResourceType
from services.errors import Issue
from services.manual_runs import AgentRunRequest
from services.run import Attempt, Message, Resolution, Run, Task, TaskCancellation
from services.runs import RunFilter, RunStats
from services.schedule import Schedule

FIRE_AT = "fire_at"


def order(column: str, *, descending: bool) -> paging.Order:
    return paging.Order("runs", column, paging.Sorted.BY_TIME, descending)


LATEST_FIRST = order(FIRE_AT, descending=True)
IN_SEQUENCE = paging.Order("messages", "sequence", paging.Sorted.BY_NUMBER)


async def by_key(context: Context, run_id: UUID) -> Run | None:
    return await _if_seen(context, await context.loaders.run.load(run_id))


async def by_id(context: Context, text: str) -> Run | None:
    return await by_key(context, key_of(Kind.RUN, text))


async def last_of(context: Context, schedule_id: UUID) -> Run | None:
    run = await context.loaders.last_run.load(schedule_id)
    return run and await _if_seen(context, run)


async def _if_seen(context: Context, run: Run | None) -> Run | None:
    return run if await permissions.may_see_run(context, run) else None


async def task(context: Context, task_id: UUID) -> Task | None:
    task = await context.loaders.task.load(task_id)
    return task if await permissions.may_see_task(context, task_id) else None


async def attempts(context: Context, run_id: UUID) -> list[Attempt]:
    return await context.loaders.attempts.load(run_id) or []


async def cancellation(context: Context, task_id: UUID) -> TaskCancellation | None:
    return await context.loaders.cancellation.load(task_id)


async def page(context: Context, filter: RunFilter, order: paging.Order, asked: paging.Slice) -> paging.Listing[Run]:
    """Raises `InvalidInput`."""
    window = paging.window(asked, order)
    return await _page(context, replace(filter, readable=await permissions.readable_runs(context)), order, window)


async def _page(context: Context, filter: RunFilter, order: paging.Order, window: keyset.Window) -> paging.Listing[Run]:
    """Of runs that the caller may see, which is either what the filter says or known already."""
    return _listing(context, filter, order, await context.services.runs.page(context.actor, filter, window))


def _listing(context: Context, filter: RunFilter, order: paging.Order, found: keyset.Page[Run]) -> paging.Listing[Run]:
    runs, actor = context.services.runs, context.actor
    for owner in (ResourceType.SCHEDULE, ResourceType.AGENT):
        permissions.found_readable(context, owner, lambda: map(permissions.of_run, found.items))
    return paging.listing(found, order, key=lambda run: (run.fire_at, run.id), count=lambda: runs.count(actor, filter))


async def page_of_schedule(
    context: Context, schedule_id: UUID, filter: RunFilter, asked: paging.Slice
) -> paging.Listing[Run]:
    """The runs of a schedule that the caller may see, the latest fire first. Raises `InvalidInput`."""
    window = paging.window(asked, LATEST_FIRST)
    within = filter.schedule_ids is None or schedule_id in filter.schedule_ids
    narrowed = replace(filter, schedule_ids=(schedule_id,) if within else ())
    return await _page(context, narrowed, LATEST_FIRST, window)


async def first_pages(context: Context, schedule_ids: list[UUID], first: int | None) -> list[paging.Listing[Run]]:
    """The first page of the runs of each schedule, as `page_of_schedule`, in one statement. Raises `InvalidInput`."""
    window = paging.window(paging.Slice(first=first), LATEST_FIRST)
    ids = [*dict.fromkeys(schedule_ids)]
    latest = await context.services.runs.latest_of(context.actor, ids, window.limit + 1)
    return [
        _listing(context, RunFilter(schedule_ids=(each,)), LATEST_FIRST, keyset.page_of(latest.get(each, []), window))
        for each in schedule_ids
    ]


async def messages(context: Context, task_id: UUID, asked: paging.Slice) -> paging.Listing[Message]:
    """Raises `InvalidInput`."""
    window = paging.window(asked, IN_SEQUENCE)
    runs, actor = context.services.runs, context.actor
    found = await runs.messages(actor, task_id, window)
    return paging.listing(
        found,
        IN_SEQUENCE,
        key=lambda message: (message.sequence, message.id),
        count=lambda: runs.count_messages(actor, task_id),
    )


async def stats(context: Context, schedule_id: UUID, since: datetime | None) -> RunStats:
    return await context.services.runs.stats(context.actor, schedule_id, since)


async def run_agent(context: Context, request: AgentRunRequest, issues: tuple[Issue, ...]) -> Run:
    await permissions.require_agent(context, RUN_AGENT, request.agent_id, "input", "agentId")
    return await context.services.manual_runs.run_agent(context.actor, request, issues)


async def trigger(
    context: Context, schedule_id: UUID, *, idempotency_key: str | None, note: str | None, skip_next_fire: bool
) -> tuple[Run, Schedule]:
    """The run, and its schedule as it is after it."""
    await permissions.require_schedule(context, TRIGGER_SCHEDULE, schedule_id)
    run = await context.services.manual_runs.trigger(
        context.actor, schedule_id, idempotency_key=idempotency_key, note=note, skip_next_fire=skip_next_fire
    )
    context.changed(schedule_id)
    found = await context.services.schedule_queries.get_many(context.actor, [schedule_id])
    return run, found[schedule_id]


async def retry(context: Context, run_id: UUID, *, idempotency_key: str | None, note: str | None) -> Run:
    await permissions.require_run(context, run_id)
    run = await context.services.interventions.retry(context.actor, run_id, idempotency_key=idempotency_key, note=note)
    context.forget()
    return run


async def resolve(context: Context, run_id: UUID, resolution: Resolution, *, note: str | None) -> Run:
    await permissions.require_run(context, run_id)
    run = await context.services.interventions.resolve(context.actor, run_id, resolution, note=note)
    context.forget()
    return run
