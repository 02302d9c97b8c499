"""What is written for many clients at once: each event once and in order, whoever reads and whoever does not."""

import asyncio
import json
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nextfire.transport import GraphQLEndpoint
from resolvers.context import Context
from schema import build_schema
from services.feed import Feed
from services.feed_batch import Batch
from services.feed_subscription import Subscription
from tests.nextfire.transport.conftest import Served, serving
from tests.schema.api import Api
from tests.schema.test_audiences import COPY, Counted, counted, fired
from tests.services.feeding import connected, staged, until
from tests.tcp import Connection
from tests.waiting import PATIENCE

DOCUMENT = "subscription { fireStatus { cursor run { id } } }"
BODY = json.dumps({"query": DOCUMENT})


class Client(ABC):
    """One client at the endpoint, without a network between. It can stop to read."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.reads.set()
        self.sent: list[Message] = []
        self.coming: asyncio.Queue[Message] = asyncio.Queue()

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.append(message)

    async def receive(self) -> Message:
        return await self.coming.get()

    @property
    def cursors(self) -> list[str]:
        return [event["cursor"] for payload in self.payloads() for event in payload["data"]["fireStatus"]]

    @abstractmethod
    def payloads(self) -> list[Any]: ...

    @abstractmethod
    def scope(self) -> dict[str, Any]: ...


class Stream(Client):
    """By server-sent events."""

    def __init__(self) -> None:
        super().__init__()
        self.coming.put_nowait({"type": "http.request", "body": BODY.encode()})

    def scope(self) -> dict[str, Any]:
        headers = [(b"content-type", b"application/json"), (b"accept", b"text/event-stream")]
        return {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers, "state": {}}

    def payloads(self) -> list[Any]:
        text = b"".join(message.get("body", b"") for message in self.sent).decode()
        lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
        return [json.loads(line) for line in lines]


class Socket(Client):
    """By a WebSocket, with an id that has to be escaped."""

    ID = 'the "one"'

    def __init__(self) -> None:
        super().__init__()
        self.coming.put_nowait({"type": "websocket.connect"})
        subscribe = {"type": "subscribe", "id": self.ID, "payload": json.loads(BODY)}
        for message in ({"type": "connection_init"}, subscribe):
            self.coming.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    def scope(self) -> dict[str, Any]:
        subprotocols = ["graphql-transport-ws"]
        return {"type": "websocket", "path": "/", "query_string": b"", "headers": [], "subprotocols": subprotocols}

    def payloads(self) -> list[Any]:
        heard = [json.loads(message["text"]) for message in self.sent if message["type"] == "websocket.send"]
        assert all(message["id"] == self.ID for message in heard[1:])
        return [message["payload"] for message in heard if message["type"] == "next"]


class Watched(Subscription):
    """Counts the batches that the reader was woken for."""

    taken = 0

    async def __anext__(self) -> Batch:
        batch = await super().__anext__()
        Watched.taken += 1
        return batch


class WatchedFeed:
    """A feed whose readers are counted when they are woken."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        Watched.taken = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._feed, name)

    def subscribe(self, **asked: Any) -> Subscription:
        subscription = self._feed.subscribe(**asked)
        return Watched(subscription._batches, subscription.subscriber)


def endpoint_of(api: Api) -> GraphQLEndpoint:
    async def context(_: Any) -> Context:
        return api.context()

    return GraphQLEndpoint(build_schema(schedules=True), context, refresh=Context.fresh)


