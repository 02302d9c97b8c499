"""Runs that someone asks for: the row first, then the same workflow over the very same code."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select

from services import agents, asked_runs, fields, run_rows
from services.agent import Agent
from services.database import Database
from services.errors import InvalidInput, Issue, NotFound
from services.failpoints import Failpoint, reach
from services.idempotency import first_result
from services.new_runs import agent_of, scheduled_order
from services.principals import Actor
from services.rendering import Order
from services.run import Run, RunTrigger, manual_key, run_id
from services.schedule import InitialInput, OnUnknown, Schedule
from services.schedule_changes import hold, locked
from services.schedules import ClockKeeper
from services.skips import skip_next
from services.starter import Pending, Starter
from services.statements import Statement
from services.tables import agents as agents_table
from services.tables import new_id, runs
from services.transactions import Transaction
from services.wakeup import Notifier

_BY_ID = Statement(
    select(*run_rows.COLUMNS).where(runs.c.id == bindparam("id"), runs.c.account_id == bindparam("account_id"))
)
_LIVE_AGENT = Statement(
    select(*agents.COLUMNS)
    .where(
        agents_table.c.id == bindparam("agent"),
        agents_table.c.account_id == bindparam("account"),
        agents_table.c.deleted_at.is_(None),
    )
    .with_for_update(read=True)
)
RUN_AGENT_HORIZON_SECONDS = 3600
"""The retry horizon of a run without a schedule: the default of a schedule."""


@dataclass(frozen=True, slots=True)
class AgentRunRequest:
    """What `runAgent` takes: a schedule's input without its times."""

    agent_id: UUID
    input: InitialInput
    params: dict[str, Any] | None
    metadata: dict[str, Any] | None
    on_unknown: OnUnknown
    idempotency_key: str | None


class ManualRuns:
    def __init__(self, database: Database, notifier: Notifier, starter: Starter, clock: ClockKeeper) -> None:
        self._database = database
        self._notifier = notifier
        self._starter = starter
        self._clock = clock

    async def trigger(
        self,
        actor: Actor,
        schedule_id: UUID,
        *,
        idempotency_key: str | None,
        note: str | None,
        skip_next_fire: bool = False,
    ) -> Run:
        """One run of the schedule now, as it is defined now, paused or not.

        With `skip_next_fire` it takes the place of the next fire that no one asked to skip, where there is one.
        Raises `InvalidInput`, `NotFound` and `IdempotencyKeyReused`.
        """
        issues = fields.check_idempotency_key(idempotency_key, "input", "idempotencyKey")
        issues += fields.check_text(note, fields.MAX_NOTE, "input", "note")
        if issues:
            raise InvalidInput(tuple(issues))
        key = manual_key(new_id())
        request = {"operation": "triggerSchedule", "schedule": str(schedule_id), "note": note, "skip": skip_next_fire}
        answer = {"runId": str(run_id(schedule_id, key))}
        skipped: Schedule | None = None
        async with self._database.changes.begin() as transaction:
            if idempotency_key is not None:
                await hold(transaction, actor, schedule_id)
            first = await first_result(transaction, actor, idempotency_key, request, answer)
            if first is None:
                schedule = await locked(transaction, actor, schedule_id)
                await _insert_trigger(transaction, schedule, key, note)
                if skip_next_fire:
                    skipped = await skip_next(transaction, actor, schedule, note)
        run = await self._started(actor, UUID((first or answer)["runId"]))
        if skipped is not None and not skipped.is_applied:
            await self._clock.settle_soon(schedule_id)
        return run

    async def run_agent(self, actor: Actor, request: AgentRunRequest, issues: tuple[Issue, ...] = ()) -> Run:
        """One run of an agent without a schedule. Raises `InvalidInput`, `NotFound` and `IdempotencyKeyReused`."""
        if issues := issues + _check(request):
            raise InvalidInput(issues)
        key = manual_key(new_id())
        asked = {
            "operation": "runAgent",
            "agent": str(request.agent_id),
            "input": request.input.to_json(),
            "params": request.params,
            "metadata": request.metadata,
            "onUnknown": request.on_unknown.value,
        }
        answer = {"runId": str(run_id(request.agent_id, key))}
        async with self._database.changes.begin() as transaction:
            first = await first_result(transaction, actor, request.idempotency_key, asked, answer)
            if first is None:
                await _insert_agent_run(transaction, actor, request, key)
        return await self._started(actor, UUID((first or answer)["runId"]))

    async def _started(self, actor: Actor, new_run_id: UUID) -> Run:
        """The run, which may be one that was asked for before, and may have ended or been retried since."""
        await reach(Failpoint.AFTER_COMMIT)
        self._notifier.poke()
        mine = {"id": new_run_id, "account_id": actor.account_id}
        (row,) = await self._database.reads.rows(_BY_ID, mine)
        run = run_rows.run_of(row[:])
        if run.finished_at is None:
            await self._starter.start_soon(Pending(run.id, run.temporal_workflow_id, run.trigger))
        return run


def _check(request: AgentRunRequest) -> tuple[Issue, ...]:
    issues = fields.check_content(request.input.content, "input", "initialInput", "content")
    issues += fields.check_document(request.params, "input", "taskParams")
    issues += fields.check_document(request.metadata, "input", "taskMetadata")
    issues += fields.check_idempotency_key(request.idempotency_key, "input", "idempotencyKey")
    return tuple(issues)


async def _insert_trigger(transaction: Transaction, schedule: Schedule, key: str, note: str | None) -> None:
    agent = await agent_of(transaction, schedule.agent_id)
    order = scheduled_order(schedule, key, RunTrigger.MANUAL, datetime.now(UTC))
    await asked_runs.insert(transaction, order, agent, asked_runs.columns(schedule, agent, note))


async def _insert_agent_run(transaction: Transaction, actor: Actor, request: AgentRunRequest, key: str) -> None:
    agent = await _live_agent(transaction, actor, request.agent_id, "input", "agentId")
    order = Order(
        owner_id=agent.id,
        schedule_id=None,
        fire_key=key,
        trigger=RunTrigger.MANUAL,
        fire_at=datetime.now(UTC),
        display_name=agent.name,
        input=request.input,
        params=request.params,
        metadata=request.metadata,
        principal=actor.to_json(),
    )
    values = {
        "input": request.input.to_json(),
        "delivery_method": agent.delivery_method,
        "on_unknown": request.on_unknown,
        "retry_horizon_seconds": RUN_AGENT_HORIZON_SECONDS,
        "creator_principal": actor.to_json(),
        "schedule_version": 0,
    }
    await asked_runs.insert(transaction, order, agent, values)


async def _live_agent(transaction: Transaction, actor: Actor, agent_id: UUID, *path: str) -> Agent:
    rows = await transaction.rows(_LIVE_AGENT, {"agent": agent_id, "account": actor.account_id})
    if not rows:
        raise NotFound("agent", *path)
    return agents.whole(rows[0])
