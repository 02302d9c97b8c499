"""What the tests of the feed share: writing events, running its tasks, and breaking the connection to Postgres."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from services.database import Database
from services.feed import Feed
from services.feed_batch import BATCH
from services.feed_event import Event, EventKind
from services.feed_subscription import Subscription
from services.tables import events
from services.wakeup import Listener, Notifier
from tests.waiting import PATIENCE

ACCOUNT = "acme"
LISTENERS = """
    SELECT pid FROM pg_stat_activity
    WHERE application_name = 'nextfire listener' AND datname = current_database()
"""


async def write(connection: AsyncConnection, *numbers: int, account_id: str = ACCOUNT) -> None:
    """Append events that are told apart by their number."""
    for number in numbers:
        await connection.execute(
            events.insert().inline(),
            {"account_id": account_id, "kind": EventKind.FIRE_STATUS, "payload": {"number": number}},
        )


async def commit(database: Database, *numbers: int, account_id: str = ACCOUNT) -> None:
    """Append events in a transaction of their own."""
    async with database.transaction() as connection:
        await write(connection, *numbers, account_id=account_id)


async def committed(database_url: str) -> list[int]:
    """The numbers of all events in the order of the log, as Postgres has them now."""
    query = "SELECT (payload ->> 'number')::int AS number FROM events ORDER BY xid, id"
    async with connected(database_url) as connection:
        return [row["number"] for row in await connection.fetch(query)]


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return as soon as the condition holds. Raises TimeoutError when that takes longer."""
    async with asyncio.timeout(seconds):
        # The conditions are the product's, which has no event for each of them.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def end_listeners(database_url: str) -> int:
    """Kill the backends that listen. How many there were."""
    async with connected(database_url) as connection:
        ended = await connection.fetch(f"SELECT pg_terminate_backend(pid) FROM ({LISTENERS}) AS listeners")
        return len(ended)


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection that has nothing to do with the product's own."""
    connection = await asyncpg.connect(database_url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def opened(database_url: str, *, pool_size: int = 10, readers: int = 3) -> AsyncIterator[Database]:
    """A pool for transactions, and the readers beside it, closed at the end."""
    database = Database(database_url, pool_size=pool_size + readers, readers=readers)
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def in_background(*coroutines: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    """Tasks that run until the end of the block; one that ends before that fails the test."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
        assert not [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Stage:
    """A process with a feed, and a database to write to."""

    url: str
    database: Database
    reading: Database
    """The feed's own."""
    listener: Listener
    notifier: Notifier
    feed: Feed

    def subscribe(
        self, after: str | None, *, account_id: str = ACCOUNT, matches: Callable[[Event], bool] = lambda _: True
    ) -> Subscription:
        return self.feed.subscribe(account_id=account_id, kind=EventKind.FIRE_STATUS, matches=matches, after=after)

    async def commit(self, *numbers: int, account_id: str = ACCOUNT) -> None:
        await commit(self.database, *numbers, account_id=account_id)
        self.notifier.poke()


@asynccontextmanager
async def staged(
    database_url: str, *, feed_url: str | None = None, feed_pool: int = 3, queue_limit: int = 1_000
) -> AsyncIterator[Stage]:
    async with (
        opened(database_url, pool_size=16) as writing,
        opened(feed_url or database_url, pool_size=1, readers=feed_pool) as reading,
    ):
        listener = Listener(feed_url or database_url, health_interval=timedelta(milliseconds=100))
        notifier = Notifier(writing, listener)
        feed = Feed(reading, listener, queue_limit=queue_limit)
        async with in_background(listener.run(), notifier.run(), feed.run()):
            await until(lambda: listener.connected)
            yield Stage(database_url, writing, reading, listener, notifier, feed)


def number(event: Event) -> int:
    return int(event.payload["number"])


async def read(batches: Subscription, count: int) -> list[int]:
    """The next `count` numbers, or a few more where the last batch holds more."""
    numbers: list[int] = []
    async with asyncio.timeout(PATIENCE):
        while len(numbers) < count:
            batch = await anext(batches)
            assert 1 <= len(batch) <= BATCH
            numbers += [number(event) for event in batch]
    return numbers


class Proxy:
    """A way to Postgres that can freeze: bytes stop, and neither side is told."""

    def __init__(self, database_url: str, *, port: int = 0) -> None:
        self._target = urlsplit(database_url)
        self._open = [asyncio.Event()]
        self._open[-1].set()
        self._pipes: set[asyncio.Task[None]] = set()
        self.port = port
        self.connections = 0

    @property
    def url(self) -> str:
        """The URL of the same database, through this proxy."""
        user, _, _ = self._target.netloc.rpartition("@")
        return urlunsplit(self._target._replace(netloc=f"{user}@127.0.0.1:{self.port}"))

    def freeze(self) -> None:
        """Freeze the connections that are open now for good; new ones work."""
        self._open[-1].clear()
        self._open.append(asyncio.Event())
        self._open[-1].set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for pipe in self._pipes:
                pipe.cancel()
            await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        is_open = self._open[-1]
        async with AsyncExitStack() as stack:
            stack.callback(writer.close)
            server = await asyncio.open_connection(self._target.hostname, self._target.port)
            stack.callback(server[1].close)
            pipes = [
                asyncio.create_task(_pipe(reader, server[1], is_open)),
                asyncio.create_task(_pipe(server[0], writer, is_open)),
            ]
            self._pipes.update(pipes)
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
            for pipe in pipes:
                pipe.cancel()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_open: asyncio.Event) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            await is_open.wait()
            writer.write(data)
            await writer.drain()
