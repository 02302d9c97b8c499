"""The end of a run: its last state and its event in one transaction, and what the end means for the schedule."""

from uuid import UUID

from sqlalchemy import ARRAY, Text, any_, bindparam, func, select, update

from services import run_changes
from services.database import Database
from services.deliveries import Delivered, Ended
from services.principals import Actor
from services.run import Run, RunStatus
from services.schedule import ChangeKind, Schedule
from services.schedule_changes import change
from services.statements import Statement
from services.tables import runs, schedules
from services.transactions import Transaction
from services.wakeup import Notifier

_COUNT = Statement(
    update(schedules).where(schedules.c.id == bindparam("schedule")).values(consecutive_failures=bindparam("failures"))
)
FAILURES = (RunStatus.FAILED, RunStatus.UNKNOWN)
_FAILED_LATER = Statement(
    select(func.count().label("runs")).where(
        runs.c.schedule_id == bindparam("schedule"),
        runs.c.status == any_(bindparam("failed", [*FAILURES], ARRAY(Text))),
        runs.c.finished_at > bindparam("finished_at"),
    )
)


class Settlements:
    def __init__(self, database: Database, notifier: Notifier) -> None:
        self._database = database
        self._notifier = notifier

    async def settle(self, run_id: UUID, end: Delivered | Ended, *, workflow_id: str) -> UUID | None:
        """Write the run's end as its workflow has it; a run that has ended already, or has another workflow by now,
        stays as it is.

        The id of the schedule where so many failures in a row have paused it, so that its clock can be paused as well.
        """
        async with self._database.changes.begin() as transaction:
            schedule = await run_changes.locked_schedule(transaction, run_id)
            run = await run_changes.locked(transaction, run_id)
            if run.finished_at is not None or workflow_id != run.temporal_workflow_id:
                return None
            ended = await finish(transaction, run, end)
            paused = schedule is not None and await _count(transaction, schedule, ended)
        self._notifier.poke()
        return schedule.id if schedule is not None and paused else None


async def finish(transaction: Transaction, run: Run, end: Delivered | Ended) -> Run:
    """Write the end of a run that the caller has locked."""
    if isinstance(end, Delivered):
        return await run_changes.finish(transaction, run, RunStatus.DELIVERED, error=None)
    return await run_changes.finish(
        transaction,
        run,
        end.status,
        skip_reason=end.reason,
        error=end.error.to_json() if end.error else None,
    )


async def take_back_failure(transaction: Transaction, schedule: Schedule | None, run: Run) -> None:
    """A run has not failed after all: it goes on, or was delivered. The caller has locked both.

    The failures in a row are the last ones; one from before a success or a resume is not among them.
    """
    if schedule is None or run.status not in FAILURES:
        return
    (later,) = await transaction.rows(_FAILED_LATER, {"schedule": schedule.id, "finished_at": run.finished_at})
    if later["runs"] < schedule.consecutive_failures:
        await transaction.rows(_COUNT, {"schedule": schedule.id, "failures": schedule.consecutive_failures - 1})


async def _count(transaction: Transaction, schedule: Schedule, run: Run) -> bool:
    """Failures in a row, and the pause that so many of them bring. A run that was not tried counts neither way."""
    if run.status is RunStatus.DELIVERED:
        failures = 0
    elif run.status in FAILURES:
        failures = schedule.consecutive_failures + 1
    else:
        return False
    most = schedule.definition.pause_after_failures
    if schedule.deleted_at is None and not schedule.definition.paused and most is not None and failures >= most:
        failed = "a run" if failures == 1 else f"{failures} runs in a row"
        note = f"Paused by itself: {failed} failed."
        columns = {"paused": True, "pause_note": note, "consecutive_failures": failures}
        await change(transaction, Actor(schedule.account_id), schedule, ChangeKind.PAUSED, columns, note)
        return True
    if failures != schedule.consecutive_failures:
        await transaction.rows(_COUNT, {"schedule": schedule.id, "failures": failures})
    return False
