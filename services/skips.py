"""Skipping single fires to come, by instant. The claim looks at the same rows under the same lock, whatever the clock
brings; so nothing of it is told to Temporal."""

from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from sqlalchemy import bindparam, delete, select

from services import fields
from services.cadence import compile as compile_cadence
from services.calendar import fires, fires_between, next_fire
from services.cron import Spec
from services.database import Database
from services.definition import EARLIEST, LATEST, Difference
from services.errors import FireNotFound, InvalidInput, Issue
from services.principals import Actor
from services.run import run_id, scheduled_key
from services.schedule import ChangeKind, Schedule
from services.schedule_changes import change, locked
from services.schedules import ClockKeeper
from services.statements import Statement
from services.tables import runs, skipped_fires
from services.transactions import Transaction
from services.wakeup import Notifier

MOST = 1_000
"""Skipped fires to come of one schedule: every page of schedules carries them."""

_TO_COME = Statement(
    select(skipped_fires.c.fire_at)
    .where(skipped_fires.c.schedule_id == bindparam("schedule"), skipped_fires.c.fire_at > bindparam("now"))
    .order_by(skipped_fires.c.fire_at)
)
_CLAIMED = Statement(select(runs.c.id).where(runs.c.id == bindparam("run")))
_ADD = Statement(
    skipped_fires.insert().values(
        schedule_id=bindparam("schedule"), fire_at=bindparam("fire"), by=bindparam("who"), note=bindparam("why")
    )
)
_REMOVE = Statement(
    delete(skipped_fires).where(
        skipped_fires.c.schedule_id == bindparam("schedule"), skipped_fires.c.fire_at == bindparam("fire")
    )
)


class Skips:
    """Every call is for one actor and sees that actor's account only."""

    def __init__(self, database: Database, notifier: Notifier, clock: ClockKeeper) -> None:
        self._database = database
        self._notifier = notifier
        self._clock = clock

    async def skip(
        self,
        actor: Actor,
        schedule_id: UUID,
        fire_at: datetime | None,
        *,
        note: str | None,
        issues: tuple[Issue, ...] = (),
    ) -> datetime:
        """That fire will not run: the claim records it as SKIPPED. Skipping what is skipped is no change.

        Raises `InvalidInput`, `NotFound` and `FireNotFound`.
        """
        at = _checked(fire_at, note, issues)
        async with self._database.changes.begin() as transaction:
            schedule = await locked(transaction, actor, schedule_id)
            skipped = await to_come(transaction, schedule.id)
            if at in skipped:
                return at
            _require_fire(schedule, at)
            if await _is_claimed(transaction, schedule.id, at):
                raise InvalidInput.of("This fire came a little early, and has its run already.", "input", "fireAt")
            after = await add(transaction, actor, schedule, skipped, at, note)
        await self._committed(after)
        return at

    async def unskip(
        self,
        actor: Actor,
        schedule_id: UUID,
        fire_at: datetime | None,
        *,
        note: str | None,
        issues: tuple[Issue, ...] = (),
    ) -> datetime:
        """That fire will run after all. What is not skipped stays as it is.

        Raises `InvalidInput`, `NotFound` and `FireNotFound`.
        """
        at = _checked(fire_at, note, issues)
        async with self._database.changes.begin() as transaction:
            schedule = await locked(transaction, actor, schedule_id)
            skipped = await to_come(transaction, schedule.id)
            if at not in skipped:
                _require_fire(schedule, at)
                return at
            after = await _remove(transaction, actor, schedule, skipped, at, note)
        await self._committed(after)
        return at

    async def _committed(self, schedule: Schedule) -> None:
        self._notifier.poke()
        if not schedule.is_applied:
            await self._clock.settle_soon(schedule.id)


async def to_come(transaction: Transaction, schedule_id: UUID) -> tuple[datetime, ...]:
    """The skipped fires to come, in order, of a schedule that the caller has locked."""
    rows = await transaction.rows(_TO_COME, {"schedule": schedule_id, "now": datetime.now(UTC)})
    return tuple(row["fire_at"] for row in rows)


