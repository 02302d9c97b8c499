"""What is read from an entry of a list: the same however often it comes, but for what has passed in between."""

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload, SearchAttributes
from temporalio.api.schedule.v1 import ScheduleActionResult, ScheduleListEntry, ScheduleListInfo

from services.clock_values import ROW_VERSION, of_entry
from services.live import LiveValues

NOON = datetime(2090, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ODD = timedelta(microseconds=123_456)


def entry(version: int | None = 3, *, paused: bool = False) -> ScheduleListEntry:
    """A clock that has fired at 11:58 and 11:59, and will at 12:01, 12:02, with jitter, and 12:03."""
    fired = [ScheduleActionResult(schedule_time=stamp(NOON - each * MINUTE)) for each in (2, 1)]
    to_come = [stamp(NOON + MINUTE), stamp(NOON + 2 * MINUTE + ODD), stamp(NOON + 3 * MINUTE)]
    info = ScheduleListInfo(paused=paused, recent_actions=fired, future_action_times=to_come)
    fields = {} if version is None else {ROW_VERSION: Payload(data=str(version).encode())}
    return ScheduleListEntry(schedule_id="any", info=info, search_attributes=SearchAttributes(indexed_fields=fields))


def stamp(at: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(at)
    return made


def test_an_entry_that_comes_again_tells_what_is_still_to_come() -> None:
    times = (NOON + MINUTE, NOON + 2 * MINUTE + ODD, NOON + 3 * MINUTE)
    for passed, now in enumerate((NOON, NOON + MINUTE, NOON + 2 * MINUTE + ODD, NOON + 3 * MINUTE)):
        assert of_entry(entry(), now) == LiveValues(
            version=3,
            paused=False,
            next_fires=times[passed:],
            last_fire_at=NOON - MINUTE,
            counters=None,
            as_of=now,
        )


def test_entries_that_differ_are_not_taken_for_each_other() -> None:
    assert of_entry(entry(4), NOON).version == 4
    assert of_entry(entry(None), NOON).version is None
    paused = of_entry(entry(paused=True), NOON)
    assert (paused.paused, paused.next_fires) == (True, ())
    assert of_entry(ScheduleListEntry(), NOON).last_fire_at is None
