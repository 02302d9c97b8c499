"""What Temporal's messages say of a clock, as live values."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import SearchAttributes
from temporalio.api.schedule.v1 import ScheduleActionResult, ScheduleListEntry
from temporalio.api.workflowservice.v1 import DescribeScheduleResponse

from services.live import Counters, LiveValues

ROW_VERSION = "RowVersion"
"""The search attribute that carries the version of the row which a clock was made from."""
ENTRIES_KEPT = 4096
"""How many entries of lists are kept as they were read."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """What an entry of a list says, at whatever time it does."""

    version: int | None
    paused: bool
    times: tuple[datetime, ...]
    last_fire_at: datetime | None


def of_entry(entry: ScheduleListEntry, now: datetime) -> LiveValues:
    """The values of a list's entry that was answered now."""
    said = _listed(entry.SerializeToString(deterministic=True))
    return LiveValues(
        version=said.version,
        paused=said.paused,
        next_fires=_to_come(said.times, said.paused, now),
        last_fire_at=said.last_fire_at,
        counters=None,
        as_of=now,
    )


def of_description(answer: DescribeScheduleResponse, now: datetime) -> LiveValues:
    """The values of a description that was answered now."""
    info, paused = answer.info, answer.schedule.state.paused
    return LiveValues(
        version=row_version(answer.search_attributes),
        paused=paused,
        next_fires=_to_come(_times(info.future_action_times), paused, now),
        last_fire_at=_last(info.recent_actions),
        counters=Counters(
            fire_count=info.action_count,
            overlap_skipped=info.overlap_skipped,
            missed_catch_up=info.missed_catchup_window,
            running_workflows=len(info.running_workflows),
        ),
        as_of=now,
    )


def row_version(attributes: SearchAttributes) -> int | None:
    payload = attributes.indexed_fields.get(ROW_VERSION)
    return int(payload.data) if payload is not None and payload.data.isdigit() else None


@lru_cache(maxsize=ENTRIES_KEPT)
def _listed(entry: bytes) -> _Listed:
    """A clock says the same until it fires: most entries were read before, and to read one takes ten times as long."""
    said = ScheduleListEntry.FromString(entry)
    info = said.info
    return _Listed(
        row_version(said.search_attributes), info.paused, _times(info.future_action_times), _last(info.recent_actions)
    )


def _times(times: Iterable[Timestamp]) -> tuple[datetime, ...]:
    return tuple(time.ToDatetime(tzinfo=UTC) for time in times)


def _to_come(times: tuple[datetime, ...], paused: bool, now: datetime) -> tuple[datetime, ...]:
    """The V1 scheduler leaves the times of a paused schedule as they were, into the past."""
    if paused:
        return ()
    return times if not times or min(times) > now else tuple(at for at in times if at > now)


def _last(actions: Iterable[ScheduleActionResult]) -> datetime | None:
    return max((action.schedule_time.ToDatetime(tzinfo=UTC) for action in actions), default=None)
