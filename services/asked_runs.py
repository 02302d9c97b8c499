"""The rows of runs that someone asks for: written before anything is started, and taken up by their workflow."""

from typing import Any

from services import new_runs, run_changes
from services.agent import Agent
from services.failpoints import Failpoint, reach
from services.new_runs import delivery_columns, scheduled_order
from services.rendering import Order, freeze
from services.run import Run, RunStatus, RunTrigger, scheduled_key
from services.schedule import Schedule
from services.starter import following_workflow_id, manual_workflow_id
from services.transactions import Transaction


async def insert(transaction: Transaction, order: Order, agent: Agent, values: dict[str, Any]) -> Run | None:
    """Write the run with its task; None where the fire has its run already."""
    inserted = await new_runs.insert(
        transaction,
        order,
        agent,
        {"status": RunStatus.CLAIMED, "temporal_workflow_id": manual_workflow_id(order.run_id), **values},
    )
    await reach(Failpoint.BEFORE_COMMIT)
    return inserted


async def go_on(transaction: Transaction, run: Run, **columns: Any) -> Run:
    """Let a run that has ended, and that the caller has locked, go on: under its own key, in another workflow.

    Without a deadline its retry horizon begins anew, and what earlier attempts came to counts no more.
    """
    return await run_changes.set_status(
        transaction,
        run,
        RunStatus.CLAIMED,
        error=None,
        skip_reason=None,
        finished_at=None,
        begun_at=None,
        deadline_at=None,
        temporal_workflow_id=following_workflow_id(run.id, run.temporal_workflow_id),
        temporal_run_id=None,
        **columns,
    )


async def take_up_missed(
    transaction: Transaction, schedule: Schedule, agent: Agent, run: Run, trigger: RunTrigger, **columns: Any
) -> Run:
    """Let a run go on of which nothing was ever sent: its input is rendered now, from the schedule as it is now."""
    order = scheduled_order(schedule, scheduled_key(run.fire_at), trigger, run.fire_at)
    values = delivery_columns(schedule.definition, schedule, agent) | {
        "schedule_version": schedule.version,
        "task_id": order.task_id,
        "trigger": trigger,
    }
    taken_up = await go_on(transaction, run, **values | columns)
    await freeze(transaction, order, agent)
    return taken_up


def columns(schedule: Schedule, agent: Agent, note: str | None) -> dict[str, Any]:
    """What a run of a schedule as it is now keeps of it."""
    kept = delivery_columns(schedule.definition, schedule, agent)
    return kept | {"schedule_version": schedule.version, "note": note}
