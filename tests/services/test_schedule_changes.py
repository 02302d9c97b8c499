"""Which changes of a schedule its clock has to follow."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.cadence import Cron, Interval
from services.clock_spec import DesiredClock, message
from services.schedule import (
    Author,
    Definition,
    InitialInput,
    MissedFirePolicy,
    OnUnknown,
    OverlapPolicy,
)
from services.schedule_changes import CLOCK_COLUMNS
from services.schedule_rows import to_row

BEFORE = Definition(
    name="before",
    description=None,
    cadence=Cron("0 8 * * *", "Europe/Berlin"),
    start_at=None,
    end_at=None,
    jitter=timedelta(0),
    overlap_policy=OverlapPolicy.SKIP,
    missed_fire_policy=MissedFirePolicy.RUN_LATEST,
    catch_up_window=timedelta(minutes=5),
    on_unknown=OnUnknown.RETRY,
    retry_horizon=timedelta(hours=1),
    pause_after_failures=None,
    paused=False,
    pause_note=None,
    initial_input=InitialInput("before"),
    task_params=None,
    task_metadata=None,
    labels=(),
)
OTHER: dict[str, Any] = {
    "name": "after",
    "description": "words",
    "cadence": Interval(timedelta(minutes=15), timedelta(minutes=1)),
    "start_at": datetime(2090, 1, 1, tzinfo=UTC),
    "end_at": datetime(2091, 1, 1, tzinfo=UTC),
    "jitter": timedelta(seconds=1),
    "overlap_policy": OverlapPolicy.ALLOW,
    "missed_fire_policy": MissedFirePolicy.RUN_NONE,
    "catch_up_window": timedelta(days=1),
    "on_unknown": OnUnknown.HOLD,
    "retry_horizon": timedelta(seconds=1),
    "pause_after_failures": 3,
    "paused": True,
    "pause_note": "a note",
    "initial_input": InitialInput("after", Author.AGENT),
    "task_params": {"a": 1},
    "task_metadata": {"display_name": "after"},
    "labels": (("team", "ops"),),
}
FIELDS = [field.name for field in dataclasses.fields(Definition)]
SECONDS = ("jitter", "catch_up_window", "retry_horizon")


def in_json(field: str) -> str:
    """What a field is called in a revision."""
    first, *others = f"{field}_seconds".split("_") if field in SECONDS else field.split("_")
    return first + "".join(map(str.capitalize, others))


def clock_of(definition: Definition) -> bytes:
    """All that Temporal is told, but for the note, which is left alone once the clock is there."""
    told = message(DesiredClock(UUID(int=1), 1, definition), "queue", [])
    told.state.ClearField("notes")
    return told.SerializeToString(deterministic=True)


@pytest.mark.parametrize("field", FIELDS)
def test_the_columns_of_a_clock_are_those_that_temporal_is_told_of(field: str) -> None:
    after = dataclasses.replace(BEFORE, **{field: OTHER[field]})
    columns = to_row(after, [in_json(field)])

    assert after != BEFORE
    assert (clock_of(after) != clock_of(BEFORE)) is not CLOCK_COLUMNS.isdisjoint(columns)


@pytest.mark.parametrize("field", FIELDS)
def test_the_columns_of_a_changed_field_are_all_that_differ(field: str) -> None:
    after = dataclasses.replace(BEFORE, **{field: OTHER[field]})
    before_row, after_row = to_row(BEFORE), to_row(after)

    columns = to_row(after, [in_json(field)])

    assert {**before_row, **columns} == after_row
    assert {name for name in after_row if after_row[name] != before_row[name]} <= columns.keys()
