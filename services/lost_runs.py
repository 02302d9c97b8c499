"""Runs that have not ended though their workflow has: nobody would end them, so each gets another workflow."""

from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy import Row, func, select, update

from services import run_changes
from services.database import Database
from services.many_calls import of_each
from services.run import RunStatus, RunTrigger
from services.starter import Pending, Starter, following_workflow_id
from services.tables import runs
from services.wakeup import Notifier

log = structlog.get_logger(__name__)

SETTLED_AFTER = timedelta(seconds=30)
"""A run this young is being worked on, whatever was lost."""
BATCH = 500


class WorkflowState(StrEnum):
    OPEN = "OPEN"
    CANCELLED = "CANCELLED"
    GONE = "GONE"


class WorkflowStates(Protocol):
    async def state(self, workflow_id: str) -> WorkflowState:
        """How the latest workflow by this id stands; GONE also where there is none. Raises `TemporalAway`."""
        ...


class LostRuns:
    """One instance a process: each call looks at the runs after those of the call before."""

    def __init__(self, database: Database, notifier: Notifier, states: WorkflowStates, starter: Starter) -> None:
        self._database = database
        self._notifier = notifier
        self._states = states
        self._starter = starter
        self._last = UUID(int=0)

    async def restart(self, *, older_than: timedelta = SETTLED_AFTER) -> int:
        """Give every lost run another workflow; how many there were. Raises `TemporalAway` and `Unavailable`."""
        query = (
            select(runs.c.id, runs.c.temporal_workflow_id, runs.c.temporal_run_id, runs.c.trigger)
            .where(
                runs.c.id > self._last,
                runs.c.finished_at.is_(None),
                runs.c.temporal_run_id.is_not(None),
                runs.c.claimed_at < func.now() - older_than,
            )
            .order_by(runs.c.id)
            .limit(BATCH)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        answers = await of_each(self._look, rows)
        if not answers.is_outage:
            self._last = rows[-1].id if len(rows) == BATCH else UUID(int=0)
        if answers.away:
            raise answers.away[0]
        return sum(found or False for found in answers.found)

    async def _look(self, row: Row[Any, Any, Any, Any]) -> bool:
        state = await self._states.state(row.temporal_workflow_id)
        if state is WorkflowState.OPEN:
            return False
        if state is WorkflowState.CANCELLED:
            return await self._cancelled(row.id)
        workflow_id = following_workflow_id(row.id, row.temporal_workflow_id)
        if not await self._release(row.id, row.temporal_workflow_id, workflow_id):
            return False
        log.warning("A run had lost its workflow", action="restart_run", run_id=str(row.id))
        await self._starter.start_soon(Pending(row.id, workflow_id, RunTrigger(row.trigger)))
        return True

    async def _release(self, lost_run_id: UUID, before: str, after: str) -> bool:
        """Name the next workflow; False where the run has ended meanwhile or another was quicker."""
        query = (
            update(runs)
            .where(runs.c.id == lost_run_id, runs.c.temporal_workflow_id == before, runs.c.finished_at.is_(None))
            .values(temporal_workflow_id=after, temporal_run_id=None)
            .returning(runs.c.id)
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(query)).first() is not None

    async def _cancelled(self, lost_run_id: UUID) -> bool:
        """Someone wanted it ended, and the workflow did not get to write that down."""
        async with self._database.changes.begin() as transaction:
            run = await run_changes.locked(transaction, lost_run_id)
            if run.finished_at is not None:
                return False
            await run_changes.finish(transaction, run, RunStatus.CANCELLED)
        self._notifier.poke()
        return True
