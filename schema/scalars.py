"""The scalars. Bad input does not fail here, one value at a time: it becomes `Malformed`, and is reported with all else
that is wrong with the input."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NewType

import orjson
import strawberry
from graphql import ValueNode, value_from_ast_untyped
from strawberry.types.scalar import ScalarDefinition

JSON = NewType("JSON", object)
TimeZone = NewType("TimeZone", str)

RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
NO_OFFSET = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9:.]*)?")
EXAMPLE = "2026-03-01T09:00:00Z or 2026-03-01T09:00:00+01:00"


@dataclass(frozen=True, slots=True)
class Malformed:
    """What a scalar makes of a value that it cannot read, with a message for the caller."""

    message: str


def parse_time(value: object) -> datetime | Malformed:
    if not isinstance(value, str):
        return Malformed(f"Give a time as text, such as {EXAMPLE}.")
    if NO_OFFSET.fullmatch(value):
        return Malformed(f"A time needs its time of day and its offset from UTC, such as {EXAMPLE}.")
    if not RFC_3339.fullmatch(value):
        return Malformed(f"Give a time by RFC 3339, such as {EXAMPLE}.")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return Malformed("There is no such time: look at the month, the day, the hour and the offset.")


def show_time(value: datetime) -> str:
    """In UTC; to the microsecond where it has a part of a second, else to the second."""
    if value.tzinfo is not UTC:  # rows are in UTC as they come
        value = value.astimezone(UTC)
    return orjson.dumps(value, None, orjson.OPT_UTC_Z)[1:-1].decode()  # as `isoformat`, in a third of its time


def show_lasting_time(value: datetime) -> str:
    """As `show_time`, for the times that one answer after the other tells: their text is kept."""
    # Times of one other zone are equal though an hour lies between them, when its clocks are set back.
    return _shown(value) if value.tzinfo is UTC else show_time(value)


@lru_cache(maxsize=4096)
def _shown(value: datetime) -> str:
    return show_time(value)


def parse_json(value: object) -> dict[str, Any] | Malformed:
    if not isinstance(value, dict):
        return Malformed('Give a JSON object, such as {"priority": 3}.')
    if not _is_finite(value):
        return Malformed("JSON has no number as large as that, and no NaN.")
    return value


def malformed_in(value: object) -> Malformed | None:
    """What could not be read of a value: all of it, or a variable within JSON, which a literal may hold."""
    return next((each for each in _within(value) if isinstance(each, Malformed)), None)


def _is_finite(value: object) -> bool:
    return not any(isinstance(each, float) and not math.isfinite(each) for each in _within(value))


def _within(value: object) -> Iterator[object]:
    """The value, and all that is in it."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def _json_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> dict[str, Any] | Malformed:
    try:
        return parse_json(value_from_ast_untyped(node, variables))
    except ValueError:
        return Malformed("JSON has no number as large as that.")


def parse_zone(value: object) -> str | Malformed:
    if not isinstance(value, str):
        return Malformed("Give the name of a time zone as text, such as Europe/Berlin.")
    return value


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description=(
            "An instant by RFC 3339. Input must carry an offset or Z (2026-03-01T09:00:00+01:00) and keeps "
            "microseconds. Output is in UTC with Z: to the second, or with six digits of fraction where there is one."
        ),
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc3339",
        parse_value=parse_time,
        serialize=show_time,
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description=(
            "JSON. As input an object of at most 64 KiB serialised and 32 levels; as output such an object, or in "
            "FieldChange the value of any one field."
        ),
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc8259",
        parse_value=parse_json,
        parse_literal=_json_literal,
        serialize=lambda value: value,
    ),
    TimeZone: strawberry.scalar(
        name="TimeZone",
        description="The name of a time zone in the IANA database, such as Europe/Berlin or UTC.",
        specified_by_url="https://www.iana.org/time-zones",
        parse_value=parse_zone,
        serialize=str,
    ),
}
"""What the schema makes of these Python types."""
