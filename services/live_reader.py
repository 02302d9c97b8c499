"""Reading live values within a budget: one list call for a page, describe for what a list cannot tell."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from temporalio.service import RPCError

from services.clock import LIST_LIMIT, Clock, TemporalAway
from services.live import Live, LiveStatus, LiveValues
from services.schedule import Schedule, ScheduleState

log = structlog.get_logger(__name__)

BUDGET = timedelta(seconds=1.3)
"""For all live values of one request, so that the whole query ends within 1.5 s though Temporal is away."""
SHARED_FOR = timedelta(seconds=2)
"""How long an entry of a list call serves other requests; `asOf` shows its age."""
LEAST_GAP = timedelta(milliseconds=100)
"""Between two list calls of a process: a default cluster admits 10 a second to a namespace."""
DESCRIBES_AT_ONCE = 10


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """One schedule whose live values are wanted: `fresh` by a strong read, `counters` with what only describe has."""

    schedule: Schedule
    fresh: bool = False
    counters: bool = False

    @property
    def id(self) -> UUID:
        return self.schedule.id


class LiveReader:
    """One instance a process: concurrent requests share its list calls."""

    def __init__(self, clock: Clock, *, budget: timedelta = BUDGET, shared_for: timedelta = SHARED_FOR) -> None:
        self._clock = clock
        self._budget = budget
        self._shared = SharedList(clock, budget=budget, shared_for=shared_for)

    async def read(self, wanted: list[Wanted]) -> list[Live]:
        """One answer for each, in order; never raises for Temporal's sake, and never takes longer than the budget."""
        answers: dict[Wanted, Live] = {}
        try:
            async with asyncio.timeout(self._budget.total_seconds()):
                await self._read(wanted, answers)
        except TimeoutError:
            pass
        return [answers.get(each, Live(LiveStatus.TIMED_OUT)) for each in wanted]

    def forget(self, schedule_id: UUID) -> None:
        """Let the next list call read this clock anew: it has just been written."""
        self._shared.forget(schedule_id)

    async def _read(self, wanted: list[Wanted], answers: dict[Wanted, Live]) -> None:
        describe = [each for each in wanted if each.fresh or each.counters or len(wanted) == 1]
        listable = [each for each in wanted if each not in describe]
        try:
            listed = await self._shared.get([each.id for each in listable]) if listable else {}
        except (TemporalAway, RPCError) as error:
            answers.update((each, _failure(error)) for each in listable)
            listable = []
        for each in listable:
            values = listed.get(each.id)
            if values is not None and _is_current(each.schedule, values):
                answers[each] = Live(LiveStatus.AVAILABLE, values)
            else:
                describe.append(each)
        gate = asyncio.Semaphore(DESCRIBES_AT_ONCE)
        await asyncio.gather(*(self._describe(each, gate, answers) for each in describe))

    async def _describe(self, wanted: Wanted, gate: asyncio.Semaphore, answers: dict[Wanted, Live]) -> None:
        async with gate:
            try:
                described = await self._clock.describe(wanted.id, timeout=self._budget)
            except (TemporalAway, RPCError) as error:
                answers[wanted] = _failure(error)
                return
        answers[wanted] = _answer(wanted.schedule, described.live if described else None)


class SharedList:
    """List calls that whoever asks at the same moment shares, and whose entries serve for a moment after."""

    def __init__(self, clock: Clock, *, budget: timedelta, shared_for: timedelta) -> None:
        self._clock = clock
        self._budget = budget
        self._shared_for = shared_for.total_seconds()
        self._entries: dict[UUID, tuple[float, LiveValues | None]] = {}
        self._waiting: dict[UUID, asyncio.Future[LiveValues | None]] = {}
        self._pump: asyncio.Task[None] | None = None
        self._last_call = 0.0

    async def get(self, ids: Iterable[UUID]) -> dict[UUID, LiveValues | None]:
        """Raises `TemporalAway`."""
        fresh_since = time.monotonic() - self._shared_for
        found: dict[UUID, LiveValues | None] = {}
        waiting: dict[UUID, asyncio.Future[LiveValues | None]] = {}
        for schedule_id in ids:
            at, values = self._entries.get(schedule_id, (0.0, None))
            if at > fresh_since:
                found[schedule_id] = values
            else:
                waiting[schedule_id] = self._future(schedule_id)
        if waiting:
            # Not gather: giving up here must not cancel what others wait for as well.
            await asyncio.wait(waiting.values())
        return found | {schedule_id: future.result() for schedule_id, future in waiting.items()}

    def forget(self, schedule_id: UUID) -> None:
        self._entries.pop(schedule_id, None)

    def _future(self, schedule_id: UUID) -> asyncio.Future[LiveValues | None]:
        if schedule_id not in self._waiting:
            self._waiting[schedule_id] = asyncio.get_running_loop().create_future()
            if self._pump is None or self._pump.done():
                self._pump = asyncio.create_task(self._serve())
        return self._waiting[schedule_id]

    async def _serve(self) -> None:
        """Calls until nobody waits; who comes during one call shares the next."""
        while self._waiting:
            # Always a turn of the loop at least, in which the rest of a page joins.
            gap = self._last_call + LEAST_GAP.total_seconds() - time.monotonic()
            await asyncio.sleep(max(0.0, gap))
            batch = {key: self._waiting.pop(key) for key in [*self._waiting][:LIST_LIMIT]}
            self._last_call = time.monotonic()
            try:
                listed = await self._clock.look_up([*batch], timeout=self._budget)
            except Exception as error:
                for future in batch.values():
                    future.set_exception(error)
                    future.exception()
                continue
            self._keep(batch, listed)

    def _keep(self, batch: dict[UUID, asyncio.Future[LiveValues | None]], listed: dict[UUID, LiveValues]) -> None:
        now = time.monotonic()
        stale = now - self._shared_for
        self._entries = {key: entry for key, entry in self._entries.items() if entry[0] > stale}
        for schedule_id, future in batch.items():
            values = listed.get(schedule_id)
            self._entries[schedule_id] = (now, values)
            future.set_result(values)


def _is_current(schedule: Schedule, values: LiveValues) -> bool:
    """Whether a list's entry, which may be a moment behind, is of the clock that the row knows to be applied."""
    clock = schedule.clock
    if clock.applied_version != schedule.version:
        return False
    return values.version is None or values.version == clock.clock_version


def _answer(schedule: Schedule, values: LiveValues | None) -> Live:
    applied = schedule.clock.applied_version == schedule.version
    if values is None:
        ended = schedule.state(datetime.now(UTC)) in (ScheduleState.DELETED, ScheduleState.FINISHED)
        return Live(LiveStatus.AVAILABLE, _ended()) if ended and applied else Live(LiveStatus.NOT_SYNCED)
    if schedule.deleted_at is not None:
        return Live(LiveStatus.NOT_SYNCED)
    written = values.version is not None and values.version >= schedule.version
    return Live(LiveStatus.AVAILABLE, values) if applied or written else Live(LiveStatus.NOT_SYNCED)


def _ended() -> LiveValues:
    """A schedule that has ended needs no clock: nothing is to come."""
    return LiveValues(
        version=None, paused=False, next_fires=(), last_fire_at=None, counters=None, as_of=datetime.now(UTC)
    )


def _failure(error: TemporalAway | RPCError) -> Live:
    log.warning("Temporal did not give live values", action="live_read", reason=str(error))
    slow = isinstance(error, TemporalAway) and error.timed_out
    return Live(LiveStatus.TIMED_OUT if slow else LiveStatus.UNAVAILABLE)
