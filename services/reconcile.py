"""The one function that makes a clock equal its row, and the loop that calls it for every row that is behind.

Lease the row, describe, compare, write what differs, describe again: only a read-back that equals the row sets
`applied_version`. A clock that nobody has looked for yet is made at once: Temporal refuses it where there is one. The
inline step of a mutation and the loop of the worker run this same code.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NoReturn
from uuid import UUID

import structlog
from sqlalchemy import bindparam, func, literal_column, or_, select

from services.clock import Clock, ClockMoved, ClockRefused, Described, TemporalAway
from services.clock_leases import LEASE, ClockLeases, Lease, LeaseLost
from services.clock_spec import DesiredClock
from services.database import Database
from services.due_fires import DueFires
from services.errors import Unavailable
from services.failpoints import Failpoint, reach
from services.live_reader import LiveReader
from services.schedule import ClockStatus, Schedule, ScheduleState
from services.starter import Pending, Starter
from services.statements import Statement
from services.tables import schedules
from services.wakeup import Listener

log = structlog.get_logger(__name__)

INLINE_BUDGET = timedelta(seconds=2)
"""How long a mutation waits for its clock before it leaves it to the worker."""
BUSY_PAUSE = timedelta(milliseconds=50)
READ_BACKS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Pauses before each read-back, in seconds: the V1 scheduler takes a write some 10 ms after it has said OK."""
POLL = timedelta(seconds=5)
GAP = timedelta(milliseconds=200)
"""Between two rounds: each step of a run wakes the loop as well, and few of them are any of its business."""
BATCH = 50
AT_ONCE = 8
_IS_APPLIED = Statement(
    select((schedules.c.version == schedules.c.applied_version).label("is_applied")).where(
        schedules.c.id == bindparam("id")
    )
)
_BEHIND = Statement(
    select(schedules.c.id)
    .where(
        schedules.c.applied_version.is_distinct_from(schedules.c.version),
        schedules.c.clock_error_version.is_distinct_from(schedules.c.version),
        or_(schedules.c.lease_until.is_(None), schedules.c.lease_until < func.now()),
    )
    .order_by(schedules.c.checked_at.asc().nulls_first())
    .limit(literal_column(str(BATCH)))
)


class Outcome(StrEnum):
    IN_SYNC = "in_sync"
    BUSY = "busy"
    REFUSED = "refused"
    BEHIND = "behind"


@dataclass(frozen=True, slots=True)
class Drift:
    """In what a clock differs from its row, in words."""

    status: ClockStatus
    text: str


