"""A schedule's definition: its rules, its JSON form in a revision, and what differs between two of them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from services import fields
from services.cadence import Cadence, Cron, Interval
from services.cadence import check as check_cadence
from services.cadence import compile as compile_cadence
from services.calendar import has_no_fire
from services.errors import Issue
from services.schedule import Definition, InitialInput, MissedFirePolicy, OnUnknown, OverlapPolicy

MAX_JITTER = timedelta(hours=24)
LEAST_CATCH_UP = timedelta(seconds=10)
MOST_CATCH_UP = timedelta(days=365)
"""Temporal's own bounds of a catch-up window."""
MOST_RETRY_HORIZON = timedelta(days=7)
MAX_PAUSE_AFTER = 1_000
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
WRITTEN_OUT = 1e16
"""From here on JSON has floats with an exponent, which Postgres writes out, as it does integers."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of a definition before and after, in its JSON form."""

    field: str
    before: Any
    after: Any


def check(definition: Definition, now: datetime, *, cadence_changed: bool = True) -> tuple[Issue, ...]:
    """Everything that is wrong with it, each with its path below `input`.

    With `cadence_changed` false, a schedule that has had its last fire may still be renamed.
    """
    d = definition
    issues = fields.check_name(d.name, "name")
    issues += fields.check_text(d.description, fields.MAX_DESCRIPTION, "description")
    issues += _check_times(d, now) if cadence_changed else []
    issues += fields.check_range(d.jitter, timedelta(0), MAX_JITTER, "jitterSeconds")
    issues += fields.check_range(d.catch_up_window, LEAST_CATCH_UP, MOST_CATCH_UP, "catchUpWindowSeconds")
    issues += fields.check_range(d.retry_horizon, timedelta(seconds=1), MOST_RETRY_HORIZON, "retryHorizonSeconds")
    if d.pause_after_failures is not None and not 1 <= d.pause_after_failures <= MAX_PAUSE_AFTER:
        issues.append(Issue(("pauseAfterFailures",), f"From 1 to {MAX_PAUSE_AFTER:,}, or null for never."))
    issues += fields.check_content(d.initial_input.content, "initialInput", "content")
    issues += fields.check_document(d.task_params, "taskParams")
    issues += fields.check_document(d.task_metadata, "taskMetadata")
    issues += fields.check_labels(d.labels, "labels")
    return tuple(issue.under("input") for issue in issues)


def _check_times(d: Definition, now: datetime) -> list[Issue]:
    issues = [issue.under("cadence") for issue in check_cadence(d.cadence)]
    window_issues = [
        Issue((name,), f"Give a time between {EARLIEST:%Y} and {LATEST:%Y}.")
        for name, at in (("startAt", d.start_at), ("endAt", d.end_at))
        if at is not None and not EARLIEST <= at < LATEST
    ]
    if d.start_at and d.end_at and d.end_at < d.start_at:
        window_issues.append(Issue(("endAt",), "The end is before the start; give a later end."))
    if issues or window_issues:
        return issues + window_issues
    reason = has_no_fire(compile_cadence(d.cadence), now, d.start_at, d.end_at)
    return [Issue(("cadence",), reason)] if reason else []


def to_json(definition: Definition) -> dict[str, Any]:
    """The JSON form: the names and units of the API's input, so that a difference reads like a request."""
    d = definition
    return {
        "name": d.name,
        "description": d.description,
        "cadence": cadence_to_json(d.cadence),
        "startAt": _time(d.start_at),
        "endAt": _time(d.end_at),
        "jitterSeconds": seconds(d.jitter),
        "overlapPolicy": d.overlap_policy.value,
        "missedFirePolicy": d.missed_fire_policy.value,
        "catchUpWindowSeconds": seconds(d.catch_up_window),
        "onUnknown": d.on_unknown.value,
        "retryHorizonSeconds": seconds(d.retry_horizon),
        "pauseAfterFailures": d.pause_after_failures,
        "paused": d.paused,
        "pauseNote": d.pause_note,
        "initialInput": d.initial_input.to_json(),
        "taskParams": d.task_params,
        "taskMetadata": d.task_metadata,
        "labels": [{"key": key, "value": value} for key, value in d.labels],
    }


def from_json(stored: dict[str, Any]) -> Definition:
    return Definition(
        name=stored["name"],
        description=stored["description"],
        cadence=cadence_from_json(stored["cadence"]),
        start_at=_parsed(stored["startAt"]),
        end_at=_parsed(stored["endAt"]),
        jitter=timedelta(seconds=stored["jitterSeconds"]),
        overlap_policy=OverlapPolicy(stored["overlapPolicy"]),
        missed_fire_policy=MissedFirePolicy(stored["missedFirePolicy"]),
        catch_up_window=timedelta(seconds=stored["catchUpWindowSeconds"]),
        on_unknown=OnUnknown(stored["onUnknown"]),
        retry_horizon=timedelta(seconds=stored["retryHorizonSeconds"]),
        pause_after_failures=stored["pauseAfterFailures"],
        paused=stored["paused"],
        pause_note=stored["pauseNote"],
        initial_input=InitialInput.from_json(stored["initialInput"]),
        task_params=stored["taskParams"],
        task_metadata=stored["taskMetadata"],
        labels=tuple((label["key"], label["value"]) for label in stored["labels"]),
    )


def differences(before: Definition | None, after: Definition) -> list[Difference]:
    """What changed, field by field; from nothing, every field that holds something."""
    old = to_json(before) if before else {}
    return [
        Difference(field, old.get(field), value)
        for field, value in to_json(after).items()
        if not _is_same(old.get(field), value)
    ]


def _is_same(one: Any, other: Any) -> bool:
    """Whether two JSON values read alike. To Python, true is 1 and 1.0 is 1 as well; to an agent they are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if one != other or isinstance(one, bool) is not isinstance(other, bool):
        return False
    return isinstance(one, float) is isinstance(other, float) or abs(one) >= WRITTEN_OUT


def cadence_to_json(cadence: Cadence) -> dict[str, Any]:
    if isinstance(cadence, Cron):
        return {"cron": {"expression": cadence.expression, "timeZone": cadence.time_zone}}
    return {"interval": {"everySeconds": seconds(cadence.every), "offsetSeconds": seconds(cadence.offset)}}


def cadence_from_json(stored: dict[str, Any]) -> Cadence:
    if cron := stored.get("cron"):
        return Cron(cron["expression"], cron["timeZone"])
    interval = stored["interval"]
    return Interval(timedelta(seconds=interval["everySeconds"]), timedelta(seconds=interval["offsetSeconds"]))


def seconds(duration: timedelta) -> int:
    """Whole ones, as rows and revisions keep them."""
    return int(duration.total_seconds())


def _time(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else None


def _parsed(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
