"""What a cadence would do, before anything is saved."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from zoneinfo import ZoneInfo

from resolvers.paging import MAX_SIZE
from services.cadence import Cadence, Cron, check, describe
from services.cadence import compile as compile_cadence
from services.calendar import fires, has_no_fire, missing_walls, note
from services.cron import Spec
from services.definition import EARLIEST, LATEST
from services.errors import InvalidInput, Issue

LOOK_AHEAD = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class PreviewFire:
    at: datetime
    local_time: str
    note: str | None


@dataclass(frozen=True, slots=True)
class Preview:
    description: str
    fires: tuple[PreviewFire, ...]
    warnings: tuple[str, ...]


def preview(
    cadence: Cadence,
    *,
    start_at: datetime | None,
    end_at: datetime | None,
    after: datetime | None,
    first: int,
    issues: tuple[Issue, ...],
) -> Preview:
    """Raises `InvalidInput` with what is wrong, the caller's own issues first."""
    issues += _issues(cadence, start_at, end_at, after, first, known={issue.path for issue in issues})
    if issues:
        raise InvalidInput(issues)
    spec = compile_cadence(cadence)
    now = after or datetime.now(UTC)
    found = list(islice(fires(spec, now, start=start_at, end=end_at), first))
    reason = None if found else has_no_fire(spec, now, start_at, end_at)
    zone = ZoneInfo(cadence.time_zone if isinstance(cadence, Cron) else "UTC")
    warnings = [reason] if reason else [*_warnings(spec, now, found)]
    return Preview(
        description=describe(cadence),
        fires=tuple(PreviewFire(at, at.astimezone(zone).isoformat(), note(spec, at)) for at in found),
        warnings=tuple(warnings),
    )


def _issues(
    cadence: Cadence,
    start_at: datetime | None,
    end_at: datetime | None,
    after: datetime | None,
    first: int,
    *,
    known: set[tuple[str, ...]],
) -> tuple[Issue, ...]:
    found = [issue.under("cadence") for issue in check(cadence)]
    for name, at in (("startAt", start_at), ("endAt", end_at), ("after", after)):
        if at is not None and not EARLIEST <= at < LATEST:
            found.append(Issue((name,), f"Give a time between {EARLIEST:%Y} and {LATEST:%Y}."))
    if not 1 <= first <= MAX_SIZE:
        found.append(Issue(("first",), f"From 1 to {MAX_SIZE}; this is {first}."))
    return tuple(issue for issue in found if issue.path not in known)


def _warnings(spec: Spec, now: datetime, found: list[datetime]) -> Iterator[str]:
    """The days, within a year, on which the clocks skip a time that the cron names."""
    until = min(found[-1], now + LOOK_AHEAD)
    for day, walls in groupby(missing_walls(spec, now, until), key=datetime.date):
        yield f"{next(walls):%H:%M} does not exist on {day.day} {day:%B %Y}: the clocks skip it, and it may not fire."
