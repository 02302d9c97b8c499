"""What people do about runs that have ended: send once more, or say what became of one that nobody could know."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, literal_column, select

from services import asked_runs, fields, run_changes, run_rows
from services.agent import AgentStatus
from services.database import Database
from services.errors import InvalidInput, NotFound
from services.idempotency import first_result
from services.new_runs import agent_of
from services.principals import Actor
from services.run import Intervention, InterventionKind, Resolution, Run, RunError, RunStatus
from services.schedule import Schedule
from services.settlements import take_back_failure
from services.starter import Pending, Starter
from services.statements import Statement
from services.tables import attempts, runs
from services.transactions import Transaction
from services.wakeup import Notifier

MOST = 100
"""Interventions of one run, which carries them all, after which it is not retried; it can still be resolved."""

NOT_DELIVERED = RunError("NOT_DELIVERED", "A person looked, and the agent had not got it.", retryable=True)

REFUSALS = {
    RunStatus.DELIVERED: "This run was delivered; to have it run once more, trigger the schedule.",
    RunStatus.SKIPPED: "This run was skipped, so there is nothing to repeat; to have it run now, trigger the schedule.",
}
KINDS = {
    Resolution.DELIVERED: InterventionKind.RESOLVED_DELIVERED,
    Resolution.NOT_DELIVERED: InterventionKind.RESOLVED_NOT_DELIVERED,
}

_MINE = Statement(
    select(*run_rows.COLUMNS).where(runs.c.id == bindparam("run"), runs.c.account_id == bindparam("account"))
)
_LAST_ATTEMPT = Statement(
    select(attempts.c.at, attempts.c.duration_ms)
    .where(attempts.c.run_id == bindparam("run"))
    .order_by(attempts.c.n.desc())
    .limit(literal_column("1"))
)


class Interventions:
    """Every call is for one actor and sees that actor's account only."""

    def __init__(self, database: Database, notifier: Notifier, starter: Starter) -> None:
        self._database = database
        self._notifier = notifier
        self._starter = starter

    async def retry(self, actor: Actor, run_id: UUID, *, idempotency_key: str | None, note: str | None) -> Run:
        """Let a run that was not delivered go on, under the same key and with the same bytes.

        Its retry horizon begins anew. A run that is under way stays as it is. Raises `InvalidInput`, `NotFound` and
        `IdempotencyKeyReused`.
        """
        issues = fields.check_idempotency_key(idempotency_key, "input", "idempotencyKey")
        issues += fields.check_text(note, fields.MAX_NOTE, "input", "note")
        if issues:
            raise InvalidInput(tuple(issues))
        request = {"operation": "retryRun", "run": str(run_id), "note": note}
        going_on = None
        async with self._database.changes.begin() as transaction:
            await _read(transaction, actor, run_id)
            schedule = await run_changes.locked_schedule(transaction, run_id)
            answer = {"runId": str(run_id)}
            if await first_result(transaction, actor, idempotency_key, request, answer) is None:
                going_on = await _retry(transaction, actor, schedule, run_id, note)
        self._notifier.poke()
        if going_on is not None:
            await self._starter.start_soon(Pending(run_id, going_on.temporal_workflow_id, going_on.trigger))
        return await _read(self._database.reads, actor, run_id)

    async def resolve(self, actor: Actor, run_id: UUID, resolution: Resolution, *, note: str | None) -> Run:
        """Say of a run that is UNKNOWN whether the agent got it; saying the same again is no change.

        Raises `InvalidInput` and `NotFound`.
        """
        if issues := fields.check_text(note, fields.MAX_NOTE, "input", "note"):
            raise InvalidInput(tuple(issues))
        async with self._database.changes.begin() as transaction:
            await _read(transaction, actor, run_id)
            schedule = await run_changes.locked_schedule(transaction, run_id)
            run = await run_changes.locked(transaction, run_id)
            resolved = await _resolve(transaction, actor, schedule, run, resolution, note)
        self._notifier.poke()
        return resolved


async def _retry(
    transaction: Transaction, actor: Actor, schedule: Schedule | None, run_id: UUID, note: str | None
) -> Run | None:
    """The run that goes on; None where it is under way. The caller has locked its schedule."""
    run = await run_changes.locked(transaction, run_id)
    if run.finished_at is None:
        return None
    if run.delivered_at is not None or run.status in REFUSALS or run.agent_id is None:
        raise InvalidInput.of(REFUSALS.get(run.status, REFUSALS[RunStatus.DELIVERED]), "input", "id")
    if schedule is not None and schedule.deleted_at is not None:
        raise InvalidInput.of("The schedule of this run is deleted.", "input", "id")
    agent = await agent_of(transaction, run.agent_id)
    if agent.status is AgentStatus.DELETED:
        raise InvalidInput.of("The agent of this run is deleted.", "input", "id")
    if len(run.interventions) >= MOST:
        raise InvalidInput.of(f"There were {MOST} interventions in this run already.", "input", "id")
    noted = _noted(run, actor, InterventionKind.RETRIED, note)
    await take_back_failure(transaction, schedule, run)
    if schedule is not None and run.task_id is None:
        return await asked_runs.take_up_missed(transaction, schedule, agent, run, run.trigger, interventions=noted)
    return await asked_runs.go_on(transaction, run, interventions=noted)


async def _resolve(
    transaction: Transaction,
    actor: Actor,
    schedule: Schedule | None,
    run: Run,
    resolution: Resolution,
    note: str | None,
) -> Run:
    kind = KINDS[resolution]
    if run.finished_at is not None and run.interventions and run.interventions[-1].kind is kind:
        return run
    if run.status is not RunStatus.UNKNOWN:
        raise InvalidInput.of(f"Only a run that is UNKNOWN can be resolved; this one is {run.status}.", "input", "id")
    noted = _noted(run, actor, kind, note)
    if resolution is Resolution.NOT_DELIVERED:
        error = NOT_DELIVERED.to_json()
        return await run_changes.set_status(transaction, run, RunStatus.FAILED, error=error, interventions=noted)
    await take_back_failure(transaction, schedule, run)
    return await run_changes.set_status(
        transaction,
        run,
        RunStatus.DELIVERED,
        error=None,
        delivered_at=await _last_sent(transaction, run),
        interventions=noted,
    )


def _noted(run: Run, actor: Actor, kind: InterventionKind, note: str | None) -> list[dict[str, Any]]:
    """The column with one more."""
    latest = Intervention(kind, datetime.now(UTC), actor.principal, note)
    return [each.to_json() for each in (*run.interventions, latest)]


async def _last_sent(transaction: Transaction, run: Run) -> datetime:
    """The end of the last request: nobody knows better when the agent got it."""
    rows = await transaction.rows(_LAST_ATTEMPT, {"run": run.id})
    if not rows:
        return datetime.now(UTC)
    ended: datetime = rows[0]["at"] + timedelta(milliseconds=rows[0]["duration_ms"] or 0)
    return ended


async def _read(transaction: Transaction, actor: Actor, run_id: UUID) -> Run:
    rows = await transaction.rows(_MINE, {"run": run_id, "account": actor.account_id})
    if not rows:
        raise NotFound("run", "input", "id")
    return run_rows.whole(rows[0])
