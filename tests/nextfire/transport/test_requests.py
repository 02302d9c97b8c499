"""What comes in over HTTP: the method, the content type, the body, its JSON, its shape and its text."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from nextfire.transport import Bounds
from tests.nextfire.transport.conftest import GRAPHQL_JSON, Served, serving

HELLO = {"query": "{ hello }"}


def code(response: httpx.Response) -> str:
    """The code of the only error, which is the whole answer."""
    body = response.json()
    assert list(body) == ["errors"]
    assert [sorted(error) for error in body["errors"]] in (
        [["extensions", "message"]],
        [["extensions", "locations", "message"]],
    )
    return str(body["errors"][0]["extensions"]["code"])


async def test_a_query_by_post_and_by_get(served: Served) -> None:
    # given
    query = "query Q($name: String!) { hello(name: $name) }"
    params = {"query": query, "variables": '{"name": "you"}', "operationName": "Q", "extensions": "{}"}

    # when
    posted = await served.post({"query": query, "variables": {"name": "you"}, "operationName": "Q"})
    got = await served.http.get(served.url, params=params)

    # then
    assert posted.json() == got.json() == {"data": {"hello": "hello you"}}
    assert posted.headers["content-type"] == got.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    "body",
    [
        b"5", b'"s"', b"null", b"true", b"[[[[", b"[" * 90_000, b"", b"{", b"NaN", b'{"query": NaN}', b"\xff\xfe{}",
        b"{}", b'{"query": 5}', b'{"query": null}', b'{"query": ""}', b'{"query": " "}', b'{"query": {}}',
        b'{"query": "{hello}", "variables": 5}', b'{"query": "{hello}", "variables": [1]}',
        b'{"query": "{hello}", "variables": "{}"}', b'{"query": "{hello}", "operationName": 5}',
        b'{"query": "{hello}", "extensions": []}', b"[]", b'[{"query": "{hello}"}]',
    ],
)  # fmt: skip
async def test_a_body_that_is_no_request_is_refused(served: Served, body: bytes) -> None:
    # when
    response = await served.post(body)

    # then
    assert response.status_code == 400
    assert code(response) == "BAD_REQUEST"


async def test_batching_is_refused_by_name(served: Served) -> None:
    assert "Batching is not offered" in (await served.post([HELLO, HELLO])).text


@pytest.mark.parametrize(
    "body",
    [
        r'{"query": "query($n: String!) { hello(name: $n) }", "variables": {"n": "a\u0000b"}}',
        r'{"query": "{ hello }", "variables": {"deep": [{"\u0000": 1}]}}',
        r'{"query": "query($n: String!) { hello(name: $n) }", "variables": {"n": "\ud800"}}',
        r'{"query": "query($n: String!) { hello(name: $n) }", "variables": {"n": "\uDC00x"}}',
        r'{"query": "{ hello \u0000 }"}',
        r'{"query": "{ hello(name: \"\ud83d\") }"}',
        r'{"query": "{ hello(name: \"\\u0000\") }"}',
        r'{"query": "{ hello(name: \"\\u{00}\") }"}',
        r'{"query": "{ hello }", "operationName": "\u0000"}',
        r'{"query": "{ hello }", "extensions": {"a": "\u0000"}}',
    ],
)
async def test_text_that_postgres_cannot_hold_is_refused(served: Served, body: str) -> None:
    # when
    response = await served.post(body)

    # then
    assert response.status_code == 400
    assert code(response) == "BAD_USER_INPUT"


async def test_escaped_text_that_postgres_can_hold_is_taken(served: Served) -> None:
    # given: an emoji as a pair of surrogates, and the six characters \u0000 after an escaped backslash
    body = r'{"query": "query($n: String!) { hello(name: $n) }", "variables": {"n": "\ud83c\udfc3 \\u0000"}}'

    # when
    response = await served.post(body)

    # then
    assert response.json() == {"data": {"hello": "hello 🏃 \\u0000"}}


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx",
     "application/json; charset=utf-16", "application/graphql"],
)  # fmt: skip
async def test_other_content_types_are_refused(served: Served, content_type: str) -> None:
    # when
    response = await served.post(HELLO, content_type=content_type)

    # then
    assert response.status_code == 415
    assert code(response) == "BAD_REQUEST"


async def test_a_compressed_body_is_refused(served: Served) -> None:
    assert (await served.post(HELLO, content_encoding="gzip")).status_code == 415


@pytest.mark.parametrize("content_type", ["application/json;charset=UTF-8", 'Application/JSON; charset="utf-8"; a=b'])
async def test_utf8_may_be_said(served: Served, content_type: str) -> None:
    assert (await served.post(HELLO, content_type=content_type)).json() == {"data": {"hello": "hello world"}}


async def test_a_name_that_comes_twice_counts_as_the_last(served: Served) -> None:
    assert (await served.post('{"query": "{ x }", "query": "{ hello }"}')).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_other_methods_are_refused(served: Served, method: str) -> None:
    # when
    response = await served.http.request(method, served.url)

    # then
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


async def test_a_mutation_by_get_is_refused_and_not_run(served: Served) -> None:
    # when
    response = await served.http.get(served.url, params={"query": 'mutation { record(call: "x") }'})

    # then
    assert (response.status_code, response.headers["allow"], code(response)) == (405, "POST", "BAD_REQUEST")
    assert served.toy.context.calls == []


@pytest.mark.parametrize(
    "query_string",
    ["", "query=", "query={hello}&variables=5", "query={hello}&variables={", "query={hello}&extensions=[]",
     "query=%FF", "query={hello}&variables=%7B%22a%22:%22%5Cu0000%22%7D", "query={hello}%00"],
)  # fmt: skip
async def test_a_query_string_that_is_no_request_is_refused(served: Served, query_string: str) -> None:
    # when
    response = await served.http.get(f"{served.url}?{query_string}")

    # then
    assert response.status_code == 400
    assert code(response) in ("BAD_REQUEST", "BAD_USER_INPUT")


@pytest.mark.parametrize(
    ("query", "name", "expected"),
    [
        ("query A { hello } query B { big }", "A", {"data": {"hello": "hello world"}}),
        ("query A { hello }", "", {"data": {"hello": "hello world"}}),
        ("query A { hello } query B { big }", "C", "no operation of the name"),
        ("query A { hello }", "C", "no operation of the name"),
        ("query A { hello } query B { big }", None, "several operations"),
    ],
)
async def test_the_operation_is_found_by_its_name(served: Served, query: str, name: str | None, expected: Any) -> None:
    # when
    response = await served.post({"query": query, "operationName": name}, accept=GRAPHQL_JSON)

    # then
    if isinstance(expected, dict):
        assert response.json() == expected
    else:
        assert (response.status_code, code(response)) == (422, "BAD_USER_INPUT")
        assert expected in response.text


async def test_a_body_that_says_it_is_too_large_is_not_read(served: Served) -> None:
    # given: a client that announces more than it sends
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        b"POST /graphql/ HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: 99999999999999999999999\r\n\r\n"
    )

    # when
    head = await asyncio.wait_for(reader.readuntil(b"\r\n"), 20)

    # then: httptools itself refuses a length beyond 64 bits
    assert head.split()[1] in (b"400", b"413")
    writer.close()
    await writer.wait_closed()


async def test_a_body_without_a_length_is_cut_off_at_the_limit(served: Served) -> None:
    # given
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        b"POST /graphql/ HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n"
    )

    # when: more comes than is allowed, and no end
    chunk = b"2710\r\n" + b" " * 10_000 + b"\r\n"
    for _ in range(11):
        writer.write(chunk)
        await writer.drain()
    head = await asyncio.wait_for(reader.readuntil(b"\r\n"), 20)

    # then
    assert head.split()[1] == b"413"
    writer.close()
    await writer.wait_closed()


async def test_a_body_that_does_not_come_is_given_up() -> None:
    # given
    async with serving(Bounds(body_timeout=timedelta(milliseconds=50))) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(
            b"POST /graphql/ HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"
        )

        # when
        head = await asyncio.wait_for(reader.readuntil(b"\r\n"), 20)

        # then
        assert head.split()[1] == b"408"
        writer.close()
        await writer.wait_closed()


async def test_the_limit_of_a_body_is_its_last_byte() -> None:
    # given
    body = json.dumps(HELLO)
    async with serving(Bounds(max_body_bytes=len(body))) as served:
        # when
        fits = await served.post(body)
        too_large = await served.post(body + " ")

        # then
        assert (fits.status_code, too_large.status_code) == (200, 413)
        assert code(too_large) == "BAD_REQUEST"
