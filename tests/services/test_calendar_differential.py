"""Our calendar against Temporal's own, on a real server of each engine: the same text taken, kept and fired.

Each engine gets NEXTFIRE_DIFFERENTIAL_CASES windows and as many texts: a sample, or 10,000 in `make differential`.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import NamedTuple, TypeVar
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowType
from temporalio.api.schedule.v1 import (
    Schedule,
    ScheduleAction,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import NewWorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    CreateScheduleRequest,
    DeleteScheduleRequest,
    DescribeScheduleRequest,
    ListScheduleMatchingTimesRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from nextfire.embedded import Temporal
from services import calendar
from services.cadence import Cron, check, zones
from services.cadence import compile as compile_cadence
from services.cron import Calendar, Every, Range, Spec
from tests.faults.figures import Figures

CASES = int(os.environ.get("NEXTFIRE_DIFFERENTIAL_CASES", "150"))
SEED = 20261123
WINDOWS_PER_SPEC = 8
MOST_TIMES = 2_000
BATCH = 50
AT_ONCE = 4
LAST_SECOND = int(datetime(2100, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
NAMESPACE = "default"
ZONE = "Europe/Berlin"
FIELDS = ("second", "minute", "hour", "day_of_month", "month", "year", "day_of_week")
T = TypeVar("T")

DELIBERATE_REFUSALS: dict[str, Callable[[str], bool]] = {
    "a comment, for it would be lost without a word": lambda text: "#" in text,
    "a zone in the text, for it is a field of its own": lambda text: text.strip().startswith(("TZ=", "CRON_TZ=")),
    "characters other than printable ASCII, tabs too": lambda text: any(not " " <= c <= "~" for c in text),
    "over 256 characters": lambda text: len(text) > 256,
    "a step that the server wraps round at 2**32": lambda text: any(
        part.isdigit() and int(part) >= 2**31 for part in text.replace("+", "").replace("/", " ").split()
    ),
    "a word that merely begins with @every": lambda text: (
        text.strip().startswith("@every") and text.split()[0] != "@every"
    ),
    "an interval or offset that is no whole second, or over 366 days": lambda text: (
        text.strip().startswith("@every ") and not _whole_seconds(text)
    ),
}


def _whole_seconds(text: str) -> bool:
    return not any(sign in text for sign in (".", "ns", "us", "ms")) and "00h" not in text and "00d" not in text


@dataclass(frozen=True)
class Oracle:
    """A Temporal server, asked with raw requests.

    They are retried, as the SDK retries its own: some 280 s after connecting, and again after as long, whatever is
    under way comes back CANCELLED (measured; most likely the server's limit on the age of a connection).
    """

    client: Client

    async def create(self, spec: ScheduleSpec) -> str:
        schedule_id = f"differential-{uuid4()}"
        start = NewWorkflowExecutionInfo(
            workflow_id="never", workflow_type=WorkflowType(name="Never"), task_queue=TaskQueue(name="none")
        )
        schedule = Schedule(spec=spec, state=ScheduleState(paused=True), action=ScheduleAction(start_workflow=start))
        await self.client.workflow_service.create_schedule(
            CreateScheduleRequest(
                namespace=NAMESPACE, schedule_id=schedule_id, request_id=schedule_id, schedule=schedule
            ),
            retry=True,
        )
        return schedule_id

    async def delete(self, schedule_id: str) -> None:
        await self.client.workflow_service.delete_schedule(
            DeleteScheduleRequest(namespace=NAMESPACE, schedule_id=schedule_id), retry=True
        )

    async def takes(self, spec: ScheduleSpec) -> bool:
        """Whether the server takes a spec; an error other than a refusal goes up."""
        try:
            await self.delete(await self.create(spec))
        except RPCError as error:
            if error.status == RPCStatusCode.INVALID_ARGUMENT:
                return False
            raise
        return True

    async def kept(self, spec: ScheduleSpec) -> list[Spec]:
        """What describe answers for a spec: its calendars, then its intervals, in our form."""
        schedule_id = await self.create(spec)
        answer = await self.client.workflow_service.describe_schedule(
            DescribeScheduleRequest(namespace=NAMESPACE, schedule_id=schedule_id), retry=True
        )
        await self.delete(schedule_id)
        return _ours(answer.schedule.spec)

    async def times(self, schedule_id: str, after: int, last: int) -> tuple[list[int], int]:
        """The times after one instant, and up to when they are all of them: mostly to `last`.

        At a few old changes (Apia 2011, Goose Bay 2008) the server comes back to an earlier time, for ever.
        """
        found: list[int] = []
        while len(found) < MOST_TIMES:
            page = await self._page(schedule_id, found[-1] if found else after, last)
            found += page
            back = next((index for index, (a, b) in enumerate(pairwise(found), 1) if b <= a), None)
            if back is not None:
                return found[:back], found[back - 1]
            if len(page) < 1_000:
                return found, last
        return found, found[-1]

    async def _page(self, schedule_id: str, after: int, last: int) -> list[int]:
        request = ListScheduleMatchingTimesRequest(
            namespace=NAMESPACE,
            schedule_id=schedule_id,
            start_time=Timestamp(seconds=after),
            end_time=Timestamp(seconds=last),
        )
        answer = await self.client.workflow_service.list_schedule_matching_times(request, retry=True)
        return [time.seconds for time in answer.start_time]


@pytest.fixture(scope="module", params=["temporal", "chasm_temporal"], ids=["temporal", "chasm"])
async def oracle(request: pytest.FixtureRequest) -> Oracle:
    server: Temporal = request.getfixturevalue(request.param)
    return Oracle(await Client.connect(server.address, namespace=NAMESPACE))


# ---------------------------------------------------------------- the form


def _ours(spec: ScheduleSpec) -> list[Spec]:
    calendars: list[Spec] = [
        Calendar(
            spec.timezone_name,
            *(tuple(Range(r.start, r.end, r.step) for r in getattr(kept, name)) for name in FIELDS),
        )
        for kept in spec.structured_calendar
    ]
    return calendars + [Every(i.interval.ToTimedelta(), i.phase.ToTimedelta()) for i in spec.interval]


def _theirs(specs: Sequence[Spec]) -> ScheduleSpec:
    message = ScheduleSpec(timezone_name=ZONE)
    for spec in specs:
        if isinstance(spec, Every):
            interval = message.interval.add()
            interval.interval.FromTimedelta(spec.every)
            interval.phase.FromTimedelta(spec.offset)
        else:
            calendar_message = message.structured_calendar.add()
            for name in FIELDS:
                for start, end, step in getattr(spec, name):
                    getattr(calendar_message, name).add(start=start, end=end, step=step)
    return message


# ---------------------------------------------------------------- the cases


SHARP_ZONES = (
    "Africa/Cairo", "Africa/Casablanca", "America/Asuncion", "America/Havana", "America/New_York", "America/Santiago",
    "America/Scoresbysund", "America/St_Johns", "Antarctica/Casey", "Antarctica/Troll", "Asia/Beirut", "Asia/Gaza",
    "Atlantic/Azores", "Australia/Lord_Howe", "Europe/Berlin", "Europe/Dublin", "Europe/London", "Pacific/Apia",
    "Pacific/Chatham", "UTC",
)  # fmt: skip


def _field(r: random.Random, low: int, high: int) -> str:
    first, second = sorted((r.randint(low, high), r.randint(low, high)))
    step = r.choice([2, 3, 5, 7, 10, 15, 20, 30, 45])
    some = ",".join(str(r.randint(low, high)) for _ in range(r.randint(2, 4)))
    return r.choice(["*", "*", f"*/{step}", f"*/{step}", str(first), f"{first}-{second}", f"{first}/{step}", some])


def _expression(r: random.Random) -> str:
    if r.random() < 0.05:
        return r.choice(["@every 1h", "@every 7m/13s", "@every 1d12h/90m", "@hourly", "@daily", "@weekly", "@monthly"])
    hour = r.choice(["*", "*", "0", "1", "2", "3", "23", _field(r, 0, 4), _field(r, 0, 23)])
    day = r.choice(["*"] * 8 + [_field(r, 1, 31)])
    month = r.choice(["*"] * 11 + [_field(r, 1, 12)])
    weekday = r.choice(["*", "*", "*", _field(r, 0, 7), r.choice(["sun", "SAT", "mon-fri"])])
    text = f"{_field(r, 0, 59)} {hour} {day} {month} {weekday}"
    year = r.choice(["*", f"{r.randint(2000, 2050)}/{r.randint(1, 3)}"])
    return r.choice([text] * 18 + [f"{text} {year}", f"{r.choice(['0', '30', '*/20', '15,45'])} {text} {year}"])


KNOWN_TEXTS = (
    "@daily", " @hourly ", "@midnight", "@weekly", "@monthly", "@yearly", "@annually", "@Daily", "@reboot", "@yearly x",
    "@every 1h", "@every 1h/5m", "@every 1h/", "@every 1d", "@every 1.5h", "@every 90", "@every 1.5s", "@every 0.5s",
    "@every  1h", "@everyday 1h", "@every", "@every 1h30m/1h30m", "@every -1h", "@every +1h", "@every 1h /5m",
    "@every 1w", "@every 1D", "@every 100000h", "@every 0", "@every 1h/0", "@every .5m", "@every 1.h", "@EVERY 1h",
    "@every 60000ms", "@every 1h/1.5s", "@every 366d", "@every 36h/1d", "@every 1h 5m", "@every 1h/2h",
    "+5 * * * *", "05 * * * *", "*/90 * * * *", "*/99999999999 * * * *", "*/2147483648 * * * *", "*/2147483647 * * * *",
    "*/+5 * * * *", "5/ * * * *", "/5 * * * *", "*, * * * *", ",5 * * * *", "5- * * * *", "-5 * * * *",
    "1-2-3 * * * *", "*/5/5 * * * *", "*-5 * * * *", "** * * * *", "1_0 * * * *", "*\t* * * *", "*\xa0* * * *",
    "\u0663 * * * *", "* * * * * *", "* * * * * 2026", "* * * * * 2026/3", "* * * * * */2", "* * * * * 1999",
    "* * * * * 2101", "* * * * * *,*", "* * * * * * *", "* * * * * * 2026", "* * * *", "* * * * * * * *", "", " ",
    "* * * * 5-7", "* * * * */7", "* * * * 5/2", "* * * * 6/1", "* * * * 7", "* * * * 0-7", "* * * * 1-7",
    "* * * * 1-7/2", "* * * * 3-7/3", "* * * * 7-7/3", "* * * * 7/2", "* * * * 6-7", "* * * * 7,0", "* * * * sat-sun",
    "* * * * mon-FRI/2", "* * * * su", "* * * * s", "* * * * sundayy", "* * * ja *", "* * * janu *",
    "* * * JAN-dec/5 *",
    "0-0/5 * * * *", "5-5/5 * * * *", "5/60 * * * *", "59/2 * * * *", "30-10 * * * *", "*/0 * * * *", "*/-1 * * * *",
    "* * L * *", "* * ? * *", "* * 1W * *", "* * * * 5L", "* * * * 5#2", "H * * * *", "CRON_TZ=UTC * * * * *",
    "TZ=Europe/Berlin * * * * *", "CRON_TZ=Europe/Berlin 0 0 * * *", "0 0 * * * # midnight", "1.5 * * * *",
    "* * * * *\x00", "\ufeff* * * * *", "mon * * * *", "* * * 1 jan", "~ * * * *", ",".join(["5"] * 200) + " * * * *",
)  # fmt: skip


def _text(number: int) -> str:
    """A cron text that is right, or was until one of its characters was touched."""
    r = random.Random(f"{SEED}:text:{number}")
    text = _expression(r)
    for _ in range(r.choice([0, 0, 1, 1, 2])):
        place = r.randrange(len(text) + 1)
        text = text[:place] + r.choice("0123456789*/-, LW?H#@mfs+.") + text[place + r.randint(0, 1) :]
    return text


def _changes(zone: str, year: int) -> list[int]:
    """When the clocks of a zone change in a year."""
    clock = ZoneInfo(zone)
    start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    found = []
    for low in range(start, start + 366 * 86400, 43200):
        high, before = low + 43200, _at(low).astimezone(clock).utcoffset()
        if before != _at(high).astimezone(clock).utcoffset():
            while high - low > 1:
                middle = (low + high) // 2
                same = _at(middle).astimezone(clock).utcoffset() == before
                low, high = (middle, high) if same else (low, middle)
            found.append(high)
    return found


def _moment(r: random.Random, zone: str) -> int:
    """A second near which a calendar may go wrong: a clock change, a leap day, a year's end."""
    year = r.randint(2000, 2099)
    changes = _changes(zone, year)
    if changes and r.random() < 0.85:
        return r.choice(changes)
    month, day = r.choice([(2, 28), (3, 1), (12, 31)])
    return int(datetime(year, month, day, tzinfo=UTC).timestamp())


class Window(NamedTuple):
    """Times after one instant up to another. `raw` is the server's walk from right there, in a change or not."""

    after: int
    last: int
    raw: bool


@dataclass(frozen=True)
class Case:
    """One cron with its windows."""

    cron: Cron
    windows: tuple[Window, ...]

    @classmethod
    def of(cls, number: int) -> "Case":
        r = random.Random(f"{SEED}:{number}")
        zone = r.choice([r.choice(SHARP_ZONES), r.choice(sorted(zones()))])
        windows = []
        for index in range(WINDOWS_PER_SPEC):
            moment, raw = _moment(r, zone), index % 2 == 0
            before = r.randint(-4 * 3600, 4 * 3600) if raw else r.randint(-6 * 3600, 16 * 3600)
            windows.append(Window(moment - before, moment + r.randint(6, 36) * 3600, raw))
        return cls(Cron(_expression(r), zone), tuple(windows))


async def _all(work: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """The answers of all, a few at once, in order."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(item: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await item()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in work]
    return [task.result() for task in tasks]


def _seconds(times: Iterator[datetime]) -> list[int]:
    return [int(time.timestamp()) for time in times]


def _at(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


# ---------------------------------------------------------------- the tests


@pytest.mark.fault("F24")
async def test_the_same_times_as_the_server(oracle: Oracle, figures: Figures) -> None:
    # given crons in all zones, and windows around clock changes, leap days and years' ends
    cases = [Case.of(number) for number in range(-(-CASES // WINDOWS_PER_SPEC))]

    # when both sides count the times in each window
    answers = await _all([partial(_mismatches, oracle, case) for case in cases])

    # then nothing differs, and there was something to compare
    mismatches = [mismatch for found, _ in answers for mismatch in found]
    times = sum(count for _, count in answers)
    print(f"{len(cases) * WINDOWS_PER_SPEC} windows, {times} times, {len(mismatches)} mismatches")  # noqa: T201
    figures.add("Calendar against Temporal: windows around clock changes", len(cases) * WINDOWS_PER_SPEC)
    figures.add("Calendar against Temporal: times", times)
    figures.add("Calendar against Temporal: mismatches", len(mismatches))
    assert mismatches == []
    assert times > CASES * 10


async def _mismatches(oracle: Oracle, case: Case) -> tuple[list[str], int]:
    """What differs in the windows of a case, and how many times were compared."""
    spec = compile_cadence(case.cron)
    schedule_id = await oracle.create(_as_text(case.cron))
    found, compared = [], 0
    for window in case.windows:
        origin = window.after
        if isinstance(spec, Calendar) and not window.raw:
            origin = calendar.walker(spec).origin(window.after)
        times, last = await oracle.times(schedule_id, origin, window.last)
        theirs = [time for time in times if time > window.after]
        if isinstance(spec, Calendar) and window.raw:
            ours = list(_walked(spec, origin, last))
        else:
            ours = _seconds(calendar.fires(spec, _at(window.after), end=_at(last)))
            compared_too = [time for time in theirs[:2] + theirs[-2:] if not calendar.matches(spec, _at(time))]
            found += [f"{case.cron}: {time} does not match" for time in compared_too]
        if ours != theirs:
            found.append(f"{case.cron} {window} from {origin}: {ours[:9]} not {theirs[:9]}")
        compared += len(theirs)
    await oracle.delete(schedule_id)
    return found, compared


def _walked(spec: Calendar, after: int, last: int) -> Iterator[int]:
    walk = calendar.walker(spec)
    while (step := walk.step(after)) is not None and step <= last:
        yield step
        after = step


@pytest.mark.fault("F24")
async def test_the_same_times_from_start_to_end(oracle: Oracle) -> None:
    # given schedules with a start and an end, which may lie in a clock change
    cases = [Case.of(-number) for number in range(1, -(-CASES // (WINDOWS_PER_SPEC * 4)) + 1)]

    # when both sides count the times around them
    answers = await _all([partial(_bounded_mismatches, oracle, case) for case in cases])

    # then nothing differs
    assert [mismatch for found in answers for mismatch in found] == []


async def _bounded_mismatches(oracle: Oracle, case: Case) -> list[str]:
    spec = compile_cadence(case.cron)
    found = []
    for after, end, _ in case.windows[:2]:
        start = after + 3_600
        bounded = _as_text(case.cron)
        bounded.start_time.seconds, bounded.end_time.seconds = start, end
        schedule_id = await oracle.create(bounded)
        theirs, last = await oracle.times(schedule_id, after, end + 7_200)
        ours = _seconds(calendar.fires(spec, _at(after), start=_at(start), end=_at(min(end, last))))
        if ours != theirs:
            found.append(f"{case.cron} {after} {start} {end}: {ours[:9]} not {theirs[:9]}")
        await oracle.delete(schedule_id)
    return found


async def test_the_same_times_of_intervals(oracle: Oracle) -> None:
    # given intervals of all lengths, with a start and an end or without, and the very end of the server's times
    cases = [_interval(number) for number in range(-(-CASES // WINDOWS_PER_SPEC))]

    # when both sides count their times
    answers = await _all([partial(_interval_mismatches, oracle, *case) for case in cases])

    # then nothing differs
    assert [mismatch for found, _ in answers for mismatch in found] == []
    assert sum(count for _, count in answers) > CASES


def _interval(number: int) -> tuple[Every, int | None, int | None, int]:
    """An interval, its start and end, and after when it is asked."""
    r = random.Random(f"{SEED}:interval:{number}")
    every = r.choice([1, 59, 3_600, 86_399, 86_401, 7 * 86_400, 366 * 86_400, r.randint(1, 10**6)])
    offset = r.choice([0, every - 1, r.randrange(every)])
    after = r.choice([LAST_SECOND, r.randint(2 * 366 * 86_400, LAST_SECOND)]) - r.randint(0, every * 20)
    start, end = after + r.randint(-every, every * 5), after + r.randint(every * 5, every * 30)
    spec = Every(timedelta(seconds=every), timedelta(seconds=offset))
    return spec, r.choice([None, start]), r.choice([None, end]), after


async def _interval_mismatches(
    oracle: Oracle, spec: Every, start: int | None, end: int | None, after: int
) -> tuple[list[str], int]:
    bounded = _theirs([spec])
    if start is not None:
        bounded.start_time.seconds = start
    if end is not None:
        bounded.end_time.seconds = end
    schedule_id = await oracle.create(bounded)
    theirs, last = await oracle.times(schedule_id, after, after + int(spec.every.total_seconds()) * 40)
    await oracle.delete(schedule_id)
    ends_at = _at(min(last, end or last))
    ours = _seconds(calendar.fires(spec, _at(after), start=None if start is None else _at(start), end=ends_at))
    found = [] if ours == theirs else [f"{spec} {start} {end} {after}: {ours[-9:]} not {theirs[-9:]}"]
    return found, len(theirs)


async def test_the_same_text_taken_and_kept(oracle: Oracle) -> None:
    # given cron texts that we take, many of them in one schedule
    texts = [*KNOWN_TEXTS, *(_text(number) for number in range(CASES))]
    taken = [text for text in texts if not check(Cron(text, ZONE))]
    batches = [taken[start : start + BATCH] for start in range(0, len(taken), BATCH)]

    # when the server is given them, as texts and as the ranges that we make of them
    differences = await _all([partial(_differences, oracle, batch) for batch in batches])

    # then it keeps what we expect, from either
    assert [difference for found in differences for difference in found] == []
    assert len(taken) > len(texts) / 4


async def _differences(oracle: Oracle, texts: list[str]) -> list[str]:
    compiled = [compile_cadence(Cron(text, ZONE)) for text in texts]
    ours = [spec for kind in (Calendar, Every) for spec in compiled if isinstance(spec, kind)]
    from_texts = await oracle.kept(ScheduleSpec(cron_string=texts, timezone_name=ZONE))
    from_ranges = await oracle.kept(_theirs(compiled))
    assert len(from_texts) == len(from_ranges) == len(ours)
    return [
        f"{mine}: {theirs} from text, {again} from ranges"
        for mine, theirs, again in zip(ours, from_texts, from_ranges, strict=True)
        if not mine == theirs == again
    ]


async def test_the_same_text_refused(oracle: Oracle) -> None:
    # given cron texts that we refuse
    texts = [*KNOWN_TEXTS, *(_text(number) for number in range(CASES))]
    refused = [text for text in texts if check(Cron(text, ZONE))]

    # when the server is asked to take them
    takes = await _all([partial(oracle.takes, _as_text(Cron(text, ZONE))) for text in refused])

    # then it refuses them too, but for the refusals that are meant, and each of those was met
    too_many = [text for text, is_taken in zip(refused, takes, strict=True) if is_taken]
    reasons = {text: [name for name, means in DELIBERATE_REFUSALS.items() if means(text)] for text in too_many}
    assert [text for text, names in reasons.items() if not names] == []
    assert {name for names in reasons.values() for name in names} == set(DELIBERATE_REFUSALS)
    assert len(too_many) < len(refused) / 2


async def test_every_zone_that_we_take_is_one_of_the_server(oracle: Oracle) -> None:
    # given the zones, or a sample of them
    names = sorted(zones())
    sample = random.Random(SEED).sample(names, min(len(names), len(names) * CASES // 10_000))

    # when a schedule is made in each
    takes = await _all([partial(oracle.takes, _as_text(Cron("0 0 * * *", name))) for name in sample])

    # then the server takes them all
    assert [name for name, is_taken in zip(sample, takes, strict=True) if not is_taken] == []
    assert sample


def _as_text(cron: Cron) -> ScheduleSpec:
    return ScheduleSpec(cron_string=[cron.expression], timezone_name=cron.time_zone)
