"""Cadences: what is refused and in which words, the form that Temporal keeps, and the description."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cadence import Cadence, Cron, Interval, check, describe, zones
from services.cadence import compile as compile_cadence
from services.cron import Calendar, Every, Range
from services.errors import InvalidInput

ANY_SECOND = (Range(0, 59),)
ZERO = (Range(0, 0),)
ANY_HOUR = (Range(0, 23),)
ANY_DAY = (Range(1, 31),)
ANY_MONTH = (Range(1, 12),)
ANY_WEEKDAY = (Range(0, 6),)

EXPRESSION = ("cron", "expression")
ZONE = ("cron", "timeZone")


@pytest.mark.parametrize(
    ("expression", "messages"),
    [
        ("", ["The cron is empty; write five fields, such as 0 17 * * 1-5 for 17:00 on weekdays."]),
        ("x" * 300, ["A cron has at most 256 characters; this one has 300."]),
        ("*\t* * * *", ["A cron cannot hold U+0009; use plain letters, digits, signs and spaces."]),
        ("TZ=UTC * * * * *", ["The time zone does not belong in the cron; give it as timeZone."]),
        ("CRON_TZ=UTC * * * * *", ["The time zone does not belong in the cron; give it as timeZone."]),
        ("@DAILY", ["@DAILY is written in small letters: @daily."]),
        ("@reboot", ["@reboot is not taken, a schedule has no machine that starts; use @every 1h or a time."]),
        ("@every", ["@every takes small letters, one space and a duration: @every 1h30m."]),
        ("@every 90", ["'90' is not a duration; write numbers with units and no spaces, such as 1h30m."]),
        ("@every 1.5s", ["The interval must be whole seconds."]),
        ("@every 1h/1.5s", ["The offset must be whole seconds."]),
        ("@every 1h/1h", ["The offset must be 0 or more, and less than the interval."]),
        ("*/0 * * * *", ["The minute field: a step of 0 is out of range; write 1 or more, such as */5."]),
        ("*/ * * * *", ["The minute field: the step '' after the slash is not a number; write one such as */5."]),
        ("1,,2 * * * *", ["The minute field: there is nothing beside a comma; take the comma away."]),
        ("* 5- * * *", ["The hour field: '5-' is not a range; write first-last, such as 0-23."]),
        ("* 22-3 * * *", ["The hour field: 22-3 runs backwards; write 22-23,0-3."]),
        ("* * * nov-feb *", ["The month field: nov-feb runs backwards; write nov-dec,jan-feb."]),
        ("* * * * sat-sun", ["The day of week field: sat-sun runs backwards; write sat,sun."]),
        ("* * * * 5-1", ["The day of week field: 5-1 runs backwards; write 5-6,0-1."]),
        ("* * * * * 2030-2026", ["The year field: 2030-2026 runs backwards; write 2026-2030."]),
        ("* * * * ?", ["The day of week field: ? is not taken; write *."]),
        ("H * * * *", ["The minute field: H is not taken, no value is picked for you; write 0 to 59."]),
        (
            "* * L * 5L",
            [
                "The day of month field: L is not taken, there is no L for last and no W for workday; write 1 to 31.",
                "The day of week field: 5L is not taken, there is no L for last and no W for workday; "
                "write 0 to 7 or a name such as mon.",
            ],
        ),
        (
            "60 24 0 13 8",
            [
                "The minute field: 60 is out of range; write 0 to 59.",
                "The hour field: 24 is out of range; write 0 to 23.",
                "The day of month field: 0 is out of range; write 1 to 31.",
                "The month field: 13 is out of range; write 1 to 12.",
                "The day of week field: 8 is out of range; write 0 to 7.",
            ],
        ),
        (
            "0 0 12 * * 1",
            ["The year field: 1 is out of range; write 2000 to 2100; seconds in front need all seven fields."],
        ),
        (
            "* * *",
            [
                "A cron has five fields (minute, hour, day of month, month, day of week), six with a year at the end, "
                "or seven with seconds at the start as well; this one has 3."
            ],
        ),
        (
            "0 9 * * 2#2",
            [
                "A cron takes no #. Keep comments in the description; for the second Tuesday of a month give the days "
                "and the weekday, 0 9 8-14 * 2, for both must match."
            ],
        ),
        (
            "@every 367d",
            ["The interval must be 1 to 31622400 seconds (366 days); use a cron with a year for rarer times."],
        ),
        (
            "@fortnightly",
            [
                "@fortnightly is unknown; use @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly alone, "
                "or @every 1h30m."
            ],
        ),
    ],
)
def test_a_wrong_cron_is_refused_in_words_that_help(expression: str, messages: list[str]) -> None:
    # when the cron is checked
    issues = check(Cron(expression, "UTC"))

    # then everything that is wrong with it is said, at its path
    assert [issue.message for issue in issues] == messages
    assert {issue.path for issue in issues} == {EXPRESSION}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("europe/berlin", "There is no time zone 'europe/berlin'; did you mean Europe/Berlin?"),
        ("Berlin", "There is no time zone 'Berlin'; did you mean Europe/Berlin?"),
        ("Europe/Berlim", "There is no time zone 'Europe/Berlim'; did you mean Europe/Berlin?"),
        ("America/New York", "There is no time zone 'America/New York'; did you mean America/New_York?"),
        ("utc", "There is no time zone 'utc'; did you mean UTC?"),
        (
            "CEST",
            "There is no time zone 'CEST'; write a name of the IANA database, such as Europe/Berlin or UTC.",
        ),
        ("", "The time zone is empty; write one such as Europe/Berlin or UTC."),
        ("Z" * 65, "A time zone has at most 64 characters; this one has 65."),
    ],
)
def test_a_wrong_time_zone_is_refused_with_the_one_that_was_meant(name: str, message: str) -> None:
    # when a cron in that zone is checked
    issues = check(Cron("0 17 * * *", name))

    # then the zone is refused at its path
    assert [(issue.path, issue.message) for issue in issues] == [(ZONE, message)]


@pytest.mark.parametrize("name", ["Local", "localtime", "posixrules", "Factory", "posix/UTC", "right/UTC"])
def test_a_zone_that_is_not_the_same_everywhere_is_refused(name: str) -> None:
    # when the names are listed and a cron is checked
    issues = check(Cron("0 17 * * *", name))

    # then it is neither there nor taken
    assert name not in zones()
    assert [issue.path for issue in issues] == [ZONE]


def test_all_issues_come_at_once() -> None:
    # given a cron with a wrong field and a wrong zone
    cron = Cron("0 25 * * *", "Mars/Olympus")

    # when it is checked
    issues = check(cron)

    # then both are there, and compiling and describing refuse with the same
    assert [issue.path for issue in issues] == [EXPRESSION, ZONE]
    for use in (compile_cadence, describe):
        with pytest.raises(InvalidInput) as raised:
            use(cron)
        assert raised.value.issues == issues


@pytest.mark.parametrize(
    ("every", "offset", "paths"),
    [
        (timedelta(seconds=1), timedelta(0), []),
        (timedelta(days=366), timedelta(days=365), []),
        (timedelta(0), timedelta(0), ["everySeconds"]),
        (timedelta(seconds=-5), timedelta(0), ["everySeconds"]),
        (timedelta(seconds=1.5), timedelta(0), ["everySeconds"]),
        (timedelta(days=366, seconds=1), timedelta(0), ["everySeconds"]),
        (timedelta(hours=1), timedelta(hours=1), ["offsetSeconds"]),
        (timedelta(hours=1), timedelta(seconds=-1), ["offsetSeconds"]),
        (timedelta(hours=1), timedelta(seconds=0.5), ["offsetSeconds"]),
        (timedelta(0), timedelta(seconds=-1), ["everySeconds", "offsetSeconds"]),
    ],
)
def test_an_interval_is_whole_seconds_within_bounds(every: timedelta, offset: timedelta, paths: list[str]) -> None:
    # when the interval is checked
    issues = check(Interval(every, offset))

    # then each part that is out of bounds is named
    assert [issue.path for issue in issues] == [("interval", path) for path in paths]


@pytest.mark.parametrize(
    ("expression", "changed"),
    [
        ("* * * * *", {"minute": ANY_SECOND}),
        ("@daily", {"hour": ZERO}),
        ("5/20 9-17/2 * * *", {"minute": (Range(5, 59, 20),), "hour": (Range(9, 17, 2),)}),
        ("0 0 1,15 JAN-mar,dece *", {"hour": ZERO, "day_of_month": (Range(1, 1), Range(15, 15)),
                                     "month": (Range(1, 3), Range(12, 12))}),
        ("0 * * * 5-7", {"day_of_week": (Range(0, 0), Range(5, 6))}),
        ("0 * * * 1-7/2", {"day_of_week": (Range(0, 0), Range(1, 6, 2))}),
        ("0 * * * 0-7", {}),
        ("0 * * * */7", {"day_of_week": (Range(0, 0), Range(0, 6, 7))}),
        ("0 * * * Su,TUES", {"day_of_week": (Range(0, 0), Range(2, 2))}),
        ("0 * * * * 2026/3", {"year": (Range(2026, 2100, 3),)}),
        ("*/10 0 * * * * *", {"second": (Range(0, 59, 10),)}),
    ],
)  # fmt: skip
def test_a_cron_compiles_to_the_ranges_that_temporal_keeps(
    expression: str, changed: dict[str, tuple[Range, ...]]
) -> None:
    # given what an hourly cron is
    hourly = {
        "second": ZERO, "minute": ZERO, "hour": ANY_HOUR, "day_of_month": ANY_DAY, "month": ANY_MONTH, "year": (),
        "day_of_week": ANY_WEEKDAY,
    }  # fmt: skip

    # when this one is compiled
    spec = compile_cadence(Cron(expression, "Europe/Berlin"))

    # then it differs from that only in what it says
    assert spec == Calendar("Europe/Berlin", **{**hourly, **changed})


@pytest.mark.parametrize(
    ("cadence", "every", "offset"),
    [
        (Cron("@every 1h30m", "Europe/Berlin"), timedelta(minutes=90), timedelta(0)),
        (Cron("@every 1.5d/90m"), timedelta(hours=36), timedelta(minutes=90)),
        (Cron("@every +.5m/"), timedelta(seconds=30), timedelta(0)),
        (Interval(timedelta(minutes=15), timedelta(seconds=7)), timedelta(minutes=15), timedelta(seconds=7)),
    ],
)
def test_an_interval_compiles_without_a_zone(cadence: Cadence, every: timedelta, offset: timedelta) -> None:
    assert compile_cadence(cadence) == Every(every, offset)


@pytest.mark.parametrize(
    ("cadence", "words"),
    [
        (Cron("0 17 * * 1-5"), "At 17:00, Monday through Friday"),
        (Cron("*/15 * * * *"), "Every 15 minutes"),
        (Cron("@hourly"), "Every hour"),
        (Cron("@daily"), "At 00:00"),
        (Cron("@weekly"), "At 00:00, only on Sunday"),
        (Cron("@monthly"), "At 00:00, on day 1 of the month"),
        (Cron("@yearly"), "At 00:00, on day 1 of the month, only in January"),
        (Cron("@every 1h30m"), "Every 1 hour 30 minutes"),
        (Cron("0 0 13 * FRI"), "At 00:00, on day 13 of the month, but only on Friday"),
        (Cron("0 9 8-14 * 2"), "At 09:00, between day 8 and 14 of the month, but only on Tuesday"),
        (Cron("0 0 12 * * * 2026"), "At 12:00, only in 2026"),
        (Cron("30 0 12 * * 1 2026-2028"), "At 12:00:30, only on Monday, only in 2026 through 2028"),
        (Cron("0 0 1 1 * 2026/2"), "At 00:00, on day 1 of the month, only in January, "
                                   "only in 2026 through 2100 every 2 years"),
        (Cron("0 12 * * * 2026"), "At 12:00, only in 2026"),
        (Cron("* * * * * * *"), "Every second"),
        (Cron("*/90 * * * *"), "Every hour"),
        (Cron("*/25 * * * *"), "At 0, 25, and 50 minutes past the hour"),
        (Cron("0 12 */10 * *"), "At 12:00, on day 1, 11, 21, and 31 of the month"),
        (Cron("*/15 8,20 * * *"), "Every 15 minutes, in the hours that begin at 08:00 and 20:00"),
        (Cron("*/15 9-17 * * 1-5"), "Every 15 minutes, between 09:00 and 17:59, Monday through Friday"),
        (Cron("0 22-23,0-1 * * *"), "At 00:00, 01:00, 22:00 and 23:00"),
        (Cron("0 0 * * fri-7"), "At 00:00, only on Sunday, Friday, and Saturday"),
        (Interval(timedelta(minutes=15)), "Every 15 minutes"),
        (Interval(timedelta(seconds=1)), "Every second"),
        (Interval(timedelta(days=1), timedelta(hours=2)), "Every day, offset by 2 hours"),
        (Interval(timedelta(days=1, hours=12)), "Every 1 day 12 hours"),
    ],
)  # fmt: skip
def test_a_cadence_is_described_in_plain_words(cadence: Cadence, words: str) -> None:
    assert describe(cadence) == words


@given(st.text(max_size=40), st.text(max_size=20))
def test_any_text_is_a_cadence_or_a_list_of_issues(expression: str, zone: str) -> None:
    # given any text at all
    cron = Cron(expression, zone)

    # when it is checked
    issues = check(cron)

    # then it is refused in sentences, or it compiles
    assert all(issue.message.endswith((".", "?")) for issue in issues)
    assert bool(issues) or isinstance(compile_cadence(cron), Calendar | Every)


FIELD = st.sampled_from(["*", "*/7", "3", "1-5", "2/3", "1,4,5", "1-5/2,6"])


@given(st.lists(FIELD, min_size=5, max_size=5))
def test_every_right_cron_has_a_description(fields: list[str]) -> None:
    # given a right cron
    cron = Cron(" ".join(fields))
    assert check(cron) == ()

    # when it is described
    words = describe(cron)

    # then there are words, and where day and weekday must both match they do not say "or"
    assert words
    assert ", or " not in words
    assert ("but only on" in words) == ("*" not in (fields[2], fields[4]))
