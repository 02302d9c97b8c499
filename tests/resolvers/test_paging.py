from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers import agents, runs, schedules
from resolvers.paging import DEFAULT_SIZE, MAX_SIZE, Order, Slice, window
from services.errors import InvalidInput, Issue
from services.keyset import Window

BY_NAME = schedules.order("name", descending=False)
TIMES = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?", fullmatch=True)
NUMBERS = st.integers(0, 2**31 - 1)
PLACES = st.one_of(
    st.tuples(st.just(schedules.NEWEST_FIRST), TIMES, st.uuids()),
    st.tuples(st.just(BY_NAME), NAMES, st.uuids()),
    st.tuples(st.just(schedules.LATEST_VERSION_FIRST), NUMBERS, st.uuids()),
)
NO_CURSOR = "This is no cursor of this list: pass one that you got from it, unchanged."
OTHER_ORDER = "This cursor is of another order: begin without it, or ask for the order that it is of."


@given(PLACES)
def test_a_cursor_is_read_back_as_the_place_that_it_was_made_of(place: tuple[Order, Any, UUID]) -> None:
    order, value, key = place

    cursor = order.cursor((value, key))

    assert order.key(cursor) == (value, key)
    assert cursor.isascii()
    assert not set(cursor) & set("+/=")


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")) | st.from_regex(r"[A-Za-z0-9_-]{1,400}"))
def test_any_other_text_is_refused_with_a_message_for_the_caller(text: str) -> None:
    for order in (schedules.NEWEST_FIRST, BY_NAME, schedules.LATEST_VERSION_FIRST):
        with pytest.raises(ValueError, match="This is no cursor of this list"):
            order.key(text)


@given(PLACES, st.data())
def test_a_cursor_that_was_changed_in_one_character_never_breaks_anything(
    place: tuple[Order, Any, UUID], data: st.DataObject
) -> None:
    order, value, key = place
    cursor = order.cursor((value, key))
    at = data.draw(st.integers(0, len(cursor) - 1))
    changed = cursor[:at] + data.draw(st.characters()) + cursor[at + 1 :]

    read = reading(order, changed)

    assert read in (NO_CURSOR, OTHER_ORDER) or order.cursor(read) == changed


def reading(order: Order, cursor: str) -> Any:
    """The place, or the message of the refusal."""
    try:
        return order.key(cursor)
    except ValueError as error:
        return str(error)


def test_a_cursor_is_of_one_order_of_one_list() -> None:
    cursor = schedules.NEWEST_FIRST.cursor((datetime(2026, 1, 1, tzinfo=UTC), uuid4()))

    refusals = [
        (schedules.order("created_at", descending=False), OTHER_ORDER),
        (schedules.order("updated_at", descending=True), OTHER_ORDER),
        (agents.NEWEST_FIRST, NO_CURSOR),
        (runs.LATEST_FIRST, NO_CURSOR),
    ]

    for order, message in refusals:
        with pytest.raises(ValueError, match=message):
            order.key(cursor)


def test_a_window_has_the_size_that_was_asked_for() -> None:
    order = schedules.NEWEST_FIRST

    assert window(Slice(), order) == Window(DEFAULT_SIZE, descending=True)
    assert window(Slice(first=MAX_SIZE), order) == Window(MAX_SIZE, descending=True)
    assert window(Slice(last=1), order) == Window(1, descending=True, backwards=True)


@pytest.mark.parametrize(
    ("asked", "issues"),
    [
        (Slice(first=0), [(("first",), "From 1 to 100; this is 0.")]),
        (Slice(first=101), [(("first",), "From 1 to 100; this is 101.")]),
        (Slice(last=-1), [(("last",), "From 1 to 100; this is -1.")]),
        (Slice(first=1, last=1), [(("last",), "Give first or last, not both.")]),
        (
            Slice(first=1000, after="x", before=""),
            [
                (("first",), "From 1 to 100; this is 1000."),
                (("after",), NO_CURSOR),
                (("before",), NO_CURSOR),
            ],
        ),
    ],
)
def test_everything_that_is_wrong_with_the_arguments_is_said_at_once(
    asked: Slice, issues: list[tuple[tuple[str, ...], str]]
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        window(asked, schedules.NEWEST_FIRST)

    assert refusal.value.issues == tuple(Issue(path, message) for path, message in issues)
