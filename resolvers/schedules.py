"""Schedules: by id, by name, by page, their history, and the commands on them."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from resolvers import filters, paging, permissions
from resolvers.context import Context
from resolvers.ids import NOBODY, Kind, key_of
from services import fields
from services.agents import agent_of
from services.authorization import (
    DELETE_SCHEDULE,
    SCHEDULE_AGENT,
    TRIGGER_SCHEDULE,
    UPDATE_SCHEDULE,
    ResourceType,
    schedule_resource,
)
from services.backfills import Span
from services.definition import Difference
from services.errors import Issue
from services.schedule import Definition, Schedule
from services.schedule_queries import Along, Revision
from services.schedule_statements import Reading, ScheduleFilter
from services.schedules import ScheduleChanges

CREATED_AT, UPDATED_AT, NAME = "created_at", "updated_at", "name"


def order(column: str, *, descending: bool) -> paging.Order:
    by = paging.Sorted.BY_NAME if column == NAME else paging.Sorted.BY_TIME
    return paging.Order("schedules", column, by, descending)


NEWEST_FIRST = order(CREATED_AT, descending=True)
LATEST_VERSION_FIRST = paging.Order("changes", "version", paging.Sorted.BY_NUMBER, descending=True)


async def by_key(context: Context, schedule_id: UUID) -> Schedule | None:
    schedule = await context.loaders.schedule.load(schedule_id)
    return schedule if await permissions.may_see_schedule(context, schedule_id, schedule) else None


async def by_id(context: Context, text: str, reading: Reading) -> tuple[Schedule | None, Along]:
    """The schedule, read as asked, with what is read along with it."""
    schedule_id, reading = key_of(Kind.SCHEDULE, text), _as_needed(context, reading)
    schedule, along = await context.services.schedule_queries.get(context.actor, schedule_id, reading)
    return await _if_seen(context, schedule_id, schedule, along)


async def by_name(context: Context, agent_id: str, name: str, reading: Reading) -> tuple[Schedule | None, Along]:
    """The live schedule of that agent and name; a text that is no name is no schedule's."""
    schedule, along = None, Along()
    if fields.NAME_PATTERN.fullmatch(name):
        queries, reading = context.services.schedule_queries, _as_needed(context, reading)
        schedule, along = await queries.by_name(context.actor, key_of(Kind.AGENT, agent_id), name, reading)
    return await _if_seen(context, schedule.id if schedule else NOBODY, schedule, along)


async def _if_seen(
    context: Context, schedule_id: UUID, schedule: Schedule | None, along: Along
) -> tuple[Schedule | None, Along]:
    if not await permissions.may_see_schedule(context, schedule_id, schedule):
        return None, Along()
    return schedule, _loaded(context, along)


async def page(
    context: Context, filter: ScheduleFilter, order: paging.Order, asked: paging.Slice, reading: Reading
) -> tuple[paging.Listing[Schedule], Along]:
    """A page with what is read along with it, in one statement. Raises `InvalidInput`."""
    check_filter(filter)
    window = paging.window(asked, order)
    queries, actor = context.services.schedule_queries, context.actor
    readable = replace(filter, readable=await permissions.readable(context, ResourceType.SCHEDULE))
    found, along = await queries.page(actor, readable, order.column, window, _as_needed(context, reading))
    permissions.found_readable(
        context, ResourceType.SCHEDULE, lambda: (schedule_resource(each.agent_id, each.id) for each in found.items)
    )
    listing = paging.listing(
        found,
        order,
        key=lambda schedule: (schedule.row[order.column], schedule.row["id"]),
        count=lambda: queries.count(actor, readable),
        total=along.total,
    )
    return listing, _loaded(context, along)


async def page_of_agent(
    context: Context, agent_id: UUID, filter: ScheduleFilter, order: paging.Order, asked: paging.Slice, reading: Reading
) -> tuple[paging.Listing[Schedule], Along]:
    """As `page`."""
    within = filter.agent_ids is None or agent_id in filter.agent_ids
    return await page(context, replace(filter, agent_ids=(agent_id,) if within else ()), order, asked, reading)


def _as_needed(context: Context, reading: Reading) -> Reading:
    """Agents that go to their loader have to be whole."""
    if not reading.agent or reading.whole_agent or permissions.sees_all(context, ResourceType.AGENT):
        return reading
    return replace(reading, whole_agent=True)


def _loaded(context: Context, along: Along) -> Along:
    """What was read along and the caller may see without being asked about; the rest is for the loaders to give."""
    agents, last_runs = along.agents, along.last_runs
    if along.skips is not None:
        context.loaders.skips.prime_many(along.skips)
    if agents is not None and not permissions.sees_all(context, ResourceType.AGENT):
        context.loaders.agent.prime_many({key: agent_of(columns) for key, columns in agents.items()})
        agents = None
    if last_runs is not None and not permissions.sees_all(context, ResourceType.SCHEDULE):
        context.loaders.last_run.prime_many(last_runs)
        last_runs = None
    if agents is along.agents and last_runs is along.last_runs:
        return along
    return replace(along, agents=agents, last_runs=last_runs)