class Reconciler:
    def __init__(
        self,
        database: Database,
        clock: Clock,
        live: LiveReader,
        starter: Starter,
        *,
        inline_budget: timedelta = INLINE_BUDGET,
    ) -> None:
        self._database = database
        self._clock = clock
        self._live = live
        self._starter = starter
        self._inline_budget = inline_budget
        self._leases = ClockLeases(database)
        self._due = DueFires(database)
        self._background: set[asyncio.Task[Outcome]] = set()

    async def settle_soon(self, schedule_id: UUID) -> None:
        """Reconcile one schedule, for a short time of the caller's; it goes on behind, and never raises."""
        task = asyncio.create_task(self._settle(schedule_id))
        self._background.add(task)
        task.add_done_callback(self._forget)
        await asyncio.wait({task}, timeout=self._inline_budget.total_seconds())

    def _forget(self, task: asyncio.Task[Outcome]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning(
                "The clock was not brought in line; the worker will",
                action="reconcile_later",
                error=type(error).__name__,
            )

    async def close(self) -> None:
        """Let what goes on behind come to its end; its calls are bounded by a few seconds."""
        if self._background:
            await asyncio.wait(self._background, timeout=LEASE.total_seconds())

    async def _settle(self, schedule_id: UUID) -> Outcome:
        """Reconcile, or wait while another does: whoever holds the lease sees this version before giving it back."""
        while (outcome := await self.reconcile(schedule_id)) is Outcome.BUSY:
            await asyncio.sleep(BUSY_PAUSE.total_seconds())
            if await self._is_applied(schedule_id):
                return Outcome.IN_SYNC
        return outcome

    async def _is_applied(self, schedule_id: UUID) -> bool:
        rows = await self._database.reads.rows(_IS_APPLIED, {"id": schedule_id})
        return bool(rows and rows[0]["is_applied"])

    async def reconcile(self, schedule_id: UUID) -> Outcome:
        """Make the clock equal its row. Raises `TemporalAway`, `Unavailable` and `LeaseLost`; all may pass."""
        while True:
            lease = await self._leases.take(schedule_id)
            if lease is None:
                return Outcome.BUSY
            try:
                outcome = await self._apply(lease)
            except BaseException:
                await self._leases.give_back(lease, checked_at=datetime.now(UTC))
                raise
            if outcome is not Outcome.BEHIND:
                return outcome

    async def _apply(self, lease: Lease) -> Outcome:
        schedule = lease.schedule
        if _is_new(schedule):
            try:
                return await self._bring_in_line(lease, None)
            except ClockMoved:
                # Whoever made it was lost before it could write that down.
                pass
        described = await self._clock.describe(schedule.id)
        wanted = await self._wanted(schedule)
        if _equal(schedule, described, wanted):
            return await self._applied(lease, described)
        if schedule.clock.applied_version == schedule.version:
            drift = await self._drift(schedule, described)
            if (repaired := await self._leases.note_repair(lease, drift.status, drift.text)) is None:
                await self._leases.give_back(lease)
                return Outcome.BEHIND
            lease, schedule = repaired, repaired.schedule
        try:
            return await self._bring_in_line(lease, described)
        except ClockMoved:
            return await self._not_yet(lease, described)

    async def _bring_in_line(self, lease: Lease, described: Described | None) -> Outcome:
        """Write the clock, and look until it shows what was written. Raises `ClockMoved`."""
        schedule = lease.schedule
        wanted = await self._wanted(schedule)
        try:
            await self._write(lease, described)
        except ClockRefused as error:
            return await self._refused(lease, str(error), described)
        for pause in READ_BACKS:
            await asyncio.sleep(pause)
            described = await self._clock.describe(schedule.id)
            if _equal(schedule, described, wanted, written=True):
                await self._settle_due(schedule)
                return await self._applied(lease, described)
        return await self._not_yet(lease, described)

    async def _not_yet(self, lease: Lease, described: Described | None) -> NoReturn:
        status = ClockStatus.MISSING if described is None else ClockStatus.DRIFTED
        await self._leases.give_back(lease, clock_status=status, checked_at=datetime.now(UTC))
        raise TemporalAway("the clock does not yet show what was written", timed_out=True)

    async def drift(self, schedule: Schedule) -> Drift | None:
        """In what the clock differs from its row, by a strong read that writes nothing. Raises `TemporalAway`."""
        described = await self._clock.describe(schedule.id)
        if _equal(schedule, described, await self._wanted(schedule)):
            return None
        return await self._drift(schedule, described)

    async def _drift(self, schedule: Schedule, described: Described | None) -> Drift:
        if described is None:
            return Drift(ClockStatus.MISSING, "There was no clock.")
        if schedule.deleted_at is not None:
            return Drift(ClockStatus.DRIFTED, "There was a clock, though the schedule is deleted.")
        differences = await self._clock.differences(_desired(schedule), described)
        if _is_of_another_version(schedule, described):
            differences.append(
                f"the version of its row was {described.version} instead of {schedule.clock.clock_version}"
            )
        return Drift(ClockStatus.DRIFTED, f"In the clock {'; '.join(differences)}.")

    async def _wanted(self, schedule: Schedule) -> str | None:
        return None if schedule.deleted_at else await self._clock.desired_form(_desired(schedule))

    async def _settle_due(self, schedule: Schedule) -> None:
        """Make the runs of what was due by now: a clock drops what it had not yet fired when it is written, and never
        fires what was due before it was there.
        """
        if schedule.deleted_at is not None:
            return
        try:
            made = await self._due.settle(schedule)
            waiting = [Pending(run.id, run.temporal_workflow_id, run.trigger) for run in made if not run.finished_at]
            await asyncio.gather(*(self._starter.start_soon(pending) for pending in waiting))
        except Unavailable:
            raise
        except Exception:
            log.exception("Due times are left to the auditor", action="settle_due", schedule_id=str(schedule.id))

    async def _write(self, lease: Lease, described: Described | None) -> None:
        schedule = lease.schedule
        if described is not None:
            await self._settle_due(schedule)
        lease.check()
        await reach(Failpoint.BEFORE_CLOCK_WRITE)
        request_id = f"{schedule.id}:{schedule.version}:{lease.id}"
        if schedule.deleted_at is not None:
            await self._clock.delete(schedule.id)
        elif described is None:
            await self._clock.create(_desired(schedule), request_id)
        else:
            await self._clock.update(_desired(schedule), described.conflict_token, request_id)
        await reach(Failpoint.AFTER_CLOCK_ACCEPTED)
        self._live.forget(schedule.id)

    async def _applied(self, lease: Lease, described: Described | None) -> Outcome:
        version, known = lease.schedule.version, lease.schedule.clock
        now = datetime.now(UTC)
        still = await self._leases.give_back(
            lease,
            applied_version=version,
            applied_at=known.applied_at if known.applied_version == version else now,
            checked_at=now,
            clock_version=described.version if described else None,
            observed_hash=described.form if described else None,
            clock_error=None,
            clock_error_version=None,
        )
        if still is None:
            raise LeaseLost
        return Outcome.IN_SYNC if still == version else Outcome.BEHIND

    async def _refused(self, lease: Lease, message: str, described: Described | None) -> Outcome:
        log.error(
            "Temporal refuses the clock",
            action="clock_refused",
            schedule_id=str(lease.schedule.id),
            version=lease.schedule.version,
        )
        await self._leases.give_back(
            lease,
            clock_status=ClockStatus.MISSING if described is None else ClockStatus.DRIFTED,
            clock_error=message[:1000],
            clock_error_version=lease.schedule.version,
            checked_at=datetime.now(UTC),
        )
        return Outcome.REFUSED


class DirtyLoop:
    """Reconciles every row whose version is not applied: woken by a change, and every five seconds all the same."""

    def __init__(self, database: Database, reconciler: Reconciler, listener: Listener) -> None:
        self._database = database
        self._reconciler = reconciler
        self._waker = listener.waker()
        self._away = False

    async def run(self) -> None:
        """Goes on until it is cancelled, whatever is away meanwhile."""
        while True:
            try:
                found = await self.sweep()
            except Unavailable:
                log.warning("Postgres did not answer", action="dirty_sweep")
                found = 0
            if found < BATCH or self._away:
                await asyncio.sleep(GAP.total_seconds())
                await self._waker.wait(POLL)

    async def sweep(self) -> int:
        """One round over the rows that are behind, the longest unchecked first; how many there were."""
        ids = [row["id"] for row in await self._database.reads.rows(_BEHIND, {})]
        gate = asyncio.Semaphore(AT_ONCE)
        away = await asyncio.gather(*(self._one(schedule_id, gate) for schedule_id in ids))
        self._say(any(away), ids)
        return len(ids)

    async def _one(self, schedule_id: UUID, gate: asyncio.Semaphore) -> bool:
        """Whether Temporal was away. A row that cannot be read harms no other."""
        async with gate:
            try:
                await self._reconciler.reconcile(schedule_id)
            except TemporalAway:
                return True
            except (Unavailable, LeaseLost) as error:
                log.warning(
                    "A clock was not brought in line; the next round will",
                    action="reconcile_later",
                    schedule_id=str(schedule_id),
                    error=type(error).__name__,
                )
            except Exception:
                log.exception("A schedule could not be reconciled", action="reconcile", schedule_id=str(schedule_id))
        return False

    def _say(self, away: bool, ids: list[UUID]) -> None:
        if away and not self._away:
            log.warning("Temporal is away; changes wait in Postgres", action="temporal_away", waiting=len(ids))
        if self._away and ids and not away:
            log.info("Temporal is back", action="temporal_back")
        self._away = away


def _is_new(schedule: Schedule) -> bool:
    """Whether nobody has looked for its clock yet, and it wants one: making it tells whether there is one."""
    return (
        schedule.clock.checked_at is None
        and schedule.deleted_at is None
        and schedule.state(datetime.now(UTC)) is not ScheduleState.FINISHED
    )


def _desired(schedule: Schedule) -> DesiredClock:
    return DesiredClock(schedule.id, schedule.version, schedule.definition)


def _equal(schedule: Schedule, described: Described | None, wanted: str | None, *, written: bool = False) -> bool:
    """Whether the clock is what the row wants. What was just written must also show its version, and keep to it."""
    if schedule.deleted_at is not None:
        return described is None
    if described is None:
        return schedule.state(datetime.now(UTC)) is ScheduleState.FINISHED
    if written and described.version not in (None, schedule.version):
        return False
    return described.form == wanted and not _is_of_another_version(schedule, described)


def _is_of_another_version(schedule: Schedule, described: Described) -> bool:
    """Whether the clock of a row that is in line says to be of another version than was written."""
    written = schedule.clock.clock_version
    return schedule.is_applied and None not in (written, described.version) and described.version != written
