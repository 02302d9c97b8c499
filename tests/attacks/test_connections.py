"""Clients that break the rules of connections: malformed frames, slow ones, and very many."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from nextfire.transport.bounds import DEFAULT_BOUNDS
from tests.attacks.target import MOST_GROWTH, Target
from tests.tcp import Connection, connected
from tests.waiting import PATIENCE

MANY = 300
"""Connections of one attacker at a time."""

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["connection_init", "ping", "pong", "subscribe", "complete", "next", "error"])
        | JSON_VALUES
    },
    optional={"id": st.text(max_size=4) | JSON_VALUES, "payload": JSON_VALUES},
)
FRAMES = MESSAGES.map(json.dumps) | JSON_VALUES.map(json.dumps) | st.text(max_size=60) | st.binary(max_size=60)


HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)


@asynccontextmanager
async def socket(target: Target, *, greeted: bool = True) -> AsyncIterator[ClientConnection]:
    """A socket of the attacker's."""
    url = f"{target.api.url.replace('http', 'ws')}/graphql"
    async with connect(url, subprotocols=["graphql-transport-ws"], open_timeout=120) as connection:  # type: ignore[list-item]
        if greeted:
            payload = {"authorization": f"Bearer {target.attacker}"}
            await connection.send(json.dumps({"type": "connection_init", "payload": payload}))
            assert json.loads(await connection.recv())["type"] == "connection_ack"
        yield connection


def raw(target: Target, sent: bytes) -> AbstractAsyncContextManager[Connection]:
    """A TCP connection, and the first bytes over it."""
    return connected(int(target.api.url.rpartition(":")[2]), sent)


async def heard(target: Target, connection: ClientConnection, messages: int = 50) -> str:
    """What comes until the socket is closed or quiet, looked at for leaks."""
    texts: list[str] = []
    with suppress(ConnectionClosed, TimeoutError):
        while len(texts) < messages:
            texts.append(str(await asyncio.wait_for(connection.recv(), 0.2)))
    texts.append(f"{connection.close_code} {connection.close_reason}")
    target.look_at("\n".join(texts))
    return "\n".join(texts)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(FRAMES, min_size=1, max_size=6), greeted=st.booleans())
async def test_malformed_frames(target: Target, frames: list[str | bytes], greeted: bool) -> None:
    async with socket(target, greeted=greeted) as connection:
        with suppress(ConnectionClosed):
            for frame in frames:
                await connection.send(frame)
        await heard(target, connection)
        # A close says what is wrong with the message, and is never a crash of ours.
        assert connection.close_code not in (1006, 1011, 4500)
    await target.serve_bystander()


@pytest.mark.parametrize(
    "first",
    [
        b"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456",
        b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nZZZZ\r\n",
        b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /graphql HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5_000)) + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /graphql?query=%FF%FE HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        os.urandom(10_000),
    ],
    ids=["handshake", "tls", "two lengths", "smuggling", "negative", "headers", "path", "query", "http2", "noise"],
)
async def test_malformed_requests(target: Target, first: bytes) -> None:
    async with target.measured("a malformed request"), raw(target, first) as (reader, writer):
        writer.write_eof()
        with suppress(ConnectionError):
            answer = await asyncio.wait_for(reader.read(), 60)
            target.look_at(answer.decode(errors="replace"))
            assert answer.count(b"HTTP/1.1 200") == 0


