"""Headers are read once; of several of one name the first counts, but for whoever asks who is calling."""

from typing import Any

from nextfire.transport.headers import headers_of, joined_headers_of

GIVEN = [(b"host", b"a.test"), (b"authorization", b"Bearer one"), (b"x-name", "é".encode("latin-1"))]


def test_they_are_read_once() -> None:
    scope: dict[str, Any] = {"headers": GIVEN}
    headers = headers_of(scope)
    assert headers == {"host": "a.test", "authorization": "Bearer one", "x-name": "é"}
    assert headers_of(scope) is headers
    assert joined_headers_of(scope) is headers


def test_a_name_that_comes_twice() -> None:
    scope: dict[str, Any] = {"headers": [*GIVEN, (b"authorization", b"Bearer two")]}
    assert headers_of(scope)["authorization"] == "Bearer one"
    assert joined_headers_of(scope)["authorization"] == "Bearer one, Bearer two"
    assert joined_headers_of(scope)["host"] == "a.test"