@asynccontextmanager
async def subscribed(api: Api, *clients: Client) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Clients at the tail of the log, and the task that serves each."""
    endpoint, before = endpoint_of(api), api.services.feed.live
    serving = [asyncio.create_task(endpoint(each.scope(), each.receive, each.send)) for each in clients]
    try:
        await until(lambda: api.services.feed.live == before + len(clients))
        yield serving
    finally:
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@pytest.mark.parametrize("kind", [Stream, Socket])
async def test_one_event_is_executed_once_for_all_and_wakes_nobody(api: Api, kind: Callable[[], Client]) -> None:
    # given a hundred and fifty clients that wait
    api, runs = counted(api, feed=WatchedFeed(api.services.feed))
    clients = [kind() for _ in range(150)]
    async with subscribed(api, *clients):
        # when two events come, one after the other
        for number in (1, 2):
            await fired(api)
            await until(lambda number=number: all(len(each.cursors) == number for each in clients))  # type: ignore[misc]

    # then each was executed once, and all were told the same in the same order
    assert runs.calls == 2
    assert Watched.taken == 0
    assert [each.payloads() for each in clients] == [clients[0].payloads()] * 150


@pytest.mark.fault("F27")
@pytest.mark.parametrize("kind", [Stream, Socket])
async def test_one_who_stalls_holds_up_nobody_and_is_told_all_in_the_end(
    api: Api, database_url: str, kind: Callable[[], Client]
) -> None:
    # given clients that wait at the tail, with little room for those who are slow
    await fired(api)
    async with staged(database_url, queue_limit=10) as stage, connected(database_url) as connection:
        quick, stalled = kind(), kind()
        async with subscribed(api.swapped(feed=stage.feed), quick, stalled):
            # when one stops to read in the middle of a message, while many events come
            stalled.reads.clear()
            count = 0
            for more in (1, 1, 8, 30, 150):
                await connection.execute(COPY, more)
                stage.notifier.poke()
                count += more
                await until(lambda count=count: len(quick.cursors) == count)  # type: ignore[misc]
                assert stage.feed.queued <= 10
            assert stalled.cursors == []

            # then it is told the same events in the same order once it goes on, and what comes then
            stalled.reads.set()
            await until(lambda: len(stalled.cursors) == count)
            await connection.execute(COPY, 1)
            stage.notifier.poke()
            await until(lambda: len(stalled.cursors) == count + 1)
            assert stalled.cursors == quick.cursors
            assert len({*quick.cursors}) == 191


@pytest.mark.parametrize("kind", [Stream, Socket])
async def test_one_who_leaves_while_it_stalls_is_forgotten(api: Api, kind: Callable[[], Client]) -> None:
    # given a client with an event that it does not read
    client = kind()
    async with subscribed(api, client) as (serving,):
        client.reads.clear()
        await fired(api)
        await fired(api)

        # when it leaves
        client.coming.put_nowait({"type": "http.disconnect"} if kind is Stream else {"type": "websocket.disconnect"})
        if kind is Stream:
            client.reads.set()  # as the server does with one that is gone
        await asyncio.wait([serving], timeout=PATIENCE)

        # then nothing is kept for it
        assert serving.done()
        assert api.services.feed.subscribers == 0


async def test_errors_are_told_to_each_with_its_own_request(api: Api) -> None:
    # given streams of a field that fails
    api, attempts = counted(api, "attempts_of")
    attempts.error = RuntimeError("secret")
    query = "subscription { fireStatus { run { attempts { outcome } } } }"
    clients = [Stream(), Stream()]
    for client in clients:
        client.coming.get_nowait()
        client.coming.put_nowait({"type": "http.request", "body": json.dumps({"query": query}).encode()})
    async with subscribed(api, *clients):
        # when an event comes
        await fired(api)
        await until(lambda: all(each.payloads() for each in clients))

    # then it is executed once, and each is given an id of its own to ask about
    assert attempts.calls == 1
    ids = {each.payloads()[0]["errors"][0]["extensions"]["requestId"] for each in clients}
    assert len(ids) == 2
    assert "secret" not in json.dumps([each.payloads() for each in clients])


async def test_the_next_batch_is_begun_before_the_one_before_it_is_there(api: Api, database_url: str) -> None:
    # given more than a batch that a client has missed, and rows that take their time
    after = await api.services.feed.cursor()
    await fired(api)
    async with connected(database_url) as connection:
        await connection.execute(COPY, 150)
    api, runs = counted(api)
    runs.go_on.clear()
    client = Stream()
    client.coming.get_nowait()
    query = DOCUMENT.replace("fireStatus", f'fireStatus(after: "{after}")')
    client.coming.put_nowait({"type": "http.request", "body": json.dumps({"query": query}).encode()})
    endpoint = endpoint_of(api)
    serving = asyncio.create_task(endpoint(client.scope(), client.receive, client.send))

    # then those of the second are asked for as well
    await until(lambda: runs.calls == 2)
    runs.go_on.set()
    await until(lambda: len(client.cursors) >= 151)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert client.cursors == sorted({*client.cursors}, key=client.cursors.index)
    assert runs.calls == len(client.payloads())


class Passed:
    """A middleware that keeps the events that pass it, with or without the direct way to the connection."""

    def __init__(self, app: ASGIApp, *, direct: bool = True) -> None:
        self._app = app
        self._direct = direct
        self.events: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._direct:
            scope.pop("extensions", None)

        async def keep(message: Message) -> None:
            if "fireStatus" in (message.get("text") or message.get("body", b"").decode()):
                self.events.append(message)
            await send(message)

        await self._app(scope, receive, keep)


@asynccontextmanager
async def served(api: Api) -> AsyncIterator[Served]:
    async with serving(around=lambda _: endpoint_of(api)) as server:
        yield server


@pytest.mark.parametrize("direct", [True, False])
async def test_events_go_past_the_middlewares_unless_one_has_closed_the_way(api: Api, *, direct: bool) -> None:
    # given a stream and a socket that wait at a real server
    passed = Passed(endpoint_of(api), direct=direct)
    headers = {"content-type": "application/json", "accept": "text/event-stream"}
    async with (
        serving(around=lambda _: passed) as server,
        server.socket() as web_socket,
        server.http.stream("POST", server.url, content=BODY, headers=headers) as stream,
    ):
        await web_socket.subscribe(DOCUMENT)
        await until(lambda: api.services.feed.live == 2)

        # when an event comes
        await fired(api)

        # then both are told the same, by the direct way where there is one
        message, lines = await web_socket.hear(), stream.aiter_lines()
        told = [await anext(lines), await anext(lines)]
        assert message["type"] == "next"
        assert told[0] == "event: next"
        assert json.loads(told[1].removeprefix("data: ")) == message["payload"]
        assert len(message["payload"]["data"]["fireStatus"]) == 1
        assert len(passed.events) == (0 if direct else 2)


@pytest.mark.fault("F27")
async def test_one_who_stalls_at_a_real_server_holds_up_nobody_and_is_told_all_in_the_end(
    api: Api, database_url: str
) -> None:
    # given two streams of large events
    await fired(api)
    repeated = " ".join(f"again{number:0>80}: cursor" for number in range(12))
    body = json.dumps({"query": DOCUMENT.replace("cursor", f"cursor {repeated}")}).encode()
    async with staged(database_url, queue_limit=10) as stage, connected(database_url) as connection:
        passed = Passed(endpoint_of(api.swapped(feed=stage.feed)))
        async with serving(around=lambda _: passed) as server, streams(server.port, body, 2) as (quick, stalled):
            await until(lambda: stage.feed.live == 2)

            # when one does not read while many events come
            stalled[1].transport.pause_reading()  # type: ignore[attr-defined]
            told: list[str] = []
            for more in (1, 1, 100, 300, 600, 1000):
                await connection.execute(COPY, more)
                stage.notifier.poke()
                told += await cursors(quick, more)
                assert stage.feed.queued <= 10

            # then what had no room went the way on which it can wait, and nothing is lost or told twice
            assert passed.events
            stalled[1].transport.resume_reading()  # type: ignore[attr-defined]
            assert await cursors(stalled, len(told)) == told
            assert len({*told}) == 2002


@asynccontextmanager
async def streams(port: int, body: bytes, count: int) -> AsyncIterator[list[Connection]]:
    """Streams over connections with little room."""
    head = (
        "POST / HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            narrow = socket.socket()
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            narrow.setblocking(False)
            await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", port))
            reader, writer = await asyncio.open_connection(sock=narrow, limit=2**20)
            stack.callback(writer.close)
            writer.write(head.encode() + body)
            opened.append((reader, writer))
        yield opened


async def cursors(connection: Connection, count: int) -> list[str]:
    """Those of the next so many events."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            await connection[0].readuntil(b"data: ")
            events = json.loads(await connection[0].readline())["data"]["fireStatus"]
            found += [event["cursor"] for event in events]
    return found


