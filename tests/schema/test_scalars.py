from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from graphql import parse_value as parse_literal
from hypothesis import given
from hypothesis import strategies as st

from schema.scalars import JSON, SCALARS, Malformed, parse_json, parse_time, parse_zone, show_lasting_time, show_time


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-03-01T09:00:00Z", "2026-03-01T09:00:00Z"),
        ("2026-03-01t09:00:00z", "2026-03-01T09:00:00Z"),
        ("2026-03-01T09:00:00+01:30", "2026-03-01T07:30:00Z"),
        ("2026-03-01T09:00:00.5-08:00", "2026-03-01T17:00:00.500000Z"),
        ("2026-03-01T09:00:00.123456789Z", "2026-03-01T09:00:00.123456Z"),
    ],
)
def test_a_time_is_shown_in_utc(text: str, shown: str) -> None:
    time = parse_time(text)

    assert isinstance(time, datetime)
    assert show_time(time) == shown


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_lasting_time_is_shown_as_any_other(time: datetime) -> None:
    assert [show_lasting_time(time) for _ in range(2)] == [show_time(time)] * 2


def test_the_two_hours_of_one_name_are_shown_apart() -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    second = first.replace(fold=1)
    assert first == second
    assert [show_lasting_time(each) for each in (first, second)] == ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_shown_is_read_back(time: datetime) -> None:
    assert parse_time(show_time(time)) == time


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2026-03-01T09:00:00", "needs its time of day and its offset"),
        ("2026-03-01 09:00", "needs its time of day and its offset"),
        ("2026-03-01", "needs its time of day and its offset"),
        ("2026-03-01 09:00:00Z", "RFC 3339"),
        ("2026-03-01T09:00Z", "RFC 3339"),
        ("20260301T090000Z", "RFC 3339"),
        ("2026-W09-1T09:00:00Z", "RFC 3339"),
        ("٢٠٢٦-03-01T09:00:00Z", "RFC 3339"),
        ("2026-03-01T09:00:00Z\n", "RFC 3339"),
        ("tomorrow", "RFC 3339"),
        ("", "RFC 3339"),
        ("2026-02-30T09:00:00Z", "There is no such time"),
        ("2026-03-01T24:00:01Z", "There is no such time"),
        ("2026-03-01T09:00:60Z", "There is no such time"),
        ("2026-03-01T09:00:00+99:99", "There is no such time"),
        ("0001-01-01T00:00:00+14:00", "There is no such time"),
        ("9999-12-31T23:59:59-14:00", "There is no such time"),
        (1772355600, "Give a time as text"),
        (1.5, "Give a time as text"),
        (True, "Give a time as text"),
        ([], "Give a time as text"),
        ({}, "Give a time as text"),
    ],
)
def test_another_time_is_malformed(value: object, message: str) -> None:
    parsed = parse_time(value)

    assert isinstance(parsed, Malformed)
    assert message in parsed.message


@given(st.text() | st.none() | st.integers() | st.floats() | st.lists(st.text()))
def test_nothing_breaks_a_scalar(value: object) -> None:
    for parse in (parse_time, parse_json, parse_zone):
        parse(value)


@pytest.mark.parametrize("value", [5, "x", True, [], [{}], {"a": float("inf")}, {"a": [{"b": float("nan")}]}])
def test_json_is_an_object_of_finite_numbers(value: object) -> None:
    assert isinstance(parse_json(value), Malformed)


def test_json_can_be_written_into_the_document() -> None:
    read: Any = SCALARS[JSON].parse_literal
    variables = {"name": "Ada"}

    literal = parse_literal("{a: 1, b: [true, null, 2.5], c: {d: $name}, e: WORD}")

    assert read(literal, variables) == {"a": 1, "b": [True, None, 2.5], "c": {"d": "Ada"}, "e": "WORD"}
    assert isinstance(read(parse_literal("{a: 1" + "0" * 5000 + "}"), {}), Malformed)
    assert isinstance(read(parse_literal("{a: 1e999}"), {}), Malformed)


def test_a_zone_is_text() -> None:
    assert parse_zone("Europe/Berlin") == "Europe/Berlin"
    assert isinstance(parse_zone(1), Malformed)
