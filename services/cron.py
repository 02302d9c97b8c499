"""Cron text, read as Temporal's server reads it, into the form that the server keeps.

Measured against server 1.32.0, and measured again by `tests/services/test_calendar_differential.py`.
`DELIBERATE_REFUSALS` there names what the server would take and Nextfire does not.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import Final, NamedTuple

MAX_LENGTH: Final = 256
MAX_INTERVAL: Final = timedelta(days=366)
"""The longest interval: Temporal counts from 1970, and beyond a year nobody means that."""
FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2100
"""The years that Temporal's calendars know; a cron has no time after the last one."""


class Range(NamedTuple):
    """Every `step`th value from `start` to `end`, both included; equal to the plain tuple."""

    start: int
    end: int
    step: int = 1


Ranges = tuple[Range, ...]


def values(ranges: Ranges) -> tuple[int, ...]:
    """The values of a field, in order."""
    return tuple(sorted({value for start, end, step in ranges for value in range(start, end + 1, step)}))


@dataclass(frozen=True, slots=True)
class Calendar:
    """Temporal's StructuredCalendarSpec as describe answers it, and the zone that it is read in.

    A time matches if every field does: day of month AND day of week. Sunday is 0; no year means any year.
    """

    time_zone: str
    second: Ranges
    minute: Ranges
    hour: Ranges
    day_of_month: Ranges
    month: Ranges
    year: Ranges
    day_of_week: Ranges


@dataclass(frozen=True, slots=True)
class Every:
    """Temporal's IntervalSpec: the multiples of `every` since 1970-01-01T00:00Z, plus `offset`."""

    every: timedelta
    offset: timedelta = timedelta(0)


Spec = Calendar | Every


class CronError(ValueError):
    """The cron text is wrong: all that is wrong with it, in plain words."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__(" ".join(problems))


class Field(NamedTuple):
    """What one field of a cron may say. `shortest` is how many letters of a name the server wants."""

    label: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    shortest: int = 0


_SPRING = ("january", "february", "march", "april", "may", "june")
_AUTUMN = ("july", "august", "september", "october", "november", "december")
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")

SECOND = Field("second", 0, 59)
MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY_OF_MONTH = Field("day of month", 1, 31)
MONTH = Field("month", 1, 12, (*_SPRING, *_AUTUMN), 3)
DAY_OF_WEEK = Field("day of week", 0, 7, _WEEKDAYS, 2)
YEAR = Field("year", FIRST_YEAR, LAST_YEAR)

_FIELDS = (SECOND, MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK, YEAR)
_SHORTHANDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MAX_STEP = 2**31 - 1
_NUMBER = re.compile(r"\+?[0-9]+")
_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|ms|s|m|h|d)")
_UNITS = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}


def parse(expression: str, time_zone: str) -> Spec:
    """The cron text in the server's form, in a zone that is taken as it is.

    Raises:
        CronError: with every problem at once.
    """
    text = expression.strip(" ")
    _check_text(expression, text)
    if text.startswith("@every "):
        return _every(text.removeprefix("@every "))
    parts = (_shorthand(text) if text.startswith("@") else text).split()
    if not 5 <= len(parts) <= 7:
        raise CronError(
            "A cron has five fields (minute, hour, day of month, month, day of week), six with a year at the "
            f"end, or seven with seconds at the start as well; this one has {len(parts)}."
        )
    if len(parts) < 7:
        parts.insert(0, "0")
    if len(parts) < 7:
        parts.append("*")
    problems: list[str] = []
    ranges = [_ranges(field, part, problems) for field, part in zip(_FIELDS, parts, strict=True)]
    if problems:
        raise CronError(*problems)
    second, minute, hour, day_of_month, month, day_of_week, year = ranges
    return Calendar(time_zone, second, minute, hour, day_of_month, month, year, day_of_week)


def _check_text(expression: str, text: str) -> None:
    """Refuses what makes reading field by field pointless."""
    if len(expression) > MAX_LENGTH:
        raise CronError(f"A cron has at most {MAX_LENGTH} characters; this one has {len(expression)}.")
    if not text:
        raise CronError("The cron is empty; write five fields, such as 0 17 * * 1-5 for 17:00 on weekdays.")
    problems = []
    if strange := sorted({c for c in expression if not " " <= c <= "~"}):
        codes = ", ".join(f"U+{ord(c):04X}" for c in strange[:5])
        problems.append(f"A cron cannot hold {codes}; use plain letters, digits, signs and spaces.")
    if "#" in text:
        problems.append(
            "A cron takes no #. Keep comments in the description; for the second Tuesday of a month give the "
            "days and the weekday, 0 9 8-14 * 2, for both must match."
        )
    if text.startswith(("TZ=", "CRON_TZ=")):
        problems.append("The time zone does not belong in the cron; give it as timeZone.")
    if problems:
        raise CronError(*problems)


def _shorthand(text: str) -> str:
    word, lower = text.split()[0], text.lower()
    if text in _SHORTHANDS:
        return _SHORTHANDS[text]
    if lower in _SHORTHANDS:
        raise CronError(f"{text} is written in small letters: {lower}.")
    if word.lower() == "@reboot":
        raise CronError("@reboot is not taken, a schedule has no machine that starts; use @every 1h or a time.")
    if word.lower() == "@every":
        raise CronError("@every takes small letters, one space and a duration: @every 1h30m.")
    raise CronError(f"{word} is unknown; use {', '.join(_SHORTHANDS)} alone, or @every 1h30m.")


def _every(text: str) -> Every:
    """Reads what follows `@every`: a duration as Go writes it, and after a slash its offset."""
    first, _, second = text.partition("/")
    every, offset = _duration(first), _duration(second) if second else Fraction(0)
    if every is None or offset is None:
        wrong = first if every is None else second
        raise CronError(f"{wrong!r} is not a duration; write numbers with units and no spaces, such as 1h30m.")
    if problems := interval_problems(every, offset):
        raise CronError(*problems.values())
    return Every(timedelta(seconds=int(every)), timedelta(seconds=int(offset)))


def _duration(text: str) -> Fraction | None:
    """The seconds of a Go duration, with Temporal's `d` for days; None if it is none."""
    body = text.removeprefix("+")
    if body == "0":
        return Fraction(0)
    parts = list(_DURATION_PART.finditer(body))
    if not body or "".join(part[0] for part in parts) != body:
        return None
    return sum((Fraction(part[1].rstrip(".")) * _UNITS[part[2]] for part in parts), Fraction(0))


