"""Due times: around clock changes, at the edges of windows and years, and why there may be none.

What Temporal does in each of these is measured in `test_calendar_differential.py`; here it is written down.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cadence import Cadence, Cron, Interval
from services.cadence import compile as compile_cadence
from services.calendar import (
    fires,
    fires_between,
    has_no_fire,
    last_possible,
    matches,
    missing_walls,
    next_fire,
    note,
)
from services.cron import Spec

SECOND = timedelta(seconds=1)


def cron(expression: str, zone: str = "UTC") -> Spec:
    return compile_cadence(Cron(expression, zone))


def interval(**every: int) -> Spec:
    return compile_cadence(Interval(timedelta(**every)))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def walls(times: Iterable[datetime], zone: str) -> list[str]:
    return [time.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z") for time in times]


@pytest.mark.parametrize(
    ("expression", "zone", "day", "expected"),
    [
        # a wall time that is skipped does not fire
        ("30 2 * * *", "Europe/Berlin", "2026-03-29", ["28 02:30+0100", "30 02:30+0200"]),
        ("0 0 * * *", "America/Havana", "2026-03-08", ["07 00:00-0500", "09 00:00-0400"]),
        # but one of which only the half hour is skipped fires late
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", ["03 02:15+1030", "04 02:45+1100", "05 02:15+1100"]),
        # one that comes twice fires twice, west of Greenwich
        ("30 1 * * *", "America/New_York", "2026-11-01",
         ["31 01:30-0400", "01 01:30-0400", "01 01:30-0500", "02 01:30-0500"]),
        # and east of it only the second time, while the hour before fires twice
        ("30 2 * * *", "Europe/Berlin", "2026-10-25", ["24 02:30+0200", "25 02:30+0100", "26 02:30+0100"]),
        ("30 1 * * *", "Europe/Berlin", "2026-10-25",
         ["24 01:30+0200", "25 01:30+0200", "25 02:30+0200", "26 01:30+0100"]),
        # where midnight is skipped, that Sunday counts as a Saturday
        ("0 12 * * 0", "America/Havana", "2026-03-08", []),
        ("0 12 * * 6", "America/Havana", "2026-03-08", ["07 12:00-0500", "08 12:00-0400"]),
    ],
)  # fmt: skip
def test_around_a_clock_change_it_fires_as_the_server_does(
    expression: str, zone: str, day: str, expected: list[str]
) -> None:
    # given the three days around a change
    middle = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone), hour=12)
    first, last = middle - timedelta(hours=36), middle + timedelta(hours=36) - SECOND

    # when their due times are counted
    times = list(fires_between(cron(expression, zone), first, last))

    # then they are the server's
    assert walls(times, zone) == expected


def test_hourly_fires_every_real_hour_in_new_york() -> None:
    # given an hourly cron where the clocks go back
    spec = cron("0 * * * *", "America/New_York")

    # when the due times of that night are counted
    times = list(fires_between(spec, at("2026-11-01T04:00"), at("2026-11-01T08:00")))

    # then none is left out
    assert [b - a for a, b in pairwise(times)] == [timedelta(hours=1)] * 4


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("0 17 * * 1-5", "2026-11-20T17:00", "2026-11-23T17:00"),
        ("0 0 13 * 5", "2026-11-23T00:00", "2027-08-13T00:00"),
        ("0 0 29 2 *", "2096-03-01T00:00", None),
        ("0 0 29 2 *", "2026-01-01T00:00", "2028-02-29T00:00"),
        ("0 0 29 2 1", "2026-01-01T00:00", "2044-02-29T00:00"),
        ("0 0 1,31 * *", "2026-02-15T00:00", "2026-03-01T00:00"),
        ("59 59 23 31 12 * *", "2026-06-01T00:00", "2026-12-31T23:59:59"),
        ("0 0 1 1 * 2030", "2026-01-01T00:00", "2030-01-01T00:00"),
        ("0 0 31 2 *", "2026-01-01T00:00", None),
        ("* * * * *", "2100-12-31T23:58", "2100-12-31T23:59"),
        ("* * * * *", "2100-12-31T23:59", None),
        ("* * * * *", "9999-12-31T23:59:59", None),
        ("* * * * *", "0001-01-01T00:00", "1970-01-01T00:00"),
        ("@every 1h", "9999-12-31T23:59:59", None),
    ],
)
def test_the_next_fire(expression: str, after: str, expected: str | None) -> None:
    assert next_fire(cron(expression), at(after)) == (at(expected) if expected else None)


def test_an_interval_is_counted_from_the_epoch() -> None:
    # given an interval that divides no day, with an offset
    spec = compile_cadence(Interval(timedelta(minutes=7), timedelta(seconds=13)))

    # when its next time is asked for
    found = next_fire(spec, at("2026-11-23T00:00"))

    # then it is a multiple since 1970, later by the offset
    assert found is not None
    assert (found - at("1970-01-01T00:00:13")) % timedelta(minutes=7) == timedelta(0)
    assert found - at("2026-11-23T00:00") <= timedelta(minutes=7)


@pytest.mark.parametrize("spec", [cron("0 * * * *"), interval(hours=1)])
def test_both_ends_are_included_and_after_is_not(spec: Spec) -> None:
    # given a window that begins and ends at due times
    start, end = at("2026-11-23T10:00"), at("2026-11-23T12:00")

    # when the times in it are asked for, from before, from its start, and from its end
    before = list(fires(spec, at("2026-11-01T00:00"), start=start, end=end))
    inside = list(fires(spec, start, start=start, end=end))
    past = list(fires(spec, end, start=start, end=end))

    # then the ends belong to it, and the time to begin after does not
    hours = [at(f"2026-11-23T{hour}:00") for hour in (10, 11, 12)]
    assert (before, inside, past) == (hours, hours[1:], [])
    assert list(fires_between(spec, start, end)) == hours
    assert list(fires_between(spec, start, end, start=hours[1], end=hours[1])) == [hours[1]]


@pytest.mark.parametrize("spec", [cron("0 * * * *"), interval(hours=1)])
def test_parts_of_a_second_are_cut_off(spec: Spec) -> None:
    # given a due time, and a part of a second
    due, part = at("2026-11-23T10:00"), timedelta(microseconds=999_999)

    # then as `after`, `start` and `end` it counts as its whole second
    assert next_fire(spec, due - part) == due
    assert next_fire(spec, due + part) == due + timedelta(hours=1)
    assert next_fire(spec, due - SECOND, start=due + part) == due
    assert next_fire(spec, due - SECOND, end=due + part) == due
    # and an instant between two seconds is no due time
    assert matches(spec, due)
    assert not matches(spec, due + part)


@pytest.mark.parametrize(
    ("spec", "last"),
    [
        (cron("0 0 1 1 * 2027"), at("2027-01-01T00:00")),
        (cron("* * * * * * 2027", "Europe/Berlin"), at("2027-12-31T22:59:59")),
        (cron("0 0 1 1 * 2020-2040/3", "Asia/Tokyo"), at("2037-12-31T15:00")),
        (cron("59 59 23 31 12 * 2100", "America/New_York"), at("2101-01-01T04:59:59")),
        (cron("0 0 31 2 * 2027"), None),
        (cron("0 0 * * *"), None),
        (interval(days=1), None),
    ],
)
def test_the_last_possible_time_of_a_cron_with_years(spec: Spec, last: datetime | None) -> None:
    assert last_possible(spec) == last


NOW = at("2026-11-23T23:00")


@pytest.mark.parametrize(
    ("spec", "start", "end", "reason"),
    [
        (cron("0 0 * * *"), None, None, None),
        (interval(days=1), None, None, None),
        (cron("0 0 31 2 *"), None, None,
         "31 February does not exist: the day of month and the month must both match."),
        (cron("0 0 31 2,4 *"), None, None,
         "31 February and 31 April do not exist: the day of month and the month must both match."),
        (cron("0 0 29 2 1 2028"), None, None,
         "No such day falls on such a weekday: the day of month and the day of week must both match."),
        (cron("0 0 29 2 * 2027"), None, None,
         "The years have no such date: the day of month, the month and the year must all match."),
        (cron("30 2 28 3 * 2027", "Europe/Berlin"), None, None,
         "The clocks are put forward over this time on each of its days; choose another time."),
        (cron("0 0 1 1 * 2020"), None, None,
         "The years have passed: the last due time is 2020-01-01T00:00:00Z; name later years."),
        (cron("0 0 * * *"), at("2101-02-01"), None,
         "There is no due time after 2100, where Temporal's calendar ends."),
        (cron("0 0 * * *"), at("2026-12-02"), at("2026-12-01"), "The end is before the start; give a later end."),
        (cron("0 0 * * *"), None, at("2026-11-01"), "The end has passed; give a later one, or none."),
        (cron("0 0 1 1 *"), None, at("2026-12-01"),
         "The first due time would be 2027-01-01T00:00:00Z, after the end; give a later end."),
        (interval(days=1), None, at("2026-11-23T23:30"),
         "The first due time would be 2026-11-24T00:00:00Z, after the end; give a later end."),
        (interval(days=1), at("9999-12-31T00:00:01"), None, "The start is too far away; give an earlier one."),
    ],
)  # fmt: skip
def test_why_there_is_no_next_time(
    spec: Spec, start: datetime | None, end: datetime | None, reason: str | None
) -> None:
    assert has_no_fire(spec, NOW, start, end) == reason


@pytest.mark.parametrize(
    ("expression", "zone", "fire", "words"),
    [
        ("30 1 * * *", "America/New_York", "2026-11-01T05:30",
         "01:30 comes twice on 1 November 2026: this is the first time, and it fires both times."),
        ("30 1 * * *", "America/New_York", "2026-11-01T06:30",
         "01:30 comes twice on 1 November 2026: this is the second time, and it fires both times."),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:30",
         "02:30 comes twice on 25 October 2026: this is the second time, and it does not fire the first time."),
        ("30 1 * * *", "Europe/Berlin", "2026-10-25T00:30",
         "The clocks change on 25 October 2026, and Temporal fires at 02:30, which the cron does not name."),
        ("30 1 * * *", "America/New_York", "2026-11-02T06:30", None),
        ("@every 1h", "America/New_York", "2026-11-01T06:00", None),
    ],
)  # fmt: skip
def test_a_clock_change_is_noted(expression: str, zone: str, fire: str, words: str | None) -> None:
    # given a due time
    spec = cron(expression, zone)
    assert matches(spec, at(fire))

    # then the change that touches it is told
    assert note(spec, at(fire)) == words


def test_the_wall_times_that_are_skipped() -> None:
    # given crons that name a skipped wall time, none, and no wall time at all
    specs = [cron("*/20 2 * * *", "Europe/Berlin"), cron("0 4 * * *", "Europe/Berlin"), interval(hours=1)]

    # when a year is looked through
    found = [list(missing_walls(spec, at("2026-01-01"), at("2027-01-01"))) for spec in specs]

    # then each that does not exist is there once
    assert found == [[datetime(2026, 3, 29, 2, minute) for minute in (0, 20, 40)], [], []]  # noqa: DTZ001


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])
FIELDS = st.tuples(
    st.sampled_from(["*", "*/7", "0", "30", "5,50"]),
    st.sampled_from(["*", "*/5", "0", "1-3", "2", "23"]),
    st.sampled_from(["*", "*", "1", "*/9", "29-31"]),
    st.sampled_from(["*", "*", "2", "3,10", "*/5"]),
    st.sampled_from(["*", "*", "0", "1-5", "6-7"]),
)
CRONS = st.builds(lambda fields, zone: Cron(" ".join(fields), zone), FIELDS, ZONES)
INTERVALS = st.integers(1, 10**6).map(lambda seconds: Interval(timedelta(seconds=seconds)))
CADENCES: st.SearchStrategy[Cadence] = st.one_of(CRONS, INTERVALS)
MOMENTS = st.integers(0, 4_000_000_000).map(lambda second: datetime.fromtimestamp(second, UTC))


@given(CADENCES, MOMENTS)
def test_every_way_of_asking_gives_the_same_times(cadence: Cadence, after: datetime) -> None:
    # given the next times after a moment
    spec = compile_cadence(cadence)
    times = list(islice(fires(spec, after), 20))

    # then they follow one another, also when each is asked for by itself, and each is a due time
    assert all(a < b for a, b in pairwise([after, *times]))
    assert [next_fire(spec, before) for before in [after, *times]][: len(times)] == times
    assert times or next_fire(spec, after) is None
    assert all(matches(spec, time) for time in times)
    # and a window holds just those that lie in it
    if len(times) > 2:
        assert list(fires_between(spec, times[0], times[-1])) == times
        assert list(fires_between(spec, times[0] + SECOND, times[-1] - SECOND)) == times[1:-1]


@given(CRONS, MOMENTS)
def test_with_utc_the_times_are_just_what_the_fields_say(cadence: Cron, moment: datetime) -> None:
    # given a day without a clock change, and a naive reading of five fields
    day = moment.replace(hour=0, minute=0, second=0)
    bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
    allowed = [named(field, *bound) for field, bound in zip(cadence.expression.split(), bounds, strict=True)]

    # when the times of the day are counted
    found = list(fires_between(cron(cadence.expression), day, day + timedelta(days=1) - SECOND))

    # then they are those minutes of it that every field names
    minutes = [day + timedelta(minutes=number) for number in range(24 * 60)]
    shown = [(time, (time.minute, time.hour, time.day, time.month, time.isoweekday() % 7)) for time in minutes]
    assert found == [
        time for time, parts in shown if all(part in field for part, field in zip(parts, allowed, strict=True))
    ]


def named(field: str, low: int, high: int) -> set[int]:
    """What a field names, read in another way than the services do."""
    found: set[int] = set()
    for item in field.split(","):
        body, _, step = item.partition("/")
        first, _, last = body.partition("-") if body != "*" else (str(low), "-", str(high))
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found | ({0} if high == 7 and 7 in found else set())


def test_a_day_of_seconds_is_all_there() -> None:
    # given a cron that fires each second
    spec = cron("* * * * * * *", "Europe/Berlin")
    first = at("2026-11-23T00:00")

    # when a day is counted
    times = list(fires_between(spec, first, first + timedelta(days=1) - SECOND))

    # then it has all its seconds, in order
    assert times == [first + SECOND * number for number in range(86_400)]


def test_it_ends_where_the_server_goes_round_for_ever() -> None:
    # given the day that Samoa left out, where the server comes back to the day before
    spec = cron("0 */6 * * *", "Pacific/Apia")

    # when its due times are counted
    times = list(fires_between(spec, at("2011-12-29T00:00"), at("2012-01-01T00:00")))

    # then they go forward to the day after
    assert all(a < b for a, b in pairwise(times))
    days = {time.astimezone(ZoneInfo("Pacific/Apia")).date() for time in times}
    assert days >= {date(2011, 12, 29), date(2011, 12, 31), date(2012, 1, 1)}
