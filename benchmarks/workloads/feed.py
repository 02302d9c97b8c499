"""The subscription `fireStatus`, over server-sent events: one event to many, one who does not read, and a replay."""

import asyncio
import socket
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import httptools
import uvloop

from benchmarks import data, documents
from benchmarks.bench import Bench
from benchmarks.contest import data_of
from benchmarks.load import Refused, ask, post
from benchmarks.results import Figures
from benchmarks.stack import Server
from benchmarks.workloads.reads import asking

MARK = b'"cursor"'
"""What each event has once."""
PATIENCE_SECONDS = 300
AT_ONCE = 100
FLOOD = 30_000
"""More events than the buffers between a server and a client who does not read can hold."""


class Subscriber(asyncio.Protocol):
    """One open stream, which counts its events and knows when the last one came."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._tail = b""
        self._error: Exception | None = None
        self._wanted, self._awaited = 0, asyncio.get_running_loop().create_future()
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.count = 0
        self.last = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() == 200:
            self.open.set_result(None)
        else:
            self.open.set_exception(Refused(f"A subscription was answered with {self._parser.get_status_code()}."))

    def on_body(self, chunk: bytes) -> None:
        text = self._tail + chunk
        if found := text.count(MARK):
            self.count += found
            self.last = time.perf_counter()
        self._tail = text[-len(MARK) + 1 :]
        if self.count >= self._wanted and not self._awaited.done():
            self._awaited.set_result(None)

    def on_message_complete(self) -> None:
        self._broken(Refused("The server ended a stream."))

    def connection_lost(self, error: Exception | None) -> None:
        self._broken(error or ConnectionError("The server closed the connection of a stream."))

    def _broken(self, error: Exception) -> None:
        self._error = self._error or error
        for future in (self.open, self._awaited):
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody may wait for it any more

    async def until(self, count: int) -> None:
        """Return once so many events have come, from the beginning."""
        self._wanted, self._awaited = count, asyncio.get_running_loop().create_future()
        if self.count < count:
            if self._error is not None:
                raise self._error
            await asyncio.wait_for(self._awaited, PATIENCE_SECONDS)


async def from_here(bench: Bench, server: Server) -> bytes:
    """A subscription that misses nothing from now on, though it may begin a moment after its stream is open."""
    answer: Any = (await ask(server.port, asking(bench, documents.EVENT_CURSOR))).json()
    return subscription(bench, answer["data"]["eventCursor"])


def subscription(bench: Bench, after: str) -> bytes:
    body = {"query": documents.FIRES, "variables": {"after": after}}
    return post("/graphql", body, {**bench.database.headers(), "accept": "text/event-stream"})


@asynccontextmanager
async def subscribed(server: Server, request: bytes, count: int) -> AsyncIterator[list[Subscriber]]:
    """So many open streams."""
    found: list[Subscriber] = []
    try:
        while len(found) < count:
            wave = await asyncio.gather(*(_connected(server, request) for _ in range(min(AT_ONCE, count - len(found)))))
            found += wave
            await asyncio.gather(*(each.open for each in wave))
        yield found
    finally:
        for each in found:
            each.transport.abort()


async def _connected(server: Server, request: bytes, receive_buffer: int | None = None) -> Subscriber:
    loop = asyncio.get_running_loop()
    connecting = socket.socket()
    if receive_buffer is not None:
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connecting.setblocking(False)
    await loop.sock_connect(connecting, ("127.0.0.1", server.port))
    _, subscriber = await loop.create_connection(lambda: Subscriber(request), sock=connecting)
    return subscriber


def subscribers(bench: Bench) -> dict[str, Figures]:
    """One event to 1,000 and to 5,000 subscribers: when the last has it, and what a connection costs."""
    sizes = {"many": 1_000, "more": 5_000} if bench.pace.full else {"many": 20}
    figures = {}
    for name, size in sizes.items():
        # A server of its own, so that its memory tells of these connections only.
        with bench.stack.nextfire(bench.database) as server:
            figures[name] = uvloop.run(_fan_out(bench, server, size))
    with bench.stack.nextfire(bench.database) as server:
        figures["beside a stalled one"] = uvloop.run(_beside_stalled(bench, server))
    return figures


async def _fan_out(bench: Bench, server: Server, size: int) -> Figures:
    request = await from_here(bench, server)
    async with subscribed(server, request, 1):
        before = server.resident_bytes()
    async with subscribed(server, request, size) as all_of_them:
        # Each may still have to read the first event from the log; the ones after it are handed out.
        await _one_event(bench, all_of_them)
        kilobytes = (server.resident_bytes() - before) / size / 1024
        seconds = [await _one_event(bench, all_of_them) for _ in range(5 if bench.pace.full else 1)]
    return {"subscribers": size, "last_ms": statistics.median(seconds) * 1e3, "kb_each": kilobytes}


async def _one_event(bench: Bench, them: Sequence[Subscriber]) -> float:
    """The seconds from the commit of an event to its arrival at the last of them."""
    wanted = [each.count + 1 for each in them]
    committed = await data.happen(bench.database.url, 1)
    await asyncio.gather(*(each.until(count) for each, count in zip(them, wanted, strict=True)))
    return max(each.last for each in them) - committed


async def _beside_stalled(bench: Bench, server: Server) -> Figures:
    """One event to 100 others, while one has left thousands unread."""
    flood, size = (FLOOD, 100) if bench.pace.full else (500, 5)
    request = await from_here(bench, server)
    async with subscribed(server, request, 1) as reading:
        stalled = await _connected(server, request, receive_buffer=4096)
        await stalled.open
        stalled.transport.pause_reading()
        await data.happen(bench.database.url, flood)
        await reading[0].until(flood)
        async with subscribed(server, await from_here(bench, server), size) as others:
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
    async with subscribed(server, subscription(bench, cursor), 1) as (subscriber,):
        await subscriber.until(count)
        seconds = subscriber.last - begun
    return {"events": count, "per_second": count / seconds, "cpu_us": (server.cpu_seconds() - cpu) / count * 1e6}
