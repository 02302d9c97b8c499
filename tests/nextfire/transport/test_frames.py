"""Writing payloads as JSON."""

import json
from datetime import UTC, datetime

import pytest

from nextfire.transport.frames import encode_json
from schema.scalars import show_time

TIMES = [
    datetime(2026, 3, 1, 9, 0, tzinfo=UTC),
    datetime(2026, 3, 1, 9, 0, 0, 120, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]


@pytest.mark.parametrize("beside", [1, 2**70])
def test_times_are_written_as_their_scalar_shows_them(beside: int) -> None:
    written = json.loads(encode_json({"data": {"times": TIMES, "beside": beside}}))
    assert written == {"data": {"times": [show_time(each) for each in TIMES], "beside": beside}}


def test_what_is_no_json_is_not_written() -> None:
    for odd in (object(), {1, 2}):
        with pytest.raises(TypeError):
            encode_json({"data": odd})
