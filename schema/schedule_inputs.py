"""The inputs of the mutations on schedules, and what they mean."""

from datetime import datetime, timedelta
from typing import Any, cast

import strawberry

from schema.agent_inputs import InitialInputInput, initial_input
from schema.filters import LabelInput
from schema.pages import given
from schema.reading import Change, Reader, changes, duration, plain, scalar, seconds
from schema.scalars import JSON, TimeZone
from services.cadence import Cadence, Cron, Interval
from services.schedule import Definition, MissedFirePolicy, OnUnknown, OverlapPolicy
from services.schedules import ScheduleChanges

ABSENT = strawberry.UNSET

NAME = "1 to 64 of a-z, 0-9 and -; not the name of another live schedule of the agent."
DESCRIPTION = "At most 1,000 characters."
NOTE = "Why: at most 1,000 characters, kept with the change."
RUN_NOTE = "Why: at most 1,000 characters, kept with the run."
VERSION = "The version that the caller has read; at any version if absent."
KEY = "One key, one effect: at most 200 characters. The same request again answers the same."


@strawberry.input(description="Times by the wall clock of a zone.")
class CronInput:
    expression: str = strawberry.field(
        description="Cron: minute, hour, day of month, month, day of week, with names and the @daily family. A day "
        "must match both its day of month and its day of week."
    )
    time_zone: TimeZone | None = strawberry.field(default=TimeZone("UTC"), description="Whose wall clock is meant.")


@strawberry.input(description="Every so many seconds since 1970-01-01T00:00Z, in no zone.")
class IntervalInput:
    every_seconds: int = strawberry.field(description="The time between two fires, in seconds: at least 1.")
    offset_seconds: int | None = strawberry.field(
        default=0, description="Moves each fire behind the multiple, in seconds: from 0 to less than everySeconds."
    )


@strawberry.input(one_of=True, description="When a schedule is due: exactly one of the two.")
class CadenceInput:
    cron: CronInput | None = strawberry.field(default=ABSENT, description="Cron in a time zone.")
    interval: IntervalInput | None = strawberry.field(default=ABSENT, description="Every so many seconds.")


@strawberry.input(description="A new schedule. Null means the default, where a field has one.")
class CreateScheduleInput:
    agent_id: strawberry.ID = strawberry.field(description="The agent to run.")
    name: str = strawberry.field(description=NAME)
    description: str | None = strawberry.field(default=ABSENT, description=DESCRIPTION)
    cadence: CadenceInput = strawberry.field(description="When it is due; there must be a time to come.")
    start_at: datetime | None = strawberry.field(default=ABSENT, description="No fire is before this: 1970 to 2099.")
    end_at: datetime | None = strawberry.field(default=ABSENT, description="No fire is after this: 1970 to 2099.")
    jitter_seconds: int | None = strawberry.field(
        default=0, description="Start each fire up to this many seconds late, by chance: 0 to 86,400."
    )
    overlap_policy: OverlapPolicy | None = strawberry.field(
        default=OverlapPolicy.SKIP, description="What to do while an earlier run has not ended."
    )
    missed_fire_policy: MissedFirePolicy | None = strawberry.field(
        default=MissedFirePolicy.RUN_LATEST, description="What becomes of fires that could not start in time."
    )
    catch_up_window_seconds: int | None = strawberry.field(
        default=3600, description="How late a fire may still start after an outage, in seconds: 10 to 31,536,000."
    )
    on_unknown: OnUnknown | None = strawberry.field(
        default=OnUnknown.RETRY, description="What to do when nobody can know whether the agent got it."
    )
    retry_horizon_seconds: int | None = strawberry.field(
        default=3600, description="For how long a failing delivery is tried again, in seconds: 1 to 604,800."
    )
    paused: bool | None = strawberry.field(default=False, description="Whether it begins paused.")
    pause_after_failures: int | None = strawberry.field(
        default=ABSENT, description="After how many failed runs in a row it pauses itself: 1 to 1,000; never if absent."
    )
    initial_input: InitialInputInput = strawberry.field(description="What each fire sends to the agent.")
    task_params: JSON | None = strawberry.field(default=ABSENT, description="The params of each task at the agent.")
    task_metadata: JSON | None = strawberry.field(
        default=ABSENT,
        description="Added to the metadata of each task; of Nextfire's own keys it can set display_name only.",
    )
    labels: list[LabelInput] | None = strawberry.field(default=ABSENT, description="At most 32 labels to find it by.")
    idempotency_key: str | None = strawberry.field(default=ABSENT, description=KEY)


