"""What the caller may do with a schedule, and if not, why."""

from dataclasses import dataclass

from resolvers.context import Context
from services.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Verdict:
    reason: str | None = None
    """Why it is not allowed; None where it is."""

    @property
    def allowed(self) -> bool:
        return self.reason is None


@dataclass(frozen=True, slots=True)
class ScheduleVerdicts:
    update: Verdict
    delete: Verdict
    trigger: Verdict


def of_schedule(_context: Context, schedule: Schedule) -> ScheduleVerdicts:
    """Whoever sees a schedule may do everything with it, unless it is deleted."""
    verdict = Verdict("The schedule is deleted.") if schedule.deleted_at is not None else Verdict()
    return ScheduleVerdicts(update=verdict, delete=verdict, trigger=verdict)
