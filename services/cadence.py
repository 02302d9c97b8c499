"""A cadence: when a schedule is due. Its rules, its plain words, and the form that Temporal keeps of it."""

import difflib
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from zoneinfo import available_timezones

from cron_descriptor import Options, get_description

from services.cron import (
    Calendar,
    CronError,
    Every,
    Ranges,
    Spec,
    interval_problems,
    parse,
    values,
)
from services.errors import InvalidInput, Issue

MAX_ZONE_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Cron:
    """Times by the wall clock of a zone, as cron text in Temporal's dialect."""

    expression: str
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Interval:
    """The multiples of `every` since 1970-01-01T00:00Z, plus `offset`, in whole seconds and in no zone."""

    every: timedelta
    offset: timedelta = timedelta(0)


Cadence = Cron | Interval


def check(cadence: Cadence) -> tuple[Issue, ...]:
    """All that is wrong with it, each with its path below the cadence; empty if it is right.

    A right cadence may still have no next time: `services.calendar.has_no_fire` says why.
    """
    if isinstance(cadence, Interval):
        every = Fraction(cadence.every // timedelta(microseconds=1), 1_000_000)
        offset = Fraction(cadence.offset // timedelta(microseconds=1), 1_000_000)
        problems = interval_problems(every, offset)
        return tuple(Issue(("interval", f"{name}Seconds"), text) for name, text in problems.items())
    issues = []
    try:
        parse(cadence.expression, cadence.time_zone)
    except CronError as error:
        issues = [Issue(("cron", "expression"), problem) for problem in error.problems]
    if problem := zone_problem(cadence.time_zone):
        issues.append(Issue(("cron", "timeZone"), problem))
    return tuple(issues)


def compile(cadence: Cadence) -> Spec:  # noqa: A001  # a module's word, imported under another name
    """The cadence as Temporal's describe answers it, to be sent, compared and counted with.

    Raises:
        InvalidInput: `check` finds something.
    """
    if issues := check(cadence):
        raise InvalidInput(issues)
    if isinstance(cadence, Interval):
        return Every(cadence.every, cadence.offset)
    return parse(cadence.expression, cadence.time_zone)


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """The names that a time zone may have: those of the IANA database.

    Without those that mean another zone on another machine or none at all, and without the copies under
    posix/ and right/.
    """
    unfit = {"Local", "localtime", "posixrules", "Factory"}
    return frozenset(name for name in available_timezones() - unfit if not name.startswith(("posix/", "right/")))


def zone_problem(name: str) -> str | None:
    """What is wrong with the name of a time zone, and the one that was meant where that can be told."""
    if name in zones():
        return None
    if len(name) > MAX_ZONE_LENGTH:
        return f"A time zone has at most {MAX_ZONE_LENGTH} characters; this one has {len(name)}."
    if not name:
        return "The time zone is empty; write one such as Europe/Berlin or UTC."
    shown = repr(name)
    if near := _near(name.strip().replace(" ", "_")):
        return f"There is no time zone {shown}; did you mean {near}?"
    return f"There is no time zone {shown}; write a name of the IANA database, such as Europe/Berlin or UTC."


def _near(name: str) -> str | None:
    """The zone whose name, or last part, is the same in another case, or nearly the same."""
    by_name = {zone.lower(): zone for zone in sorted(zones())}
    by_place = {zone.rpartition("/")[2].lower(): zone for zone in sorted(zones(), reverse=True)}
    wanted = name.lower()
    for known in (by_name, by_place):
        if wanted in known:
            return known[wanted]
    for known in (by_name, by_place) if len(wanted) > 4 else ():
        if close := difflib.get_close_matches(wanted, known, n=1, cutoff=0.8):
            return known[close[0]]
    return None


def describe(cadence: Cadence) -> str:
    """The cadence in plain words, without its zone: "At 17:00, Monday through Friday", "Every 15 minutes".

    Raises:
        InvalidInput: `check` finds something.
    """
    spec = compile(cadence)
    return _describe_interval(spec) if isinstance(spec, Every) else _describe_calendar(spec)


def _describe_interval(spec: Every) -> str:
    words = _duration(spec.every)
    text = f"Every {words.removeprefix('1 ') if words.count(' ') == 1 else words}"
    return f"{text}, offset by {_duration(spec.offset)}" if spec.offset else text


def _duration(length: timedelta) -> str:
    rest = int(length.total_seconds())
    parts = []
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return " ".join(parts)


def _describe_calendar(spec: Calendar) -> str:
    """The words of cron-descriptor, for cron text that it reads as Temporal does.

    Left to itself it takes day of month and day of week as alternatives, and a step that does not divide its
    field as even spacing; so it is asked about times, dates and weekdays apart, with plain lists.
    """
    seconds, minutes = _text(spec.second, 0, 59), _text(spec.minute, 0, 59)
    hours, days = _text(spec.hour, 0, 23), _text(spec.day_of_month, 1, 31, steps=False)
    months, weekdays = _text(spec.month, 1, 12, steps=False), _text(spec.day_of_week, 0, 6, steps=False)
    in_hours = ""
    if "," in hours or "/" in hours:
        named = [f"{hour:02}:00" for hour in values(spec.hour)]
        if minutes.isdigit():
            hours = hours if "/" in hours else ",".join(map(str, values(spec.hour)))
        else:
            hours, in_hours = "*", f", in the hours that begin at {', '.join(named[:-1])} and {named[-1]}"
    both = days != "*" and weekdays != "*"
    when = _words([*([seconds] if seconds != "0" else []), minutes, hours, "*", "*", "*"])
    dates = _words(["0", "0", days, months, "*" if both else weekdays]).removeprefix("At 00:00")
    on = _words(["0", "0", "*", "*", weekdays]).removeprefix("At 00:00, ").removeprefix("only on ")
    return when + in_hours + dates + (f", but only on {on}" if both else "") + _years(spec.year)


def _years(ranges: Ranges) -> str:
    found = []
    for start, end, step in ranges:
        last = end - (end - start) % step
        years = f"{start}" if last == start else f"{start} through {last}"
        found.append(f"{years} every {step} years" if step > 1 and last > start else years)
    return f", only in {' and '.join(found)}" if found else ""


def _words(fields: list[str]) -> str:
    options = Options()
    options.use_24hour_time_format = True
    return str(get_description(" ".join(fields), options))


def _text(ranges: Ranges, low: int, high: int, *, steps: bool = True) -> str:
    """The values as the plainest cron text: `*`, an even `*/n`, or runs and single values in order."""
    wanted = values(ranges)
    if len(wanted) == high - low + 1:
        return "*"
    step = wanted[1] - wanted[0] if len(wanted) > 1 else 0
    if steps and step > 1 and (high - low + 1) % step == 0 and wanted == tuple(range(low, high + 1, step)):
        return f"*/{step}"
    runs = []
    for _, run in groupby(enumerate(wanted), key=lambda pair: pair[1] - pair[0]):
        run_values = [str(value) for _, value in run]
        runs += [f"{run_values[0]}-{run_values[-1]}"] if len(run_values) > 2 else run_values
    return ",".join(runs)