@strawberry.input(description="Only the fields that are present change; an explicit null clears a nullable one.")
class UpdateScheduleInput:
    id: strawberry.ID = strawberry.field(description="The schedule.")
    expected_version: int = strawberry.field(description="The version that the caller has read.")
    name: strawberry.Maybe[str | None] = strawberry.field(description=f"{NAME} May not be null.")
    description: strawberry.Maybe[str | None] = strawberry.field(description=f"{DESCRIPTION} Null for none.")
    cadence: strawberry.Maybe[CadenceInput | None] = strawberry.field(description="When it is due; may not be null.")
    start_at: strawberry.Maybe[datetime | None] = strawberry.field(
        description="No fire is before this; null for no start."
    )
    end_at: strawberry.Maybe[datetime | None] = strawberry.field(description="No fire is after this; null for no end.")
    jitter_seconds: strawberry.Maybe[int | None] = strawberry.field(description="0 to 86,400 seconds; may not be null.")
    overlap_policy: strawberry.Maybe[OverlapPolicy | None] = strawberry.field(
        description="What to do while an earlier run has not ended; may not be null."
    )
    missed_fire_policy: strawberry.Maybe[MissedFirePolicy | None] = strawberry.field(
        description="What becomes of fires that could not start in time; may not be null."
    )
    catch_up_window_seconds: strawberry.Maybe[int | None] = strawberry.field(
        description="10 to 31,536,000 seconds; may not be null."
    )
    on_unknown: strawberry.Maybe[OnUnknown | None] = strawberry.field(
        description="What to do when nobody can know whether the agent got it; may not be null."
    )
    retry_horizon_seconds: strawberry.Maybe[int | None] = strawberry.field(
        description="1 to 604,800 seconds; may not be null."
    )
    paused: strawberry.Maybe[bool | None] = strawberry.field(description="Whether it is paused; may not be null.")
    pause_after_failures: strawberry.Maybe[int | None] = strawberry.field(
        description="After how many failed runs in a row it pauses itself: 1 to 1,000; null for never."
    )
    initial_input: strawberry.Maybe[InitialInputInput | None] = strawberry.field(
        description="What each fire sends to the agent, as a whole; may not be null."
    )
    task_params: strawberry.Maybe[JSON | None] = strawberry.field(description="The params of each task; null for none.")
    task_metadata: strawberry.Maybe[JSON | None] = strawberry.field(
        description="Added to the metadata of each task; null for none."
    )
    labels: strawberry.Maybe[list[LabelInput] | None] = strawberry.field(
        description="All labels anew, at most 32; null for none."
    )
    note: str | None = strawberry.field(default=ABSENT, description=NOTE)


@strawberry.input(description="Which schedule to act on.")
class ScheduleActionInput:
    id: strawberry.ID = strawberry.field(description="The schedule.")
    expected_version: int | None = strawberry.field(default=ABSENT, description=VERSION)
    note: str | None = strawberry.field(default=ABSENT, description=NOTE)


@strawberry.input(description="Which schedule to run now.")
class TriggerScheduleInput:
    id: strawberry.ID = strawberry.field(description="The schedule.")
    idempotency_key: str | None = strawberry.field(default=ABSENT, description=KEY)
    note: str | None = strawberry.field(default=ABSENT, description=RUN_NOTE)
    skip_next_fire: bool | None = strawberry.field(
        default=False,
        description="Whether the next fire that no one asked to skip is skipped in the same change, if there is one.",
    )


@strawberry.input(description="One fire to come of a schedule.")
class SkipFireInput:
    id: strawberry.ID = strawberry.field(description="The schedule.")
    fire_at: datetime = strawberry.field(
        description="The nominal time, to the second. It names an instant: of a wall time that comes twice, one."
    )
    note: str | None = strawberry.field(default=ABSENT, description=NOTE)


