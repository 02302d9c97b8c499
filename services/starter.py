"""Starting the workflows of runs whose rows come first: manual runs, and whatever was not started in time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy import bindparam, func, select, update

from services.clock import TemporalAway
from services.database import Database
from services.errors import Unavailable
from services.failpoints import Failpoint, reach
from services.many_calls import AT_ONCE, of_each
from services.run import RunTrigger
from services.statements import Statement
from services.tables import runs

log = structlog.get_logger(__name__)

BUDGET = timedelta(seconds=2)
"""How long a mutation waits for Temporal before it leaves the start to the worker."""
OVERLOOKED_AFTER = timedelta(seconds=5)
BATCH = 100


_STARTED = Statement(
    update(runs)
    .where(
        runs.c.id == bindparam("run"),
        runs.c.temporal_workflow_id == bindparam("workflow"),
        runs.c.temporal_run_id.is_(None),
    )
    .values(temporal_run_id=bindparam("by"))
)


class Workflows(Protocol):
    async def start_run(self, workflow_id: str, run_id: UUID, trigger: RunTrigger) -> str:
        """Start the workflow of a run, or find it started; its Temporal run id. Raises `TemporalAway`."""
        ...


@dataclass(frozen=True, slots=True)
class Pending:
    run_id: UUID
    workflow_id: str
    trigger: RunTrigger


def manual_workflow_id(run_id: UUID) -> str:
    """The id is the run's own, so that starting it twice starts it once."""
    return f"agent-run:{run_id}"


def following_workflow_id(run_id: UUID, before: str) -> str:
    """The id of the next workflow: the run's own, and then that with a number. Whoever works it out gets the same."""
    own = manual_workflow_id(run_id)
    if not before.startswith(own):
        return own
    number = before.removeprefix(own).removeprefix(":")
    return f"{own}:{int(number or 1) + 1}"


class Starter:
    def __init__(self, database: Database, workflows: Workflows, *, budget: timedelta = BUDGET) -> None:
        self._database = database
        self._workflows = workflows
        self._budget = budget

    async def start_soon(self, pending: Pending) -> None:
        """Start it now if Temporal answers in time; if not, `start_overlooked` does it later. Never raises."""
        try:
            async with asyncio.timeout(self._budget.total_seconds()):
                await self._start(pending)
        except (TemporalAway, TimeoutError, Unavailable) as error:
            log.warning(
                "Temporal did not take the run in time; the worker will start it",
                action="start_later",
                run_id=str(pending.run_id),
                error=type(error).__name__,
            )

    async def start_all_soon(self, pending: Sequence[Pending]) -> None:
        """As many of these as Temporal takes in the same time; `start_overlooked` starts the rest. Never raises."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def start(each: Pending) -> None:
            async with gate:
                await self.start_soon(each)

        starting = [asyncio.create_task(start(each)) for each in pending]
        if starting:
            _, late = await asyncio.wait(starting, timeout=self._budget.total_seconds())
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def start_overlooked(self) -> int:
        """Start every run that has waited for its workflow for a while; how many there were.

        Raises `TemporalAway` and `Unavailable`.
        """
        query = (
            select(runs.c.id, runs.c.temporal_workflow_id, runs.c.trigger)
            .where(
                runs.c.finished_at.is_(None),
                runs.c.temporal_run_id.is_(None),
                runs.c.claimed_at < func.now() - OVERLOOKED_AFTER,
            )
            .order_by(runs.c.claimed_at)
            .limit(BATCH)
        )
        async with self._database.read() as connection:
            found = (await connection.execute(query)).all()
        pending = [Pending(row.id, row.temporal_workflow_id, RunTrigger(row.trigger)) for row in found]
        answers = await of_each(self._start, pending)
        if answers.away:
            raise answers.away[0]
        if found:
            log.info("Started runs that were left behind", action="start_overlooked", runs=len(found))
        return len(found)

    async def _start(self, pending: Pending) -> None:
        # A workflow that is told "scheduled" would claim a fire of its own; this one takes up the run that is there.
        told = RunTrigger.BACKFILL if pending.trigger is RunTrigger.SCHEDULED else pending.trigger
        temporal_run_id = await self._workflows.start_run(pending.workflow_id, pending.run_id, told)
        await reach(Failpoint.AFTER_START)
        async with self._database.changes.begin() as transaction:
            started = {"run": pending.run_id, "workflow": pending.workflow_id, "by": temporal_run_id}
            await transaction.rows(_STARTED, started)
