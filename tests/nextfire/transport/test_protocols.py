"""Clients that are slow to say what they want, and those that do not leave."""

import asyncio
import json
from datetime import timedelta

import pytest

from nextfire.transport import Bounds
from tests.nextfire.transport.conftest import serving
from tests.tcp import Connection, connected
from tests.waiting import PATIENCE

SOON, LATER = timedelta(milliseconds=100), timedelta(seconds=8)


async def heard(connection: Connection) -> bytes:
    """All that comes until the server closes the connection."""
    return await asyncio.wait_for(connection[0].read(), PATIENCE)


def request(query: str) -> bytes:
    body = json.dumps({"query": query}).encode()
    head = (
        f"POST /graphql/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


HANDSHAKE = (
    b"GET /graphql/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)
NO_MESSAGE = b"\x81\x81\x00\x00\x00\x00x"
"""A frame with the text `x`."""


@pytest.mark.parametrize("begun", [b"", b"POST /gra", b"POST /graphql/ HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_connection_on_which_no_request_comes_is_closed(begun: bytes) -> None:
    async with serving(Bounds(header_timeout=SOON)) as served, connected(served.port, begun) as connection:
        assert await heard(connection) == b""


async def test_so_is_one_whose_second_request_does_not_come_to_its_end() -> None:
    async with serving(Bounds(header_timeout=SOON)) as served:
        async with connected(served.port, request("{ hello }") + b"POST /gra") as connection:
            answer = await heard(connection)
        assert answer.endswith(b'{"data":{"hello":"hello world"}}')
        assert answer.count(b"HTTP/1.1") == 1


async def test_who_waits_for_an_answer_or_sends_a_body_slowly_is_not_hurried() -> None:
    whole = request("{ hello }")
    async with (
        serving(Bounds(header_timeout=SOON)) as served,
        connected(served.port, whole[:-1]) as slow,
        connected(served.port, request("{ leaf { held } }") + b"POST /gra") as waiting,
        connected(served.port, HANDSHAKE) as socket,
    ):
        # given that the time of a later one is up
        async with connected(served.port, b"") as idle:
            assert await heard(idle) == b""

        # when
        slow[1].write(whole[-1:])
        served.toy.context.release.set()

        # then
        assert b'{"data":{"hello":"hello world"}}' in await slow[0].readuntil(b"world") + await slow[0].read(3)
        assert b'{"data":{"leaf":{"held":"released"}}}' in await heard(waiting)
        assert b"101 Switching Protocols" in await socket[0].readline()


async def test_a_socket_whose_client_does_not_confirm_its_close_is_left() -> None:
    async with (
        serving(Bounds(close_timeout=SOON, header_timeout=LATER)) as served,
        connected(served.port, b"") as idle,
        connected(served.port, HANDSHAKE) as silent,
    ):
        # given
        await silent[0].readuntil(b"\r\n\r\n")

        # when: 4400, and no answer to it
        silent[1].write(NO_MESSAGE)
        answer = await heard(silent)

        # then that took less than uvicorn's own ten seconds, or the older connection would be closed
        assert b"The message is not valid JSON." in answer
        assert not idle[0].at_eof()
