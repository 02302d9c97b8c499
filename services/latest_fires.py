"""Which missed fire is the latest: by the times that were due, which a pause or an update since has not changed."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import bindparam, select

from services.decisions import needs_latest
from services.due import expected_fires
from services.histories import History, history_since
from services.schedule import Schedule
from services.statements import Statement
from services.tables import skipped_fires
from services.transactions import Transaction

_SKIPPED_SINCE = Statement(
    select(skipped_fires.c.fire_at).where(
        skipped_fires.c.schedule_id == bindparam("schedule"), skipped_fires.c.fire_at > bindparam("since")
    )
)


@dataclass(frozen=True, slots=True)
class LaterFires:
    """What was due after a fire. Without a history it matters to none."""

    history: History | None = None
    skipped: frozenset[datetime] = frozenset()

    def none_since(self, nominal: datetime, now: datetime) -> bool:
        """Whether nothing was due after `nominal` and by now, but for what someone asked to skip."""
        if self.history is None:
            return True
        later = expected_fires(self.history.regimes, nominal, now)
        return all(fire in self.skipped for fire in later)


async def later_fires(transaction: Transaction, schedule: Schedule, *fires: datetime) -> LaterFires:
    """What matters to these fires, in order, of a schedule that the caller has locked; nothing is read needlessly."""
    now = datetime.now(UTC)
    first = next((fire for fire in fires if needs_latest(schedule.definition, fire, now)), None)
    if first is None:
        return LaterFires()
    rows = await transaction.rows(_SKIPPED_SINCE, {"schedule": schedule.id, "since": first})
    return LaterFires(await history_since(transaction, schedule.id, first), frozenset(row["fire_at"] for row in rows))