def interval_problems(every: Fraction, offset: Fraction) -> dict[str, str]:
    """What is wrong with an interval, in seconds: messages under "every" and "offset"."""
    longest = int(MAX_INTERVAL.total_seconds())
    problems = {}
    if every.denominator > 1:
        problems["every"] = "The interval must be whole seconds."
    elif not 1 <= every <= longest:
        problems["every"] = (
            f"The interval must be 1 to {longest} seconds (366 days); use a cron with a year for rarer times."
        )
    if offset.denominator > 1:
        problems["offset"] = "The offset must be whole seconds."
    elif offset < 0 or (offset >= every and "every" not in problems):
        problems["offset"] = "The offset must be 0 or more, and less than the interval."
    return problems


def _ranges(field: Field, text: str, problems: list[str]) -> Ranges:
    if field is YEAR and text == "*":
        return ()  # the server writes "any year" as no range at all
    found: list[Range] = []
    for item in text.split(","):
        try:
            read = _item(field, item)
        except _ItemError as wrong:
            problems.append(f"The {field.label} field: {wrong}.")
        else:
            found.extend(_sunday_first(read) if field is DAY_OF_WEEK else (read,))
    return tuple(found)


def _sunday_first(read: Range) -> Ranges:
    """Takes the 7 out of a range of weekdays as the server does: it becomes a 0, in front."""
    start, end, step = read
    if end < 7:
        return (read,)
    if start == 7:
        return (Range(0, 0),)
    rest = Range(start, 6, step)
    holds_sunday = (7 - start) % step == 0
    return (Range(0, 0), rest) if holds_sunday and (step > 1 or start > 1) else (rest,)


class _ItemError(ValueError):
    """What is wrong with one item of a field, and what to write."""


def _item(field: Field, item: str) -> Range:
    """One part between commas: `*`, `a` or `a-b`, with a `/step` or not."""
    if not item:
        raise _ItemError("there is nothing beside a comma; take the comma away")
    body, slash, step_text = item.partition("/")
    step = _step(step_text) if slash else 1
    if body == "*":
        return Range(field.low, field.high, step)
    if "-" in body:
        return Range(*_bounds(field, body), step)
    start = _value(field, body)
    return Range(start, field.high if slash else start, step)


def _step(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise _ItemError(f"the step {text!r} after the slash is not a number; write one such as */5")
    if not 1 <= int(text) <= _MAX_STEP:
        raise _ItemError(f"a step of {int(text)} is out of range; write 1 or more, such as */5")
    return int(text)


def _bounds(field: Field, body: str) -> tuple[int, int]:
    first, _, last = body.partition("-")
    if not first or not last or "-" in last:
        raise _ItemError(f"{body!r} is not a range; write first-last, such as {field.low}-{field.high}")
    start, end = _value(field, first), _value(field, last)
    if end < start:
        raise _ItemError(f"{body} runs backwards; write {_unwrapped(field, first, last, start, end)}")
    return start, end


def _unwrapped(field: Field, first: str, last: str, start: int, end: int) -> str:
    """A range that wraps round, as two that do not, in the writer's own words."""
    if field is YEAR:
        return f"{last}-{first}"
    low, high = str(field.low), str(6 if field is DAY_OF_WEEK else field.high)
    if field.names and not (first + last)[0].isdigit():
        low, high = field.names[0][:3], field.names[-1][:3]
    head = first if start >= (6 if field is DAY_OF_WEEK else field.high) else f"{first}-{high}"
    tail = last if end == field.low else f"{low}-{last}"
    return f"{head},{tail}"


def _value(field: Field, text: str) -> int:
    """A number, or the beginning of a name."""
    if _NUMBER.fullmatch(text):
        if field.low <= int(text) <= field.high:
            return int(text)
        hint = "; seconds in front need all seven fields" if field is YEAR else ""
        raise _ItemError(f"{int(text)} is out of range; write {field.low} to {field.high}{hint}")
    if len(text) >= field.shortest:
        for value, name in enumerate(field.names, start=1 if field is MONTH else 0):
            if name.startswith(text.lower()):
                return value
    raise _ItemError(_unknown(field, text))


def _unknown(field: Field, text: str) -> str:
    bounds = f"write {field.low} to {field.high}"
    if field.names:
        bounds += f" or a name such as {field.names[1][:3]}"
    letters = text.upper().strip("0123456789")
    if text == "?":
        return "? is not taken; write *"
    if letters in {"L", "LW", "W"}:
        return f"{text} is not taken, there is no L for last and no W for workday; {bounds}"
    if letters.startswith("H") and field.names == ():
        return f"{text} is not taken, no value is picked for you; {bounds}"
    return f"{text!r} is not a value; {bounds}"