async def test_real_streams_and_sockets_are_told_together(api: Api) -> None:
    # given ten of each at a real server
    runs = Counted(api.services.runs, "get_many")
    api = api.swapped(runs=runs)
    async with served(api) as server, AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(server.socket()) for _ in range(10)]
        for socket in sockets:
            await socket.subscribe(DOCUMENT)
        headers = {"content-type": "application/json", "accept": "text/event-stream"}
        asking = [server.http.stream("POST", server.url, content=BODY, headers=headers) for _ in range(10)]
        streams = [(await stack.enter_async_context(each)).aiter_lines() for each in asking]
        await until(lambda: api.services.feed.live == 20)

        # when three events come, one after the other
        told: list[list[Any]] = []
        for _ in range(3):
            await fired(api)
            heard = [(await socket.hear())["payload"] for socket in sockets]
            for stream in streams:
                async for line in stream:
                    if line.startswith("data: "):
                        heard.append(json.loads(line.removeprefix("data: ")))
                        break
            told.append(heard)

    # then all have heard the same of each, which was executed once for streams and sockets together
    assert [heard == [heard[0]] * 20 for heard in told] == [True] * 3
    assert len({heard[0]["data"]["fireStatus"][0]["cursor"] for heard in told}) == 3
    assert runs.calls == 3
