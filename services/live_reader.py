"""Reading live values within a budget: one list call for a page, describe for what a list cannot tell."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
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


class Wanted(NamedTuple):
    """One schedule whose live values are wanted: `fresh` by a strong read, `counters` with what only describe has."""

    schedule: Schedule
    fresh: bool = False
    counters: bool = False


class LiveReader:
    """One instance a process: concurrent requests share its list calls."""

    def __init__(self, clock: Clock, *, budget: timedelta = BUDGET, shared_for: timedelta = SHARED_FOR) -> None:
        self._clock = clock
        self._budget = budget
        self._shared = SharedList(clock, budget=budget, shared_for=shared_for)

    async def read(self, wanted: list[Wanted]) -> list[Live]:
        """One answer for each, in order; never raises for Temporal's sake, and never takes longer than the budget."""
        answers: list[Live | None] = [None] * len(wanted)
        try:
            async with asyncio.timeout(self._budget.total_seconds()):
                await self._read(wanted, answers)
        except TimeoutError:
            pass
        return [Live(LiveStatus.TIMED_OUT) if answer is None else answer for answer in answers]

    def forget(self, schedule_id: UUID) -> None:
        """Let the next list call read this clock anew: it has just been written."""
        self._shared.forget(schedule_id)

    async def _read(self, wanted: list[Wanted], answers: list[Live | None]) -> None:
        """Fill in the answers as they come."""
        listed = await self._listed(wanted)
        to_describe = []
        for place, (schedule, fresh, counters) in enumerate(wanted):
            live = None if fresh or counters else listed.get(schedule.id)
            if live is not None and (live.values is None or _is_current(schedule, live.values)):
                answers[place] = live
            else:
                to_describe.append(place)
        if to_describe:
            gate = asyncio.Semaphore(DESCRIBES_AT_ONCE)
            await asyncio.gather(
                *(self._describe(wanted[place].schedule, place, gate, answers) for place in to_describe)
            )

    async def _listed(self, wanted: list[Wanted]) -> Mapping[UUID, Live | None]:
        """What a list tells of those that it is enough for. One alone is described, which is as quick."""
        ids = [schedule.id for schedule, fresh, counters in wanted if not (fresh or counters)]
        if not ids or len(wanted) == 1:
            return {}
        try:
            return await self._shared.get(ids)
        except (TemporalAway, RPCError) as error:
            return dict.fromkeys(ids, _failure(error))

    async def _describe(
        self, schedule: Schedule, place: int, gate: asyncio.Semaphore, answers: list[Live | None]
    ) -> None:
        async with gate:
            try:
                described = await self._clock.describe(schedule.id, timeout=self._budget)
            except (TemporalAway, RPCError) as error:
                answers[place] = _failure(error)
                return
        answers[place] = _answer(schedule, described.live if described else None)


class SharedList:
    """List calls that whoever asks at the same moment shares, and whose entries serve for a moment after."""

    def __init__(self, clock: Clock, *, budget: timedelta, shared_for: timedelta) -> None:
        self._clock = clock
        self._budget = budget
        self._shared_for = shared_for.total_seconds()
        self._entries: dict[UUID, tuple[float, Live | None]] = {}
        """When each was read, and what was said of it."""
        self._calls: deque[ListCall] = deque()
        """Those that have not begun, the next first."""
        self._call_of: dict[UUID, ListCall] = {}
        self._pump: asyncio.Task[None] | None = None
        self._last_call = 0.0

    async def get(self, ids: Iterable[UUID]) -> dict[UUID, Live | None]:
        """What Temporal says of each; None for those that it did not list. Raises `TemporalAway`."""
        fresh_since = time.monotonic() - self._shared_for
        found: dict[UUID, Live | None] = {}
        called: dict[UUID, ListCall] = {}
        for schedule_id in ids:
            entry = self._entries.get(schedule_id)
            if entry is not None and entry[0] > fresh_since:
                found[schedule_id] = entry[1]
            else:
                called[schedule_id] = self._call(schedule_id)
        if called:
            # Not gather: giving up here must not cancel what others wait for as well.
            await asyncio.wait({call.answer for call in called.values()})
        return found | {schedule_id: call.answer.result().get(schedule_id) for schedule_id, call in called.items()}

    def forget(self, schedule_id: UUID) -> None:
        self._entries.pop(schedule_id, None)

    def _call(self, schedule_id: UUID) -> "ListCall":
        """The call to come that asks for the id."""
        call = self._call_of.get(schedule_id)
        if call is None:
            if not self._calls or len(self._calls[-1].ids) == LIST_LIMIT:
                self._calls.append(ListCall())
            call = self._call_of[schedule_id] = self._calls[-1]
            call.ids.append(schedule_id)
            if self._pump is None or self._pump.done():
                self._pump = asyncio.create_task(self._serve())
        return call

    async def _serve(self) -> None:
        """Calls until nobody waits; who comes during one call shares the next."""
        while self._calls:
            # Always a turn of the loop at least, in which the rest of a page joins.
            gap = self._last_call + LEAST_GAP.total_seconds() - time.monotonic()
            await asyncio.sleep(max(0.0, gap))
            call = self._calls.popleft()
            for schedule_id in call.ids:
                del self._call_of[schedule_id]
            self._last_call = time.monotonic()
            try:
                listed = await self._clock.look_up(call.ids, timeout=self._budget)
            except Exception as error:
                call.answer.set_exception(error)
                call.answer.exception()
                continue
            self._keep(call, listed)

    def _keep(self, call: "ListCall", listed: dict[UUID, LiveValues]) -> None:
        now = time.monotonic()
        stale = now - self._shared_for
        answer = {schedule_id: Live(LiveStatus.AVAILABLE, values) for schedule_id, values in listed.items()}
        self._entries = {key: entry for key, entry in self._entries.items() if entry[0] > stale}
        self._entries.update((schedule_id, (now, answer.get(schedule_id))) for schedule_id in call.ids)
        call.answer.set_result(answer)


class ListCall:
    """The ids that one call asks for, and what it is answered."""

    def __init__(self) -> None:
        self.ids: list[UUID] = []
        self.answer: asyncio.Future[dict[UUID, Live]] = asyncio.get_running_loop().create_future()


def _is_current(schedule: Schedule, values: LiveValues) -> bool:
    """Whether a list's entry, which may be a moment behind, is of the clock that the row knows to be applied."""
    return schedule.is_applied and values.version in (None, schedule.row["clock_version"])


def _answer(schedule: Schedule, values: LiveValues | None) -> Live:
    applied = schedule.is_applied
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
