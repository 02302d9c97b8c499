"""The rows of a new run, whoever makes it: the clock's fire, the auditor, or a person."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services import run_changes, run_rows
from services.agent import Agent
from services.agents import COLUMNS as AGENT_COLUMNS
from services.agents import to_agent
from services.rendering import Order, freeze
from services.run import Run, RunTrigger
from services.schedule import Definition, Schedule
from services.tables import agents, runs, skipped_fires


async def insert(connection: AsyncConnection, order: Order, agent: Agent, values: dict[str, Any]) -> Run | None:
    """Write the run, with its task unless it ends at once; None where the fire has its run already."""
    inserted = await run_changes.insert_once(
        connection,
        {
            "id": order.run_id,
            "account_id": agent.account_id,
            "schedule_id": order.schedule_id,
            "agent_id": agent.id,
            "fire_key": order.fire_key,
            "trigger": order.trigger,
            "fire_at": order.fire_at,
            "task_id": None if values.get("finished_at") else order.task_id,
            # Not the transaction's time, which several runs may share: it is the order of their turns.
            "claimed_at": func.clock_timestamp(),
            **values,
        },
    )
    if inserted is not None and inserted.finished_at is None:
        await freeze(connection, order, agent)
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


async def agent_of(connection: AsyncConnection, agent_id: UUID) -> Agent:
    """The agent of a schedule, deleted or not."""
    return to_agent((await connection.execute(select(*AGENT_COLUMNS).where(agents.c.id == agent_id))).one())


async def skip_requested(connection: AsyncConnection, schedule_id: UUID, fire: datetime) -> bool:
    """Whether someone has asked to skip that fire."""
    query = select(skipped_fires.c.fire_at).where(
        skipped_fires.c.schedule_id == schedule_id, skipped_fires.c.fire_at == fire
    )
    return (await connection.execute(query)).first() is not None


async def unfinished(connection: AsyncConnection, schedule_id: UUID | None, *, before: Run | None = None) -> list[Run]:
    """The schedule's runs that have not ended, or of those the ones claimed before this one; but for backfills."""
    query = select(*run_rows.COLUMNS).where(
        runs.c.schedule_id == schedule_id, runs.c.finished_at.is_(None), runs.c.trigger != RunTrigger.BACKFILL
    )
    if before is not None:
        query = query.where(runs.c.id != before.id, runs.c.claimed_at < before.claimed_at)
    return [run_rows.to_run(row) for row in await connection.execute(query)]
