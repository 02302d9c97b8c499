from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from resolvers.feed import FireMatch
from services.feed_event import Cursor, Event, EventKind
from services.run import RunStatus, RunTrigger
from services.runs import RunFilter

SCHEDULE, AGENT, OTHER = uuid4(), uuid4(), uuid4()
NINE, TEN, ELEVEN = (datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (9, 10, 11))


def fired(schedule_id: UUID | None = SCHEDULE) -> Event:
    """A scheduled run of ten o'clock, delivered."""
    payload = {
        "status": "DELIVERED",
        "previous": "DELIVERING",
        "trigger": "SCHEDULED",
        "fireAt": "2026-03-01T10:00:00Z",
    }
    return Event(Cursor(1, 1, 1), "acme", EventKind.FIRE_STATUS, schedule_id, uuid4(), AGENT, payload, ELEVEN)


@pytest.mark.parametrize(
    "filter",
    [
        {},
        {"schedule_ids": (OTHER, SCHEDULE)},
        {"agent_ids": (AGENT,)},
        {"statuses": (RunStatus.FAILED, RunStatus.DELIVERED)},
        {"triggers": (RunTrigger.SCHEDULED,)},
        {"fire_from": TEN},
        {"fire_to": ELEVEN},
        {"fire_from": NINE, "fire_to": ELEVEN, "agent_ids": (AGENT,), "schedule_ids": (SCHEDULE,)},
    ],
)
def test_an_event_that_fits_is_told(filter: dict[str, Any]) -> None:
    assert FireMatch(RunFilter(**filter))(fired())


@pytest.mark.parametrize(
    "filter",
    [
        {"schedule_ids": ()},
        {"schedule_ids": (OTHER,)},
        {"agent_ids": (OTHER,)},
        {"statuses": (RunStatus.DELIVERING,)},
        {"triggers": (RunTrigger.MANUAL, RunTrigger.EXTERNAL)},
        {"fire_from": ELEVEN},
        {"fire_to": TEN},
        {"schedule_ids": (SCHEDULE,), "agent_ids": (OTHER,)},
    ],
)
def test_an_event_that_does_not_fit_is_left_out(filter: dict[str, Any]) -> None:
    assert not FireMatch(RunFilter(**filter))(fired())


def test_a_run_without_a_schedule_is_none_of_a_schedules() -> None:
    event = fired(schedule_id=None)

    assert FireMatch(RunFilter())(event)
    assert not FireMatch(RunFilter(schedule_ids=(SCHEDULE,)))(event)