@strawberry.input(description="A span of due times of the past.")
class BackfillScheduleInput:
    id: strawberry.ID = strawberry.field(description="The schedule.")
    from_: datetime = strawberry.field(
        name="from", description="The beginning, included: 1970 or later. The span may hold 1,000 due times at most."
    )
    to: datetime = strawberry.field(description="The end, included: a time that has passed.")
    dry_run: bool | None = strawberry.field(default=False, description="Whether to answer only what would be run.")
    idempotency_key: str | None = strawberry.field(default=ABSENT, description=KEY)
    note: str | None = strawberry.field(default=ABSENT, description=RUN_NOTE)


def cadence(reader: Reader, input: CadenceInput, path: tuple[str, ...]) -> Cadence:
    """The cadence; where none or both are given, that is one of the issues, and some cadence stands in."""
    cron: CronInput | None = given(input.cron)
    interval: IntervalInput | None = given(input.interval)
    if (cron is None) == (interval is None):
        reader.refuse("Give one of cron and interval, and only one.", *path)
    if cron is not None:
        zone = reader.scalar(cron.time_zone, *path, "cron", "timeZone")
        return Cron(cron.expression, zone or "UTC")
    if interval is None:
        return Interval(timedelta(days=1), timedelta(0))
    return Interval(seconds(interval.every_seconds), seconds(interval.offset_seconds or 0))


def _labels(_reader: Reader, value: list[LabelInput], _path: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((label.key, label.value) for label in value)


def _initial_input(_reader: Reader, value: InitialInputInput, _path: tuple[str, ...]) -> Any:
    return initial_input(value)


def definition(reader: Reader, input: CreateScheduleInput) -> Definition:
    return Definition(
        name=input.name,
        description=given(input.description),
        cadence=cadence(reader, input.cadence, ("input", "cadence")),
        start_at=reader.time(given(input.start_at), "input", "startAt"),
        end_at=reader.time(given(input.end_at), "input", "endAt"),
        jitter=seconds(input.jitter_seconds or 0),
        overlap_policy=input.overlap_policy or OverlapPolicy.SKIP,
        missed_fire_policy=input.missed_fire_policy or MissedFirePolicy.RUN_LATEST,
        catch_up_window=_seconds_or_hour(input.catch_up_window_seconds),
        on_unknown=input.on_unknown or OnUnknown.RETRY,
        retry_horizon=_seconds_or_hour(input.retry_horizon_seconds),
        pause_after_failures=given(input.pause_after_failures),
        paused=bool(input.paused),
        pause_note=None,
        initial_input=initial_input(input.initial_input),
        task_params=reader.scalar(given(input.task_params), "input", "taskParams"),
        task_metadata=reader.scalar(given(input.task_metadata), "input", "taskMetadata"),
        labels=_labels(reader, given(input.labels) or [], ()),
    )


def _seconds_or_hour(value: int | None) -> timedelta:
    return seconds(3600 if value is None else value)


_FIELDS = (
    Change("name", "name", "name", plain),
    Change("description", "description", "description", plain, null=None),
    Change("cadence", "cadence", "cadence", cadence),
    Change("start_at", "startAt", "start_at", scalar, null=None),
    Change("end_at", "endAt", "end_at", scalar, null=None),
    Change("jitter_seconds", "jitterSeconds", "jitter", duration),
    Change("overlap_policy", "overlapPolicy", "overlap_policy", plain),
    Change("missed_fire_policy", "missedFirePolicy", "missed_fire_policy", plain),
    Change("catch_up_window_seconds", "catchUpWindowSeconds", "catch_up_window", duration),
    Change("on_unknown", "onUnknown", "on_unknown", plain),
    Change("retry_horizon_seconds", "retryHorizonSeconds", "retry_horizon", duration),
    Change("paused", "paused", "paused", plain),
    Change("pause_after_failures", "pauseAfterFailures", "pause_after_failures", plain, null=None),
    Change("initial_input", "initialInput", "initial_input", _initial_input),
    Change("task_params", "taskParams", "task_params", scalar, null=None),
    Change("task_metadata", "taskMetadata", "task_metadata", scalar, null=None),
    Change("labels", "labels", "labels", _labels, null=()),
)


def schedule_changes(reader: Reader, input: UpdateScheduleInput) -> ScheduleChanges:
    return cast("ScheduleChanges", changes(reader, input, _FIELDS))