def check_filter(filter: ScheduleFilter) -> None:
    """Raises `InvalidInput` for texts that nothing can be compared with."""
    labels = [
        (text, ("filter", "labels", str(index), part))
        for index, label in enumerate(filter.labels)
        for part, text in zip(("key", "value"), label, strict=True)
    ]
    filters.check(
        (filter.search, ("filter", "search")),
        (filter.created_by, ("filter", "createdBy")),
        *labels,
    )


async def changes(context: Context, schedule: Schedule, asked: paging.Slice) -> paging.Listing[Revision]:
    """Raises `InvalidInput`."""
    window = paging.window(asked, LATEST_VERSION_FIRST)
    queries, actor = context.services.schedule_queries, context.actor
    found = await queries.revisions(actor, schedule.id, window)
    return paging.listing(
        found,
        LATEST_VERSION_FIRST,
        key=lambda revision: (revision.version, revision.schedule_id),
        count=lambda: queries.count_revisions(actor, schedule.id),
    )


async def create(
    context: Context,
    agent_id: UUID,
    definition: Definition,
    *,
    idempotency_key: str | None,
    issues: tuple[Issue, ...],
) -> Schedule:
    await permissions.require_agent(context, SCHEDULE_AGENT, agent_id, "input", "agentId")
    schedule = await context.services.schedules.create(
        context.actor, agent_id, definition, idempotency_key=idempotency_key, issues=issues
    )
    context.changed(schedule.id)
    return schedule


async def update(
    context: Context,
    schedule_id: UUID,
    changes: ScheduleChanges,
    *,
    expected_version: int,
    note: str | None,
    issues: tuple[Issue, ...],
) -> tuple[Schedule, list[Difference]]:
    await permissions.require_schedule(context, UPDATE_SCHEDULE, schedule_id)
    schedule, changed = await context.services.schedules.update(
        context.actor, schedule_id, changes, expected_version=expected_version, note=note, issues=issues
    )
    context.changed(schedule.id)
    return schedule, changed


async def pause(context: Context, schedule_id: UUID, *, expected_version: int | None, note: str | None) -> Schedule:
    await permissions.require_schedule(context, UPDATE_SCHEDULE, schedule_id)
    schedule = await context.services.schedules.pause(
        context.actor, schedule_id, expected_version=expected_version, note=note
    )
    context.changed(schedule.id)
    return schedule


async def resume(context: Context, schedule_id: UUID, *, expected_version: int | None, note: str | None) -> Schedule:
    await permissions.require_schedule(context, UPDATE_SCHEDULE, schedule_id)
    schedule = await context.services.schedules.resume(
        context.actor, schedule_id, expected_version=expected_version, note=note
    )
    context.changed(schedule.id)
    return schedule


async def delete(context: Context, schedule_id: UUID, *, expected_version: int | None, note: str | None) -> Schedule:
    await permissions.require_schedule(context, DELETE_SCHEDULE, schedule_id)
    schedule = await context.services.schedules.delete(
        context.actor, schedule_id, expected_version=expected_version, note=note
    )
    context.changed(schedule.id)
    return schedule


async def skip_fire(
    context: Context, schedule_id: UUID, fire_at: datetime | None, *, note: str | None, issues: tuple[Issue, ...]
) -> tuple[Schedule, datetime]:
    await permissions.require_schedule(context, UPDATE_SCHEDULE, schedule_id)
    at = await context.services.skips.skip(context.actor, schedule_id, fire_at, note=note, issues=issues)
    return await _after(context, schedule_id), at


async def unskip_fire(
    context: Context, schedule_id: UUID, fire_at: datetime | None, *, note: str | None, issues: tuple[Issue, ...]
) -> tuple[Schedule, datetime]:
    await permissions.require_schedule(context, UPDATE_SCHEDULE, schedule_id)
    at = await context.services.skips.unskip(context.actor, schedule_id, fire_at, note=note, issues=issues)
    return await _after(context, schedule_id), at


async def plan_backfill(
    context: Context, schedule_id: UUID, span: Span, issues: tuple[Issue, ...]
) -> tuple[Schedule, tuple[datetime, ...]]:
    await permissions.require_schedule(context, TRIGGER_SCHEDULE, schedule_id)
    fires = await context.services.backfills.plan(context.actor, schedule_id, span, issues)
    return await _after(context, schedule_id), fires


async def backfill(
    context: Context, schedule_id: UUID, span: Span, *, idempotency_key: str | None, issues: tuple[Issue, ...]
) -> tuple[Schedule, tuple[datetime, ...]]:
    await permissions.require_schedule(context, TRIGGER_SCHEDULE, schedule_id)
    fires = await context.services.backfills.start(
        context.actor, schedule_id, span, idempotency_key=idempotency_key, issues=issues
    )
    return await _after(context, schedule_id), fires


async def _after(context: Context, schedule_id: UUID) -> Schedule:
    """The schedule as it is after what was done to it."""
    context.changed(schedule_id)
    found = await context.services.schedule_queries.get_many(context.actor, [schedule_id])
    return found[schedule_id]
