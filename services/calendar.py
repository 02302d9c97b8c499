"""The times at which a cadence is due: what Temporal's scheduler will do, worked out without asking it.

The server matches the fields of the wall clock, walking from one time to the next; day of month AND day of week. Away
from clock changes that gives what the fields say. Around one it has habits (server 1.32.0, both engines), and this
module has the same, for a time that is not the server's is either a fire too many or one too few:

- A skipped wall time does not fire; but where only part of its hour is skipped (Lord Howe), it fires late.
- A repeated wall time fires twice west of Greenwich. At Greenwich and east of it the server takes the hour before
  for the one that repeats: in Berlin 01:30 fires at 01:30 and again at the first 02:30, and 02:30 only the second
  time. `0 * * * *` and `*/30 * * * *` lose times there.
- Where midnight is skipped west of Greenwich (Havana, Santiago), that day has the weekday of the day before.
- After 2100 nothing has a time, in the zone of a calendar and in UTC for an interval.

In those hours the server's answer depends also on the time that it is asked from. Here it does not: these are the
times of a walk that began before the change, as that of a running clock did. Jitter is not counted. Instants are aware
and in UTC; parts of a second are cut off, as the server does.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from services.cron import FIRST_YEAR, LAST_YEAR, Calendar, Every, Range, Spec, values

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = 3600
DAY = 86400
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_SECOND = (datetime.max.replace(tzinfo=UTC) - EPOCH) // SECOND
_HORIZON = (datetime(LAST_YEAR + 1, 1, 3, tzinfo=UTC) - EPOCH) // SECOND
_LAST_OF_INTERVALS = (datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC) - EPOCH) // SECOND - 1


def next_fire(
    spec: Spec, after: datetime, *, start: datetime | None = None, end: datetime | None = None
) -> datetime | None:
    """The first due time strictly after `after`, from `start` to `end`, both included; None if there is none."""
    return next(fires(spec, after, start=start, end=end), None)


def fires(
    spec: Spec, after: datetime, *, start: datetime | None = None, end: datetime | None = None
) -> Iterator[datetime]:
    """The due times strictly after `after`, from `start` to `end`, both included, in order, as they are asked for."""
    last = _LAST_SECOND if end is None else _seconds(end)
    for second in _walk(spec, max(_seconds(after), -1), None if start is None else _seconds(start)):
        if second > last:
            return
        yield datetime.fromtimestamp(second, UTC)


def fires_between(
    spec: Spec, first: datetime, last: datetime, *, start: datetime | None = None, end: datetime | None = None
) -> Iterator[datetime]:
    """The due times from `first` to `last`, both included, in order, as they are asked for."""
    before = EPOCH + (_seconds(first + SECOND - timedelta.resolution) - 1) * SECOND
    return fires(spec, before, start=start, end=last if end is None else min(last, end))


def matches(spec: Spec, instant: datetime) -> bool:
    """Whether the instant is a due time."""
    return next(fires_between(spec, instant, instant), None) is not None


def last_possible(spec: Spec) -> datetime | None:
    """The last due time of a cron that names years; None where it names none, or has no due time at all."""
    if isinstance(spec, Every) or not spec.year:
        return None
    found = _first_ever(spec)
    end = datetime(values(spec.year)[-1] + 1, 1, 3, tzinfo=UTC)
    while found is not None and next_fire(spec, found) is not None:
        middle = found + (end - found) // 2
        later = next_fire(spec, middle)
        found, end = (found, middle) if later is None else (later, end)
    return found


def has_no_fire(spec: Spec, now: datetime, start: datetime | None = None, end: datetime | None = None) -> str | None:
    """Why there will never be a due time after `now`, from `start` to `end`; None if there is one."""
    if next_fire(spec, now, start=start, end=end) is not None:
        return None
    if start is not None and end is not None and end < start:
        return "The end is before the start; give a later end."
    if end is not None and end <= now:
        return "The end has passed; give a later one, or none."
    following = next_fire(spec, now, start=start)
    if following is not None:
        return f"The first due time would be {following:%Y-%m-%dT%H:%M:%SZ}, after the end; give a later end."
    return _why_never(spec) if isinstance(spec, Calendar) else "The start is too far away; give an earlier one."


def _why_never(spec: Calendar) -> str:
    """What keeps a cron from ever having a due time again."""
    dates = [(day, month) for month in values(spec.month) for day in values(spec.day_of_month)]
    if all(day > _LONGEST[month - 1] for day, month in dates):
        named = " and ".join(f"{day} {date(2000, month, 1):%B}" for day, month in dates[:4])
        verb = "does" if len(dates) == 1 else "do"
        return f"{named} {verb} not exist: the day of month and the month must both match."
    if last := last_possible(spec):
        return f"The years have passed: the last due time is {last:%Y-%m-%dT%H:%M:%SZ}; name later years."
    if _first_ever(spec):
        return f"There is no due time after {LAST_YEAR}, where Temporal's calendar ends."
    if _first_ever(replace(spec, day_of_week=(Range(0, 6),))):
        return "No such day falls on such a weekday: the day of month and the day of week must both match."
    if _first_ever(replace(spec, hour=(Range(0, 23),))):
        return "The clocks are put forward over this time on each of its days; choose another time."
    return "The years have no such date: the day of month, the month and the year must all match."


def _first_ever(spec: Calendar) -> datetime | None:
    return next_fire(spec, datetime(FIRST_YEAR - 1, 12, 30, tzinfo=UTC))


def note(spec: Spec, fire: datetime) -> str | None:
    """What a clock change has to do with this due time, in a sentence; None if nothing has."""
    if isinstance(spec, Every):
        return None
    walk = walker(spec)
    local = fire.astimezone(walk.zone)
    day = f"{local.day} {local:%B %Y}"
    if not walk.names(local):
        return f"The clocks change on {day}, and Temporal fires at {local:%H:%M}, which the cron does not name."
    twin = local.replace(fold=1 - local.fold).astimezone(UTC)
    if twin == fire:
        return None
    this, other = ("first", "second") if fire < twin else ("second", "first")
    both = "it fires both times" if matches(spec, twin) else f"it does not fire the {other} time"
    return f"{local:%H:%M} comes twice on {day}: this is the {this} time, and {both}."


def missing_walls(spec: Spec, first: datetime, last: datetime) -> Iterator[datetime]:
    """The wall times, without a zone, that a cron names between two instants and that the clocks skip."""
    if isinstance(spec, Every):
        return
    walk = walker(spec)
    low, end = _seconds(first), _seconds(last)
    while low < end:
        high = min(low + 12 * HOUR, end)
        if walk.offset(high) != walk.offset(low):
            change = walk.change(low, high)
            for wall in range(change + walk.offset(low), change + walk.offset(change)):
                at = datetime.fromtimestamp(wall, UTC).replace(tzinfo=None)
                if walk.names(at):
                    yield at
        low = high


def _seconds(instant: datetime) -> int:
    """The whole seconds since the epoch; the server takes no notice of smaller parts."""
    return (instant - EPOCH) // SECOND


def _walk(spec: Spec, after: int, start: int | None) -> Iterator[int]:
    """The due times after `after` that are not before `start`, without end."""
    if isinstance(spec, Every):
        every, offset = spec.every // SECOND, spec.offset // SECOND
        after = after if start is None else max(after, start - 1)
        yield from range(((after - offset) // every + 1) * every + offset, _LAST_OF_INTERVALS + 1, every)
        return
    if after > _HORIZON:
        return
    walk = walker(spec)
    origin = walk.origin(after)
    if start is not None and origin < start - 1:
        origin = start - 1  # here the server begins, be it in the middle of a clock change
    floor = max(after, origin)
    for base, steps in walk.runs(origin):
        if base + steps[-1] > floor:
            for step in islice(steps, bisect_right(steps, floor - base), None):
                yield base + step


@lru_cache(maxsize=4096)
def walker(spec: Calendar) -> "Walker":
    """The calendar made ready for walking, kept for the next time."""
    return Walker.of(spec)


@dataclass(frozen=True, slots=True)
class Walker:
    """A calendar made ready for walking. Times are seconds since the epoch, days are ordinals of `date`.

    `seconds[s]` is the first second to match from `s` on, 60 if none does; likewise the other fields.
    """

    zone: ZoneInfo
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    years: tuple[int, ...]
    weekdays: frozenset[int]
    within_hour: tuple[int, ...]

    @classmethod
    def of(cls, spec: Calendar) -> "Walker":
        minutes, seconds = values(spec.minute), values(spec.second)
        return cls(
            zone=ZoneInfo(spec.time_zone),
            seconds=_following(seconds, 60),
            minutes=_following(minutes, 60),
            hours=_following(values(spec.hour), 24),
            days=_following(values(spec.day_of_month), 32),
            months=_following(values(spec.month), 13),
            years=values(spec.year) or tuple(range(1969, LAST_YEAR + 1)),
            weekdays=frozenset(values(spec.day_of_week)),
            within_hour=tuple(minute * 60 + second for minute in minutes for second in seconds),
        )

    def runs(self, after: int) -> Iterator[tuple[int, Sequence[int]]]:
        """The due times that a walk from `after` comes by: a base, and what to add to it for each."""
        while (fire := self.step(after)) is not None:
            yield fire, (0,)
            after = fire
            if len(self.within_hour) > 1 and (hour := self._plain_hour(fire)) is not None:
                rest = self.within_hour[bisect_right(self.within_hour, fire - hour) :]
                if rest:
                    yield hour, rest
                    after = hour + rest[-1]

    def names(self, local: datetime) -> bool:
        """Whether the fields name this wall time."""
        return (
            self.hours[local.hour] == local.hour
            and self.minutes[local.minute] == local.minute
            and self.seconds[local.second] == local.second
            and self.months[local.month] == local.month
            and self.days[local.day] == local.day
            and local.isoweekday() % 7 in self.weekdays
            and local.year in self.years
        )

    def origin(self, after: int) -> int:
        """The latest time up to `after` from which it makes no difference where a walk began."""
        low, high = after - 27 * HOUR, after + 4 * HOUR
        before = self.offset(low)
        if self.offset(high) == before:
            return after
        change = self.change(low, high)
        repeated = max(before - self.offset(change), 0)
        return min(after, change - repeated - 1)

    def change(self, low: int, high: int) -> int:
        """When the offset at `low` gives way to that at `high`."""
        before = self.offset(low)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.offset(middle) == before else (low, middle)
        return high

    def step(self, after: int) -> int | None:
        """The server's next time after `after`; around a clock change it depends on `after`."""
        if after > _HORIZON:
            return None
        now = datetime.fromtimestamp(after, self.zone)
        day, hour, minute, second = now.toordinal(), now.hour, now.minute, now.second + 1
        # The server takes an hour like the one before it for a repeated one, which is always an hour later.
        later = HOUR if datetime.fromtimestamp(after - HOUR, self.zone).hour == hour else 0
        while True:
            if second > 59:
                minute, second = minute + 1, 0
            if minute > 59:
                hour, later = self._next_hour(day, hour, later)
                minute = 0
            if hour > 23:
                day, hour = day + 1, 0
            matching_day = self._day(day, (hour * 60 + minute) * 60 + second)
            if matching_day is None:
                return None
            if matching_day != day:
                day, hour, minute, second, later = matching_day, 0, 0, 0, 0
            if self.hours[hour] != hour:
                hour, minute, second, later = self.hours[hour], 0, 0, 0
            if self.minutes[minute] != minute:
                minute, second = self.minutes[minute], 0
            second = self.seconds[second]
            if hour > 23 or minute > 59 or second > 59:
                continue
            found = self._instant(day, (hour * 60 + minute) * 60 + second)
            # Not after `after` is where the server goes back and round for ever (Apia 2011, Goose Bay 2008).
            if datetime.fromtimestamp(found, self.zone).hour == hour and found + later > after:
                return found + later
            hour, minute, second = hour + 1, 0, 0

    def _next_hour(self, day: int, hour: int, later: int) -> tuple[int, int]:
        """The hour after this one; or this one again, an hour later, if the next is further away than it should."""
        ahead = self._instant(day, (hour + 1) * HOUR) - self._instant(day, hour * HOUR)
        return (hour, HOUR) if not later and ahead > HOUR else (hour + 1, 0)

    def _day(self, day: int, second: int) -> int | None:
        """The first day from `day` on that matches, where `second` is how far the first has gone."""
        while True:
            at = date.fromordinal(day)
            index, month = bisect_left(self.years, at.year), self.months[at.month]
            if index == len(self.years):
                return None
            year = self.years[index]
            if year != at.year:
                day, second = date(year, 1, 1).toordinal(), 0
            elif month != at.month:
                day, second = (date(year, month, 1) if month < 13 else date(year + 1, 1, 1)).toordinal(), 0
            elif (skipped := self.days[at.day] - at.day) or not self._on_weekday(day, second):
                day, second = day + self._within_month(at, skipped or 1), 0
            else:
                return day

    @staticmethod
    def _within_month(at: date, skipped: int) -> int:
        """As many days, but no further than the first of the next month."""
        if at.day + skipped <= 28:
            return skipped
        first = date(at.year + at.month // 12, at.month % 12 + 1, 1)
        return min(skipped, first.toordinal() - at.toordinal())

    def _on_weekday(self, day: int, second: int) -> bool:
        """The server asks the instant for its weekday, and where midnight is skipped that may be the day before."""
        if len(self.weekdays) == 7:
            return True
        if self.weekdays.isdisjoint((day % 7, (day - 1) % 7)):
            return False
        instant = self._instant(day, second)
        return datetime.fromtimestamp(instant, self.zone).isoweekday() % 7 in self.weekdays

    def _plain_hour(self, fire: int) -> int | None:
        """When the hour of this time begins, if it is one that matches and the clock runs straight up to its end."""
        local = datetime.fromtimestamp(fire, self.zone)
        begin = fire - local.minute * 60 - local.second
        day, start, end = local.toordinal(), local.hour * HOUR, local.hour * HOUR + HOUR - 1
        straight = (
            self.hours[local.hour] == local.hour
            and self._instant(day, start) == begin
            and self._instant(day, end) == begin + HOUR - 1
            and self.offset(begin - HOUR) == self.offset(begin) == self.offset(begin + HOUR - 1)
            and self._day(day, start) == day
        )
        return begin if straight else None

    def _instant(self, day: int, second: int) -> int:
        """The instant of a wall time as Go resolves it: by the offset when UTC showed that time, once corrected."""
        wall = (day - _EPOCH_DAY) * DAY + second
        return wall - self.offset(wall - self.offset(wall))

    def offset(self, instant: int) -> int:
        offset = datetime.fromtimestamp(instant, self.zone).utcoffset() or timedelta(0)
        return offset.days * DAY + offset.seconds


def _following(matching: tuple[int, ...], none: int) -> tuple[int, ...]:
    """For each value up to `none`, the first matching one from there on."""
    return tuple(next((m for m in matching if m >= value), none) for value in range(none + 1))
