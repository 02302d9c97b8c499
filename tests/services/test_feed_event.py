"""Cursors: what goes out comes back, and everything else is refused in plain words."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidInput
from services.feed_event import Cursor

BIGINT = 2**63 - 1
URL_SAFE = st.text("ABCXYZabcxyz0189-_", min_size=32, max_size=32)


@given(epoch=st.integers(0, 2**64 - 1), xid=st.integers(0, BIGINT), id=st.integers(0, BIGINT))
def test_a_cursor_comes_back_as_it_went_out(epoch: int, xid: int, id: int) -> None:
    # given a place in the log
    cursor = Cursor(epoch, xid, id)

    # when it goes to a client and back
    text = cursor.encode()

    # then it is the same, and was safe in a URL
    assert re.fullmatch("[A-Za-z0-9_-]{32}", text)
    assert Cursor.decode(text) == cursor


@given(st.text() | st.text(max_size=40) | URL_SAFE)
def test_any_text_is_a_cursor_or_invalid_input(text: str) -> None:
    # when any text at all is taken for a cursor, then it is the one spelling of a cursor, or refused
    with suppress(InvalidInput):
        assert Cursor.decode(text).encode() == text


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "x",
        "\x00" * 32,
        "A" * 31,
        "A" * 33,
        "A" * 31 + "=",
        "A" * 30 + "==",
        "=" * 32,
        "A" * 31 + "+",
        "A" * 31 + "/",
        "A" * 31 + "\n",
        "\ud800" * 32,
        "é" * 32,
        "_" * 32,  # an xid and an id of 2**64 - 1
        Cursor(1, BIGINT + 1, 1).encode(),
        Cursor(1, 1, BIGINT + 1).encode(),
        None,
        7,
        b"A" * 32,
        ["A"] * 32,
    ],
)
def test_a_malformed_cursor_is_refused_in_plain_words(malformed: object) -> None:
    # when something that no server made is taken for a cursor
    with pytest.raises(InvalidInput) as caught:
        Cursor.decode(malformed)

    # then the answer says so, in words for a client
    (issue,) = caught.value.issues
    assert issue.path == ("after",)
    assert issue.message == "This is no cursor of this server: pass one that you got from it, unchanged."
