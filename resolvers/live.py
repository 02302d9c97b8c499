"""Live values of schedules: one read for all that a request asks for, and the fires to come worked out from them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, islice

from resolvers.context import Context
from resolvers.paging import MAX_SIZE
from services.cadence import compile as compile_cadence
from services.calendar import fires, next_fire
from services.cron import Spec
from services.errors import InvalidInput
from services.live import Live, LiveValues
from services.live_reader import Wanted
from services.schedule import Schedule


async def read(context: Context, schedule: Schedule, *, counters: bool) -> Live:
    """Strongly, where this operation has changed the schedule."""
    return await context.loaders.live.load(_wanted(context, schedule, counters=counters))


async def read_all(context: Context, schedules: list[Schedule], *, counters: bool) -> list[Live]:
    """As `read`, for each of them."""
    return await context.loaders.live.load_many([_wanted(context, each, counters=counters) for each in schedules])


def _wanted(context: Context, schedule: Schedule, *, counters: bool) -> Wanted:
    return Wanted(schedule, fresh=schedule.id in context.refreshed, counters=counters)


async def skips(context: Context, schedule: Schedule) -> tuple[datetime, ...]:
    """The fires to come that someone asked to skip."""
    return await context.loaders.skips.load(schedule.id) or ()


async def all_skips(context: Context, schedules: list[Schedule]) -> list[tuple[datetime, ...]]:
    """As `skips`, for each of them."""
    found = await context.loaders.skips.load_many([each.id for each in schedules])
    return [each or () for each in found]


async def next_fires(
    context: Context, schedule: Schedule, values: LiveValues | None, first: int
) -> list[datetime] | None:
    """As `without_skips`, which are read."""
    check_first(first)
    return None if values is None else without_skips(schedule, values, await skips(context, schedule), first)


def without_skips(
    schedule: Schedule, values: LiveValues | None, skipped: tuple[datetime, ...], first: int
) -> list[datetime] | None:
    """Temporal's times, then those worked out from the definition, without the skipped ones.

    None where Temporal told nothing. Raises `InvalidInput`.
    """
    check_first(first)
    if values is None:
        return None
    if not skipped and len(values.next_fires) >= first:
        return [*values.next_fires[:first]]
    spec = compile_cadence(schedule.cadence)
    to_come = chain(values.next_fires, _beyond(schedule, values, spec))
    return list(islice((at for at in to_come if not _is_skipped(spec, at, skipped)), first))


def check_first(first: int) -> None:
    """Raises `InvalidInput`."""
    if not 1 <= first <= MAX_SIZE:
        raise InvalidInput.of(f"From 1 to {MAX_SIZE}; this is {first}.", "first")


def _beyond(schedule: Schedule, values: LiveValues, spec: Spec) -> Iterator[datetime]:
    """The times past those that Temporal told: none where the clock stands still."""
    if values.paused or schedule.deleted_at is not None:
        return iter(())
    last = values.next_fires[-1] if values.next_fires else datetime.now(UTC)
    return fires(spec, last, start=schedule.row["start_at"], end=schedule.row["end_at"])


def _is_skipped(spec: Spec, at: datetime, skipped: tuple[datetime, ...]) -> bool:
    """Skips are nominal times, and jitter moves Temporal's behind theirs, never beyond the following one."""
    return any(skip <= at and ((following := next_fire(spec, skip)) is None or at < following) for skip in skipped)
