"""Subscriptions: the events of the log, batch by batch, with the rows that they are about."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime

from resolvers import paging, permissions, runs
from resolvers.context import Context
from resolvers.schedules import check_filter
from services.feed_event import Event, EventKind
from services.run import Run, RunStatus, RunTrigger
from services.runs import RunFilter
from services.schedule import Schedule
from services.schedule_queries import Revision, ScheduleFilter


@dataclass(frozen=True, slots=True)
class FireEvent:
    """A run came to a status. `run` is as it is now, which may be further on."""

    cursor: str
    at: datetime
    status: RunStatus
    previous: RunStatus | None
    run: Run


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """A schedule was changed. `schedule` is as it is now, which may be further on."""

    cursor: str
    at: datetime
    revision: Revision
    schedule: Schedule


def fires(context: Context, filter: RunFilter, after: str | None) -> AsyncGenerator[list[FireEvent], None]:
    """Raises `InvalidInput` for a malformed cursor at once, and `CursorExpired` from the iteration."""
    source = context.services.feed.subscribe(
        account_id=context.actor.account_id, kind=EventKind.FIRE_STATUS, matches=matching(filter), after=after
    )
    return _fires(context, source)


async def _fires(context: Context, source: AsyncGenerator[list[Event], None]) -> AsyncGenerator[list[FireEvent], None]:
    async with aclosing(source) as batches:
        async for batch in batches:
            context.forget()
            ids = [*{event.run_id for event in batch if event.run_id}]
            found_runs = await context.services.runs.get_many(context.actor, ids)
            rows = {run.id: run for run in await permissions.visible_runs(context, found_runs.values())}
            if found := [fire_event(event, rows[run_id]) for event in batch if (run_id := event.run_id) in rows]:
                yield found


async def of_run(context: Context, run: Run, asked: paging.Slice) -> paging.Listing[FireEvent]:
    """What has happened to the run, in order. Raises `InvalidInput` and `CursorExpired`."""
    limit = paging.window(replace(asked, after=None), runs.LATEST_FIRST).limit
    feed, account_id = context.services.feed, context.actor.account_id
    events = await feed.of_run(account_id, run.id, after=asked.after, limit=limit + 1)
    found = [fire_event(event, run) for event in events[:limit]]
    return paging.Listing(
        found,
        [event.cursor for event in found],
        has_next=len(events) > limit,
        has_previous=asked.after is not None,
        count=lambda: feed.count_of_run(account_id, run.id),
    )


def fire_event(event: Event, run: Run) -> FireEvent:
    previous = event.payload["previous"]
    return FireEvent(
        cursor=event.cursor.encode(),
        at=event.at,
        status=RunStatus(event.payload["status"]),
        previous=RunStatus(previous) if previous else None,
        run=run,
    )


def matching(filter: RunFilter) -> Callable[[Event], bool]:
    """The rules of `Runs.page`, for the status that the event tells."""

    def matches(event: Event) -> bool:
        if filter.schedule_ids is not None and event.schedule_id not in filter.schedule_ids:
            return False
        if filter.agent_ids is not None and event.agent_id not in filter.agent_ids:
            return False
        if filter.statuses is not None and event.payload["status"] not in filter.statuses:
            return False
        if filter.triggers is not None and RunTrigger(event.payload["trigger"]) not in filter.triggers:
            return False
        return _is_within(filter, event)

    return matches


def _is_within(filter: RunFilter, event: Event) -> bool:
    if filter.fire_from is None and filter.fire_to is None:
        return True
    fire_at = datetime.fromisoformat(event.payload["fireAt"])
    if filter.fire_from is not None and fire_at < filter.fire_from:
        return False
    return filter.fire_to is None or fire_at < filter.fire_to


def changes(context: Context, filter: ScheduleFilter, after: str | None) -> AsyncGenerator[list[ChangeEvent], None]:
    """The filter is for the schedules as they are when the batch is read; deleted ones are told of as well.

    Raises `InvalidInput` for a malformed cursor or filter at once, and `CursorExpired` from the iteration.
    """
    check_filter(filter)
    agent_ids = filter.agent_ids
    source = context.services.feed.subscribe(
        account_id=context.actor.account_id,
        kind=EventKind.SCHEDULE_CHANGED,
        matches=lambda event: agent_ids is None or event.agent_id in agent_ids,
        after=after,
    )
    return _changes(context, filter, source)


async def _changes(
    context: Context, filter: ScheduleFilter, source: AsyncGenerator[list[Event], None]
) -> AsyncGenerator[list[ChangeEvent], None]:
    async with aclosing(source) as batches:
        async for batch in batches:
            context.forget()
            if found := await _change_events(context, filter, batch):
                yield found


async def _change_events(context: Context, filter: ScheduleFilter, batch: list[Event]) -> list[ChangeEvent]:
    queries = context.services.schedule_queries
    keys = [(event.schedule_id, int(event.payload["version"])) for event in batch if event.schedule_id]
    matching = await queries.matching(context.actor, filter, [*{schedule_id for schedule_id, _ in keys}])
    seen = await permissions.visible_schedules(context, matching.values())
    schedules = {schedule.id: schedule for schedule in seen}
    revisions = await queries.revisions_at(context.actor, [key for key in keys if key[0] in schedules])
    return [
        _change_event(event, revisions[key], schedules[key[0]])
        for event, key in zip((event for event in batch if event.schedule_id), keys, strict=True)
        if key in revisions
    ]


def _change_event(event: Event, revision: Revision, schedule: Schedule) -> ChangeEvent:
    return ChangeEvent(event.cursor.encode(), event.at, revision, schedule)
