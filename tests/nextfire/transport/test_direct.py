"""The direct way to a connection: what it writes, and when it leaves that to `send`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from nextfire.transport.direct import chunk, line_of, text_frame
from tests.nextfire.transport.conftest import serving
from tests.tcp import connected
from tests.waiting import PATIENCE

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def instead(app: App) -> Callable[[Any], App]:
    """The application in the place of another one, but for its start and its end."""

    def around(other: App) -> App:
        async def either(scope: Scope, receive: Receive, send: Send) -> None:
            await (other if scope["type"] == "lifespan" else app)(scope, receive, send)

        return either

    return around


async def begin(send: Send, **headers: str) -> None:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": named})


async def end(send: Send, body: bytes = b"") -> None:
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 1_000_000])
def test_a_frame_is_that_of_the_library(size: int) -> None:
    text = bytes(65 + number % 26 for number in range(size))
    framed = Frame(Opcode.TEXT, text).serialize(mask=False, extensions=[])
    assert text_frame(text) == text_frame(text[:3], b"", text[3:]) == framed


async def test_pieces_of_a_body_come_in_order_whichever_way_they_went() -> None:
    wrote: list[bool] = []
    pieces = [b"one ", b"x" * 300, b" three"]

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        line = line_of(scope)
        assert line is not None
        wrote.append(line(chunk(b"too early")))
        await begin(send)
        wrote.append(line(chunk(pieces[0])))
        await send({"type": "http.response.body", "body": pieces[1], "more_body": True})
        wrote.append(line(chunk(pieces[2])))
        await end(send)
        wrote.append(line(chunk(b"too late")))

    async with serving(around=instead(app)) as served:
        first, second = await served.http.get(served.url), await served.http.get(served.url)
    assert first.content == second.content == b"".join(pieces)
    assert wrote == [False, True, True, False] * 2


async def test_a_body_of_a_told_length_is_left_to_send() -> None:
    async def app(scope: Scope, _: Receive, send: Send) -> None:
        line = line_of(scope)
        assert line is not None
        await begin(send, content_length="4")
        assert not line(chunk(b"nine"))
        await end(send, b"four")

    async with serving(around=instead(app)) as served:
        assert (await served.http.get(served.url)).content == b"four"


async def test_a_client_that_does_not_read_is_left_to_send() -> None:
    piece, went = b"x" * 100_000, asyncio.Event()

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        line = line_of(scope)
        assert line is not None
        await begin(send)
        count = 0
        while line(chunk(piece)):
            count += 1
        went.set()
        # what has to wait is not lost, and afterwards there is a way again
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        assert line(chunk(b"%d" % (count + 1)))
        await end(send)

    async with serving(around=instead(app)) as served, connected(served.port, REQUEST) as (reader, _):
        async with asyncio.timeout(PATIENCE):
            await went.wait()
            await reader.readuntil(b"\r\n\r\n")
            body = b""
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
    count = len(body) // len(piece)
    assert count > 1
    assert body == piece * count + b"%d" % count


async def test_there_is_no_way_to_a_client_that_has_left() -> None:
    wrote: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        line = line_of(scope)
        assert line is not None
        await begin(send)
        while (await receive())["type"] != "http.disconnect":
            pass
        wrote.set_result(line(chunk(b"late")))

    async with serving(around=instead(app)) as served:
        async with connected(served.port, REQUEST) as (reader, _):
            await reader.readuntil(b"\r\n\r\n")
        assert not await asyncio.wait_for(wrote, PATIENCE)


async def test_each_request_of_a_connection_has_its_own_way_or_none() -> None:
    lines = []

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        await asyncio.sleep(0)
        lines.append(line_of(scope))
        await begin(send)
        await end(send, b"answer %d" % len(lines))

    # when the second request is there before the first one is answered
    async with serving(around=instead(app)) as served, connected(served.port, REQUEST * 2) as (reader, _):
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"answer 1")
            await reader.readuntil(b"answer 2")
    assert [line is None for line in lines] == [True, False]


async def test_messages_of_a_socket_come_in_order_whichever_way_they_went() -> None:
    wrote: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
    long = "x" * 70_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        line = line_of(scope)
        assert line is not None
        await receive()
        early = line(text_frame(b"too early"))
        await send({"type": "websocket.accept"})
        first = line(text_frame("größer".encode()))
        await send({"type": "websocket.send", "text": "second"})
        third = line(text_frame(long[:9].encode(), long[9:].encode()))
        await send({"type": "websocket.close"})
        wrote.set_result([early, first, third, line(text_frame(b"too late"))])

    async with serving(around=instead(app)) as served, connect(served.socket_url) as socket:
        assert [await socket.recv() for _ in range(3)] == ["größer", "second", long]
        await asyncio.wait_for(socket.wait_closed(), PATIENCE)
    assert await wrote == [False, True, True, False]


async def test_other_servers_offer_no_direct_way() -> None:
    assert line_of({"type": "http"}) is None
    assert line_of({"type": "websocket", "extensions": {"websocket.http.response": {}}}) is None
