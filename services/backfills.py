"""Making up for due times of the past: a run for each that has none, by the same key as the clock's own fire.

So a due time has one run, whoever comes first. Runs of a backfill are wished for by a person, as manual ones are: they
run though the schedule is paused, and the overlap policy neither holds them up nor counts them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID

from sqlalchemy import Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from services import asked_runs, fields, run_changes
from services.agent import Agent, AgentStatus
from services.cadence import compile as compile_cadence
from services.calendar import fires_between
from services.database import Database
from services.definition import EARLIEST
from services.errors import InvalidInput, Issue
from services.idempotency import first_result, keep_result
from services.new_runs import agent_of, scheduled_order
from services.principals import Actor
from services.run import Run, RunStatus, RunTrigger, run_id, scheduled_key
from services.schedule import Schedule
from services.schedule_changes import locked
from services.starter import Pending, Starter
from services.statements import Statement
from services.tables import runs, skipped_fires
from services.transactions import Transaction
from services.wakeup import Notifier

MOST = 1_000
"""Due times of one backfill."""
COUNTED = 10_000
"""Up to here a refusal says how many they were."""
AT_ONCE = 100
"""Runs made while the schedule's row is locked: its own fires wait for that."""

_NOT_MISSED = Statement(
    select(runs.c.id).where(runs.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))), runs.c.status != RunStatus.MISSED)
)
_SKIPPED = Statement(
    select(skipped_fires.c.fire_at).where(
        skipped_fires.c.schedule_id == bindparam("schedule"),
        skipped_fires.c.fire_at.between(bindparam("first"), bindparam("last")),
    )
)


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked for: the due times from `first` to `last`, both included; None where they could not be read."""

    first: datetime | None
    last: datetime | None
    note: str | None = None


class Backfills:
    """Every call is for one actor and sees that actor's account only."""

    def __init__(self, database: Database, notifier: Notifier, starter: Starter) -> None:
        self._database = database
        self._notifier = notifier
        self._starter = starter

    async def plan(
        self, actor: Actor, schedule_id: UUID, span: Span, issues: tuple[Issue, ...] = ()
    ) -> tuple[datetime, ...]:
        """The due times that `start` would run. Raises `InvalidInput` and `NotFound`."""
        first, last = _checked(span, issues)
        async with self._database.changes.begin() as transaction:
            schedule = await locked(transaction, actor, schedule_id)
            return await _wanted(transaction, schedule, first, last)

    async def start(
        self,
        actor: Actor,
        schedule_id: UUID,
        span: Span,
        *,
        idempotency_key: str | None,
        issues: tuple[Issue, ...] = (),
    ) -> tuple[datetime, ...]:
        """Run the due times that have no run, or whose run was missed, and that no one asked to skip; which they are.

        A repeated call goes on where a lost one ended. Raises `InvalidInput`, `NotFound` and `IdempotencyKeyReused`.
        """
        issues += tuple(fields.check_idempotency_key(idempotency_key, "input", "idempotencyKey"))
        first, last = _checked(span, issues)
        request = {
            "operation": "backfillSchedule",
            "schedule": str(schedule_id),
            "from": first.isoformat(),
            "to": last.isoformat(),
            "note": span.note,
        }
        async with self._database.changes.begin() as transaction:
            known = await first_result(transaction, actor, idempotency_key, request, {})
            if known is None:
                schedule = await locked(transaction, actor, schedule_id)
                asked = await _wanted(transaction, schedule, first, last)
                answer = {"fires": [scheduled_key(fire) for fire in asked]}
                await keep_result(transaction, actor, idempotency_key, answer)
            else:
                asked = tuple(datetime.fromisoformat(fire) for fire in known["fires"])
        await self._run(actor, schedule_id, asked, span.note)
        return asked

    async def _run(self, actor: Actor, schedule_id: UUID, asked: tuple[datetime, ...], note: str | None) -> None:
        rest = await _lacking(self._database.reads, schedule_id, asked)
        made: list[Run] = []
        for begin in range(0, len(rest), AT_ONCE):
            async with self._database.changes.begin() as transaction:
                schedule = await locked(transaction, actor, schedule_id)
                made += await _make(transaction, schedule, rest[begin : begin + AT_ONCE], note)
        self._notifier.poke()
        await self._starter.start_all_soon([Pending(run.id, run.temporal_workflow_id, run.trigger) for run in made])