async def test_slow_clients(target: Target) -> None:
    """Headers and bodies that never end hold up nobody, and headers are waited for no longer than they may take."""
    head = b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    begun = [head, head + b"Content-Length: 1000\r\n\r\n{", head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"]
    before = target.process.memory_info().rss
    async with target.measured("slow clients"), AsyncExitStack() as held:
        slow = [await held.enter_async_context(raw(target, begun[n % 3])) for n in range(MANY)]
        for _ in range(5):
            for number, (_, writer) in enumerate(slow):
                writer.write(b"a" if number else b"X")
            await target.serve_bystander()
        for reader, _ in slow[::3]:
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    assert target.process.memory_info().rss - before < MOST_GROWTH


async def test_a_flood_of_sockets(target: Target) -> None:
    """Open and mute, or greeted and idle: they are bounded for each caller, cost little, and are given up."""
    before, open_before = target.process.memory_info().rss, connections(target)
    async with target.measured("a flood of sockets"), AsyncExitStack() as held:
        for number in range(MANY):
            with suppress(ConnectionClosed, InvalidHandshake):
                await held.enter_async_context(socket(target, greeted=number % 2 == 0))
        await target.serve_bystander()
        assert target.process.memory_info().rss - before < MOST_GROWTH
    await settled(target, open_before)


async def test_a_flood_of_silent_sockets(target: Target) -> None:
    """More than may wait: the server holds no more than that, and lets others in who say who they are."""
    most, more = DEFAULT_BOUNDS.max_silent_sockets, 100
    before, open_before = target.process.memory_info().rss, connections(target)
    async with target.measured("a flood of silent sockets"), AsyncExitStack() as held:
        # when
        ends = []
        for number in range(most + more):
            reader, _ = await held.enter_async_context(raw(target, HANDSHAKE))
            assert await reader.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
            if number < more:
                ends.append(asyncio.create_task(_end(reader)))
            if number % 100 == 0:
                async with socket(target):
                    pass
        # then the first are gone, and not because their time was up before it was
        for end in ends:
            said, lasted = await asyncio.wait_for(end, PATIENCE)
            assert b"timeout" not in said or lasted >= DEFAULT_BOUNDS.connection_init_timeout.total_seconds()
        assert connections(target) <= open_before + most + 10
        assert target.process.memory_info().rss - before < MOST_GROWTH
    await settled(target, open_before)


async def _end(reader: asyncio.StreamReader) -> tuple[bytes, float]:
    """What is said until the connection ends, and for how many seconds that is."""
    begun = time.monotonic()
    return await reader.read(), time.monotonic() - begun


async def test_a_flood_on_one_socket(target: Target) -> None:
    """Pings, operations under new ids, and completes of what never ran."""
    async with target.measured("a flood on one socket"), socket(target) as connection:
        with suppress(ConnectionClosed):
            for number in range(1_000):
                subscription = {"query": "subscription { fireStatus { cursor } }"}
                await connection.send(json.dumps({"type": "ping"}))
                await connection.send(json.dumps({"type": "subscribe", "id": str(number), "payload": subscription}))
                await connection.send(json.dumps({"type": "complete", "id": f"no{number}"}))
        assert "RATE_LIMITED" in await heard(target, connection, 4_000)


async def test_a_client_that_never_reads(target: Target) -> None:
    """Its answers pile up at its own end, and not in the server's memory."""
    body = json.dumps({"query": "{ __typename }"}).encode()
    request = (
        b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        + f"Authorization: Bearer {target.attacker}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    before = target.process.memory_info().rss
    async with raw(target, request * 200) as (_, writer):
        for _ in range(20):
            writer.write(request * 20)
            await target.serve_bystander()
        assert target.process.memory_info().rss - before < MOST_GROWTH


def connections(target: Target) -> int:
    return len(target.process.net_connections("tcp"))


async def settled(target: Target, most: int) -> None:
    """The server has let go of the connections; a few may be others', to Postgres and Temporal."""
    async with asyncio.timeout(120):
        while connections(target) > most + 10:  # noqa: ASYNC110 - it lies in another process
            await asyncio.sleep(0.1)


def test_the_process_can_be_looked_at(target: Target) -> None:
    """What is measured here is the server's own: it is the process that listens on its port."""
    port = int(target.api.url.rpartition(":")[2])
    listening = {
        found.laddr.port for found in target.process.net_connections("tcp") if found.status == psutil.CONN_LISTEN
    }
    assert port in listening
