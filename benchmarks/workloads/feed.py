"""The subscription `fireStatus`: one event to many, one who does not read, and a replay."""

import asyncio
import base64
import socket
import statistics
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import httptools
import orjson
import uvloop

from benchmarks import data, documents
from benchmarks.bench import Bench
from benchmarks.contest import data_of
from benchmarks.load import Refused, ask, get, post
from benchmarks.results import Figures
from benchmarks.stack import Server
from benchmarks.workloads.reads import asking

MARK = b'"cursor"'
"""What each event has once."""
PATIENCE_SECONDS = 300
AT_ONCE = 100
FLOOD = 30_000
"""More events than the buffers between a server and a client who does not read can hold."""


Reached = Callable[[Exception | None], None]


class Subscriber(asyncio.Protocol):
    """One open subscription, which counts its events and knows when the last one came."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._tail = b""
        self._error: Exception | None = None
        self._wanted = 0
        self._reached: Reached = _ignore
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.count = 0
        self.last = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        self.broken(error or ConnectionError("The server closed the connection of a subscription."))

    def told(self, text: bytes) -> None:
        """Count the events in a part of what came."""
        text = self._tail + text
        if found := text.count(MARK):
            self.count += found
            self.last = time.perf_counter()
            if self.count >= self._wanted:
                self._call_back(None)
        self._tail = text[-len(MARK) + 1 :]

    def broken(self, error: Exception) -> None:
        self._error = self._error or error
        if not self.open.done():
            self.open.set_exception(error)
            self.open.exception()  # nobody may wait for it any more
        self._call_back(error)

    def at(self, count: int, reached: Reached) -> None:
        """Call back once so many events have come, from the beginning, or with what keeps them from coming."""
        self._wanted, self._reached = count, reached
        if self.count >= count or self._error is not None:
            self._call_back(self._error)

    def _call_back(self, error: Exception | None) -> None:
        reached, self._reached = self._reached, _ignore
        reached(error)


class Stream(Subscriber):
    """By server-sent events."""

    def __init__(self, request: bytes) -> None:
        super().__init__(request)
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() == 200:
            self.open.set_result(None)
        else:
            self.broken(Refused(f"A subscription was answered with {self._parser.get_status_code()}."))

    def on_body(self, chunk: bytes) -> None:
        self.told(chunk)

    def on_message_complete(self) -> None:
        self.broken(Refused("The server ended a stream."))


class Socket(Subscriber):
    """By a WebSocket. It answers no pings, so it is not to be kept open for long."""

    def __init__(self, handshake: bytes, init: bytes, subscribe: bytes) -> None:
        super().__init__(handshake)
        self._answers = {b"\r\n\r\n": init, b'"connection_ack"': subscribe}
        """What is sent when this has come."""
        self._head = b""

    def data_received(self, data: bytes) -> None:
        if self.open.done():
            self.told(data)
            return
        self._head += data
        for mark in [mark for mark in self._answers if mark in self._head]:
            self.transport.write(self._answers.pop(mark))
        if not self._answers:
            self.open.set_result(None)


def _ignore(_: object) -> None:
    pass


async def all_at(them: Sequence[Subscriber], counts: Sequence[int], happens: Awaitable[float]) -> float:
    """The seconds from when something happened until each has so many events.

    There is one future for all of them: with one for each, the clients would be what is measured.
    """
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = len(them)

    def reached(error: Exception | None) -> None:
        nonlocal left
        left -= 1
        if error is not None and not done.done():
            done.set_exception(error)
        elif not left and not done.done():
            done.set_result(None)

    for each, count in zip(them, counts, strict=True):
        each.at(count, reached)
    begun = await happens
    await asyncio.wait_for(done, PATIENCE_SECONDS)
    return max(each.last for each in them) - begun


async def until(subscriber: Subscriber, count: int) -> None:
    """Return once so many events have come, from the beginning."""
    await all_at([subscriber], [count], _now())


async def _now() -> float:
    return time.perf_counter()


Make = Callable[[], Subscriber]


async def from_here(bench: Bench, server: Server) -> str:
    """Where to subscribe so that nothing is missed from now on, though that may begin a moment later."""
    answer: Any = (await ask(server.port, asking(bench, documents.EVENT_CURSOR))).json()
    return str(answer["data"]["eventCursor"])


def stream(bench: Bench, after: str) -> Make:
    body = {"query": documents.FIRES, "variables": {"after": after}}
    request = post("/graphql", body, {**bench.database.headers(), "accept": "text/event-stream"})
    return partial(Stream, request)


def over_socket(bench: Bench, after: str) -> Make:
    key = {"sec-websocket-key": base64.b64encode(bytes(16)).decode(), "sec-websocket-version": "13"}
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-protocol": "graphql-transport-ws"}
    handshake = get("/graphql", {**bench.database.headers(), **upgrade, **key})
    payload = {"query": documents.FIRES, "variables": {"after": after}}
    subscribe = _message({"id": "1", "type": "subscribe", "payload": payload})
    return partial(Socket, handshake, _message({"type": "connection_init"}), subscribe)


def _message(value: object) -> bytes:
    """A text frame of a client: RFC 6455 section 5.2, with a mask of zeros, which leaves the text as it is."""
    text = orjson.dumps(value)
    length = bytes([0x80 | len(text)]) if len(text) < 126 else struct.pack(">BH", 0x80 | 126, len(text))
    return b"\x81" + length + bytes(4) + text


@asynccontextmanager
async def subscribed(server: Server, make: Make, count: int) -> AsyncIterator[list[Subscriber]]:
    """So many open subscriptions."""
    found: list[Subscriber] = []
    try:
        while len(found) < count:
            wave = await asyncio.gather(*(_connected(server, make) for _ in range(min(AT_ONCE, count - len(found)))))
            found += wave
            await asyncio.gather(*(each.open for each in wave))
        yield found
    finally:
        for each in found:
            each.transport.abort()


async def _connected(server: Server, make: Make, receive_buffer: int | None = None) -> Subscriber:
    loop = asyncio.get_running_loop()
    connecting = socket.socket()
    if receive_buffer is not None:
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connecting.setblocking(False)
    await loop.sock_connect(connecting, ("127.0.0.1", server.port))
    _, subscriber = await loop.create_connection(make, sock=connecting)
    return subscriber


def subscribers(bench: Bench) -> dict[str, Figures]:
    """One event to 1,000 and to 5,000 subscribers: when the last has it, and what a connection costs."""
    full = bench.pace.full
    many, more = (1_000, 5_000) if full else (20, 20)
    cases = {"many": (stream, many), "many over WebSocket": (over_socket, many)}
    cases |= {"more": (stream, more), "more over WebSocket": (over_socket, more)} if full else {}
    figures = {}
    for name, (kind, size) in cases.items():
        # A server of its own, so that its memory tells of these connections only.
        with bench.stack.nextfire(bench.database) as server:
            figures[name] = uvloop.run(_fan_out(bench, server, kind, size))
    with bench.stack.nextfire(bench.database) as server:
        figures["beside a stalled one"] = uvloop.run(_beside_stalled(bench, server))
    return figures


async def _fan_out(bench: Bench, server: Server, kind: Callable[[Bench, str], Make], size: int) -> Figures:
    make = kind(bench, await from_here(bench, server))
    async with subscribed(server, make, 1):
        before = server.resident_bytes()
    async with subscribed(server, make, size) as all_of_them:
        # Each may still have to read the first event from the log; the ones after it are handed out.
        await _one_event(bench, all_of_them)
        kilobytes = (server.resident_bytes() - before) / size / 1024
        cpu, times = server.cpu_seconds(), 5 if bench.pace.full else 1
        seconds = [await _one_event(bench, all_of_them) for _ in range(times)]
        cpu_us = (server.cpu_seconds() - cpu) / times / size * 1e6
    return {"subscribers": size, "last_ms": statistics.median(seconds) * 1e3, "cpu_us": cpu_us, "kb_each": kilobytes}


async def _one_event(bench: Bench, them: Sequence[Subscriber]) -> float:
    """The seconds from the commit of an event to its arrival at the last of them."""
    return await all_at(them, [each.count + 1 for each in them], data.happen(bench.database.url, 1))


async def _beside_stalled(bench: Bench, server: Server) -> Figures:
    """One event to 100 others, while one has left thousands unread."""
    flood, size = (FLOOD, 100) if bench.pace.full else (500, 5)
    make = stream(bench, await from_here(bench, server))
    async with subscribed(server, make, 1) as reading:
        stalled = await _connected(server, make, receive_buffer=4096)
        await stalled.open
        stalled.transport.pause_reading()
        await all_at(reading, [flood], data.happen(bench.database.url, flood))
        async with subscribed(server, stream(bench, await from_here(bench, server)), size) as others:
            await _one_event(bench, others)
            seconds = [await _one_event(bench, others) for _ in range(5)]
        stalled.transport.abort()
    return {"subscribers": size, "last_ms": statistics.median(seconds) * 1e3}


def replay(bench: Bench) -> dict[str, Figures]:
    """A client that comes back with the cursor of 100,000 events ago."""
    count = 100_000 if bench.pace.full else 1_000
    cursor = data_of(bench.nextfire, asking(bench, documents.EVENT_CURSOR))["eventCursor"]
    uvloop.run(data.happen(bench.database.url, count))
    return {"nextfire": uvloop.run(_replayed(bench, cursor, count))}


async def _replayed(bench: Bench, cursor: str, count: int) -> Figures:
    server = bench.nextfire
    cpu, begun = server.cpu_seconds(), time.perf_counter()
    async with subscribed(server, stream(bench, cursor), 1) as (subscriber,):
        await until(subscriber, count)
        seconds = subscriber.last - begun
    return {"events": count, "per_second": count / seconds, "cpu_us": (server.cpu_seconds() - cpu) / count * 1e6}