def _checked(span: Span, issues: tuple[Issue, ...]) -> tuple[datetime, datetime]:
    """What can be said without the schedule. Raises `InvalidInput`."""
    issues += tuple(fields.check_text(span.note, fields.MAX_NOTE, "input", "note"))
    first, last = span.first, span.last
    if first is not None and first < EARLIEST:
        issues += (Issue(("input", "from"), f"Give a time from {EARLIEST:%Y} on."),)
    if last is not None and last > datetime.now(UTC):
        issues += (Issue(("input", "to"), "Give a time that has passed; what is still to come fires by itself."),)
    if first is not None and last is not None and last < first:
        issues += (Issue(("input", "to"), "The end is before the beginning."),)
    if issues or first is None or last is None:
        raise InvalidInput(issues)
    return first, last


def _due(schedule: Schedule, first: datetime, last: datetime) -> tuple[datetime, ...]:
    """The due times of the schedule as it is now. Raises `InvalidInput` where they are too many."""
    definition = schedule.definition
    spec = compile_cadence(definition.cadence)
    times = fires_between(spec, first, last, start=definition.start_at, end=definition.end_at)
    due = tuple(islice(times, MOST + 1))
    if len(due) > MOST:
        count = len(due) + sum(1 for _ in islice(times, COUNTED - len(due)))
        number = f"{count:,}" if count < COUNTED else f"{COUNTED:,} or more"
        message = f"At most {MOST:,} due times at once; these are {number}. Take a shorter span."
        raise InvalidInput.of(message, "input", "from")
    return due


async def _wanted(
    transaction: Transaction, schedule: Schedule, first: datetime, last: datetime
) -> tuple[datetime, ...]:
    """The due times that are to be run, of a schedule that the caller has locked. Raises `InvalidInput`."""
    _require_live(await agent_of(transaction, schedule.agent_id))
    due = _due(schedule, first, last)
    span = {"schedule": schedule.id, "first": first, "last": last}
    skipped = {row["fire_at"] for row in await transaction.rows(_SKIPPED, span)}
    return await _lacking(transaction, schedule.id, tuple(fire for fire in due if fire not in skipped))


def _require_live(agent: Agent) -> None:
    if agent.status is AgentStatus.DELETED:
        raise InvalidInput.of("The agent of this schedule is deleted.", "input", "id")


async def _lacking(transaction: Transaction, schedule_id: UUID, due: tuple[datetime, ...]) -> tuple[datetime, ...]:
    """Those of the due times that have no run, or one of which nothing was sent because it was missed."""
    ids = {fire: run_id(schedule_id, scheduled_key(fire)) for fire in due}
    found = {row["id"] for row in await transaction.rows(_NOT_MISSED, {"ids": [*ids.values()]})}
    return tuple(fire for fire in due if ids[fire] not in found)


async def _make(
    transaction: Transaction, schedule: Schedule, fires: tuple[datetime, ...], note: str | None
) -> list[Run]:
    """The runs of these due times, of a schedule that the caller has locked; those that were there are left out."""
    agent = await agent_of(transaction, schedule.agent_id)
    _require_live(agent)
    values = asked_runs.columns(schedule, agent, note)
    made = []
    for fire in fires:
        order = scheduled_order(schedule, scheduled_key(fire), RunTrigger.BACKFILL, fire)
        run = await asked_runs.insert(transaction, order, agent, values)
        if run is None:
            there = await run_changes.locked(transaction, order.run_id)
            if there.status is not RunStatus.MISSED:
                continue
            trigger = RunTrigger.BACKFILL
            run = await asked_runs.take_up_missed(transaction, schedule, agent, there, trigger, note=note)
        made.append(run)
    return made
