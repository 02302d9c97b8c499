"""Due times of the past, taken up one by one as the auditor does it: fires that come when the test says so."""

from datetime import UTC, datetime, timedelta
from typing import Any

from services.cadence import Interval
from services.due_fires import DueFires, Missing
from services.run import Run
from services.schedule import MissedFirePolicy, Schedule
from services.starter import Pending
from tests.stack import Stack

HOURLY: dict[str, Any] = {
    "cadence": Interval(timedelta(hours=1), timedelta(0)),
    "missed_fire_policy": MissedFirePolicy.RUN_ALL,
    "catch_up_window": timedelta(days=1),
    "retry_horizon": timedelta(hours=2),
}
"""A schedule whose due times of the last day may all still run."""


async def fire(running: Stack, schedule: Schedule, hours_ago: int) -> Run:
    """Have the due time so many hours ago taken up; its run, which the worker has heard of."""
    at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours_ago)
    (run,) = await DueFires(running.base.database).claim(Missing(schedule.id, (at,)))
    await running.base.starter.start_soon(Pending(run.id, run.temporal_workflow_id, run.trigger))
    return run