async def skip_next(transaction: Transaction, actor: Actor, schedule: Schedule, note: str | None) -> Schedule:
    """Skip the next fire that has no run yet and no one asked to skip, if there is one.

    The caller has locked the schedule.
    """
    skipped = await to_come(transaction, schedule.id)
    definition = schedule.definition
    spec = compile_cadence(definition.cadence)
    due = fires(spec, datetime.now(UTC), start=definition.start_at, end=definition.end_at)
    for at in due:
        if at not in skipped and not await _is_claimed(transaction, schedule.id, at):
            return await add(transaction, actor, schedule, skipped, at, note)
    return schedule


async def _is_claimed(transaction: Transaction, schedule_id: UUID, at: datetime) -> bool:
    """Whether a fire to come has its run: where the clock's server is ahead of us, it was claimed before its time."""
    return bool(await transaction.rows(_CLAIMED, {"run": run_id(schedule_id, scheduled_key(at))}))


async def add(
    transaction: Transaction,
    actor: Actor,
    schedule: Schedule,
    skipped: tuple[datetime, ...],
    at: datetime,
    note: str | None,
) -> Schedule:
    """Skip one more fire of a schedule that the caller has locked. Raises `InvalidInput` where there are too many."""
    if len(skipped) >= MOST:
        raise InvalidInput.of(f"{MOST:,} fires to come are skipped already: pause the schedule instead.", "input")
    await transaction.rows(_ADD, {"schedule": schedule.id, "fire": at, "who": actor.to_json(), "why": note})
    return await _revise(transaction, actor, schedule, ChangeKind.SKIPPED, skipped, tuple(sorted((*skipped, at))), note)


async def _remove(
    transaction: Transaction,
    actor: Actor,
    schedule: Schedule,
    skipped: tuple[datetime, ...],
    at: datetime,
    note: str | None,
) -> Schedule:
    await transaction.rows(_REMOVE, {"schedule": schedule.id, "fire": at})
    rest = tuple(each for each in skipped if each != at)
    return await _revise(transaction, actor, schedule, ChangeKind.UNSKIPPED, skipped, rest, note)


async def _revise(
    transaction: Transaction,
    actor: Actor,
    schedule: Schedule,
    kind: ChangeKind,
    before: tuple[datetime, ...],
    after: tuple[datetime, ...],
    note: str | None,
) -> Schedule:
    skips = Difference("skippedFires", [scheduled_key(at) for at in before], [scheduled_key(at) for at in after])
    return await change(transaction, actor, schedule, kind, {}, note, beside=skips)


def _checked(fire_at: datetime | None, note: str | None, issues: tuple[Issue, ...]) -> datetime:
    """What can be said without the schedule. Raises `InvalidInput`."""
    issues += tuple(fields.check_text(note, fields.MAX_NOTE, "input", "note"))
    if fire_at is not None and not EARLIEST <= fire_at < LATEST:
        issues += (Issue(("input", "fireAt"), f"Give a time between {EARLIEST:%Y} and {LATEST:%Y}."),)
    if issues or fire_at is None:
        raise InvalidInput(issues)
    return fire_at


def _require_fire(schedule: Schedule, at: datetime) -> None:
    """Raises `InvalidInput` for a time that has passed, and `FireNotFound` for one that is no due time."""
    now = datetime.now(UTC)
    if at <= now:
        raise InvalidInput.of("This time has passed; only a fire to come can be skipped or not.", "input", "fireAt")
    definition = schedule.definition
    spec, start, end = compile_cadence(definition.cadence), definition.start_at, definition.end_at
    if next(fires_between(spec, at, at, start=start, end=end), None) is None:
        around = nearest(spec, at, now, start=start, end=end)
        raise FireNotFound(at, around, "input", "fireAt")


def nearest(
    spec: Spec, at: datetime, now: datetime, *, start: datetime | None, end: datetime | None
) -> tuple[datetime, ...]:
    """The last due time before `at` that is after `now`, and the first after it: as many as there are."""
    following, high = partial(next_fire, spec, start=start, end=end), at
    before, beyond = None, following(now)
    while beyond is not None and beyond < at:
        # By halves, since there may be very many between now and then.
        before = beyond
        middle = before + (high - before) / 2
        later = following(middle)
        if later is not None and later < at:
            before = later
        else:
            high = middle
        beyond = following(before)
    return tuple(each for each in (before, following(at)) if each is not None)
