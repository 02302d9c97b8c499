"""Subscriptions: the events of the log, batch by batch, with the rows that they are about."""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from resolvers import paging, permissions, runs
from resolvers.context import Context
from resolvers.event_source import Source
from resolvers.schedules import check_filter
from services.feed_batch import Batch
from services.feed_event import Event, EventKind
from services.run import Run, RunStatus, RunTrigger
from services.runs import RunFilter
from services.schedule import Schedule
from services.schedule_queries import Revision
from services.schedule_statements import ScheduleFilter

_STATUSES = {each.value: each for each in RunStatus}


class FireEvent(NamedTuple):
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


async def fires(context: Context, filter: RunFilter, after: str | None) -> Source[FireEvent]:
    """Its place in the log is fixed when it returns: what is committed afterwards will be told.

    Raises `InvalidInput` for a malformed cursor and `Unavailable` at once, and `CursorExpired` from the iteration.
    """
    feed = context.services.feed
    batches = feed.subscribe(
        account_id=context.actor.account_id,
        kind=EventKind.FIRE_STATUS,
        matches=FireMatch(filter),
        after=after if after is not None else await feed.cursor(),
    )
    return Source(context, batches, _fires)


async def _fires(context: Context, batch: Batch) -> list[FireEvent]:
    ids = [*{event.run_id for event in batch if event.run_id}]
    found = await context.services.runs.get_many(context.actor, ids)
    rows = {run.id: run for run in await permissions.visible_runs(context, found.values())}
    return [fire_event(event, rows[run_id]) for event in batch if (run_id := event.run_id) in rows]


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
        event.cursor.encode(),
        event.at,
        _STATUSES[event.payload["status"]],
        _STATUSES[previous] if previous else None,
        run,
    )


@dataclass(frozen=True)
class FireMatch:
    """The rules of `Runs.page`, for the status that the event tells. Equal for equal filters."""

    filter: RunFilter

    def __call__(self, event: Event) -> bool:
        wanted = self.filter
        if wanted.schedule_ids is not None and event.schedule_id not in wanted.schedule_ids:
            return False
        if wanted.agent_ids is not None and event.agent_id not in wanted.agent_ids:
            return False
        if wanted.statuses is not None and event.payload["status"] not in wanted.statuses:
            return False
        if wanted.triggers is not None and RunTrigger(event.payload["trigger"]) not in wanted.triggers:
            return False
        return _is_within(wanted, event)


def _is_within(filter: RunFilter, event: Event) -> bool:
    if filter.fire_from is None and filter.fire_to is None:
        return True
    fire_at = datetime.fromisoformat(event.payload["fireAt"])
    if filter.fire_from is not None and fire_at < filter.fire_from:
        return False
    return filter.fire_to is None or fire_at < filter.fire_to


@dataclass(frozen=True)
class ChangeMatch:
    """What of a filter for schedules can be told from an event. Equal for the same agents."""

    agent_ids: tuple[UUID, ...] | None

    def __call__(self, event: Event) -> bool:
        return self.agent_ids is None or event.agent_id in self.agent_ids


async def changes(context: Context, filter: ScheduleFilter, after: str | None) -> Source[ChangeEvent]:
    """The filter is for the schedules as they are when the batch is read; deleted ones are told of as well.

    Its place in the log is fixed when it returns, as with `fires`. Raises as that does, and `InvalidInput` for a
    malformed filter.
    """
    check_filter(filter)
    feed = context.services.feed
    batches = feed.subscribe(
        account_id=context.actor.account_id,
        kind=EventKind.SCHEDULE_CHANGED,
        matches=ChangeMatch(filter.agent_ids),
        after=after if after is not None else await feed.cursor(),
    )
    return Source(context, batches, partial(_changes, filter))


async def _changes(filter: ScheduleFilter, context: Context, batch: Batch) -> list[ChangeEvent]:
    queries = context.services.schedule_queries
    told = [event for event in batch if event.schedule_id]
    keys = [(event.schedule_id, int(event.payload["version"])) for event in batch if event.schedule_id]
    matching = await queries.matching(context.actor, filter, [*{schedule_id for schedule_id, _ in keys}])
    seen = await permissions.visible_schedules(context, matching.values())
    schedules = {schedule.id: schedule for schedule in seen}
    revisions = await queries.revisions_at(context.actor, [key for key in keys if key[0] in schedules])
    return [
        ChangeEvent(event.cursor.encode(), event.at, revisions[key], schedules[key[0]])
        for event, key in zip(told, keys, strict=True)
        if key in revisions
    ]
