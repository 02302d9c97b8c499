"""The rows of a new run, whoever makes it: the clock's fire, the auditor, or a person."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select

from services import agents, run_changes, run_rows
from services.agent import Agent
from services.rendering import Order, freeze
from services.run import Run, RunTrigger
from services.schedule import Definition, Schedule
from services.statements import Statement
from services.tables import agents as agents_table
from services.tables import runs, skipped_fires
from services.transactions import Transaction

_AGENT = Statement(select(*agents.COLUMNS).where(agents_table.c.id == bindparam("agent")))
_SKIP = Statement(
    select(skipped_fires.c.fire_at).where(
        skipped_fires.c.schedule_id == bindparam("schedule"), skipped_fires.c.fire_at == bindparam("fire")
    )
)
_OF_SCHEDULE = select(*run_rows.COLUMNS).where(
    runs.c.schedule_id == bindparam("schedule"),
    runs.c.finished_at.is_(None),
    runs.c.trigger != RunTrigger.BACKFILL,
)
_UNFINISHED = Statement(_OF_SCHEDULE)
_UNFINISHED_BEFORE = Statement(
    _OF_SCHEDULE.where(runs.c.id != bindparam("run"), runs.c.claimed_at < bindparam("claimed_at"))
)


async def insert(transaction: Transaction, order: Order, agent: Agent, values: dict[str, Any]) -> Run | None:
    """Write the run, with its task unless it ends at once; None where the fire has its run already."""
    inserted = await run_changes.insert_once(
        transaction,
        {
            "id": order.run_id,
            "account_id": agent.account_id,
            "schedule_id": order.schedule_id,
            "agent_id": agent.id,
            "fire_key": order.fire_key,
            "trigger": order.trigger,
            "fire_at": order.fire_at,
            "task_id": None if values.get("finished_at") else order.task_id,
            **values,
        },
    )
    if inserted is not None and inserted.finished_at is None:
        await freeze(transaction, order, agent)
    return inserted


def delivery_columns(definition: Definition, schedule: Schedule, agent: Agent) -> dict[str, Any]:
    """What a run keeps of its definition, so that a later change does not touch it."""
    return {
        "input": definition.initial_input.to_json(),
        "delivery_method": agent.delivery_method,
        "on_unknown": definition.on_unknown,
        "retry_horizon_seconds": int(definition.retry_horizon.total_seconds()),
        "creator_principal": schedule.creator.to_json() if schedule.creator else None,
    }


def scheduled_order(schedule: Schedule, key: str, trigger: RunTrigger, fire_at: datetime) -> Order:
    definition = schedule.definition
    return Order(
        owner_id=schedule.id,
        schedule_id=schedule.id,
        fire_key=key,
        trigger=trigger,
        fire_at=fire_at,
        display_name=definition.name,
        input=definition.initial_input,
        params=definition.task_params,
        metadata=definition.task_metadata,
        principal=schedule.creator.to_json() if schedule.creator else None,
    )


async def agent_of(transaction: Transaction, agent_id: UUID) -> Agent:
    """The agent of a schedule, deleted or not."""
    (row,) = await transaction.rows(_AGENT, {"agent": agent_id})
    return agents.whole(row)


async def skip_requested(transaction: Transaction, schedule_id: UUID, fire: datetime) -> bool:
    """Whether someone has asked to skip that fire."""
    return bool(await transaction.rows(_SKIP, {"schedule": schedule_id, "fire": fire}))


async def unfinished(transaction: Transaction, schedule_id: UUID | None, *, before: Run | None = None) -> list[Run]:
    """The schedule's runs that have not ended, or of those the ones claimed before this one; but for backfills."""
    values: dict[str, Any] = {"schedule": schedule_id}
    if before is None:
        rows = await transaction.rows(_UNFINISHED, values)
    else:
        values |= {"run": before.id, "claimed_at": before.claimed_at}
        rows = await transaction.rows(_UNFINISHED_BEFORE, values)
    return [run_rows.whole(row) for row in rows]
