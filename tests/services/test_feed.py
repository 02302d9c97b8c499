"""The feed: every subscriber gets every event once and in order, whatever breaks in between."""

import asyncio
import gc
import os
import random
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import pytest
from structlog.testing import capture_logs

from migrations import upgrade
from nextfire.embedded import running_postgres
from nextfire.processes import free_port
from services.database import Database
from services.errors import CursorExpired, InvalidInput, Unavailable
from services.event_log import EventLog
from services.feed import Feed
from services.feed_event import Cursor, Event, EventKind
from services.feed_subscriber import BATCH
from services.wakeup import Listener, Notifier
from tests.services.feeding import (
    ACCOUNT,
    Proxy,
    commit,
    committed,
    connected,
    end_listeners,
    in_background,
    opened,
    until,
    write,
)

LAST = -1
"""The number of the event after which a test reads no further."""


@dataclass
class Stage:
    """A process with a feed, and a database to write to."""

    url: str
    database: Database
    listener: Listener
    notifier: Notifier
    feed: Feed

    def subscribe(
        self, after: str | None, *, account_id: str = ACCOUNT, matches: Callable[[Event], bool] = lambda _: True
    ) -> AsyncGenerator[list[Event], None]:
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
        opened(feed_url or database_url, pool_size=feed_pool) as reading,
    ):
        listener = Listener(feed_url or database_url, health_interval=timedelta(milliseconds=100))
        notifier = Notifier(writing, listener)
        feed = Feed(reading, listener, queue_limit=queue_limit)
        async with in_background(listener.run(), notifier.run(), feed.run()):
            await until(lambda: listener.connected)
            yield Stage(database_url, writing, listener, notifier, feed)


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with staged(database_url) as stage:
        yield stage


def number(event: Event) -> int:
    return int(event.payload["number"])


async def read(batches: AsyncGenerator[list[Event], None], count: int) -> list[int]:
    """The next `count` numbers, or a few more where the last batch holds more."""
    numbers: list[int] = []
    async with asyncio.timeout(30):
        while len(numbers) < count:
            batch = await anext(batches)
            assert 1 <= len(batch) <= BATCH
            numbers += [number(event) for event in batch]
    return numbers


async def come_to_the_tail(stage: Stage, *subscribers: AsyncGenerator[list[Event], None]) -> None:
    """Have each wait for an event, so that it gets the last one from its queue rather than from the log."""
    for _ in range(2):
        reading = [asyncio.create_task(read(batches, 1)) for batches in subscribers]
        await until(lambda: stage.feed.subscribers == len(subscribers))
        await stage.commit(0)
        assert await asyncio.gather(*reading) == [[0]] * len(subscribers)


async def read_to_last(stage: Stage, after: str, chance: random.Random) -> list[int]:
    """All numbers up to LAST, by a client that is often cut off, also within a batch, and comes back."""
    numbers: list[int] = []
    while LAST not in numbers:
        async with aclosing(stage.subscribe(after)) as batches:
            is_connected = True
            while is_connected and LAST not in numbers:
                batch = await anext(batches)
                is_connected = chance.random() > 0.2
                received = batch if is_connected else batch[: chance.randint(0, len(batch))]
                numbers += [number(event) for event in received]
                after = received[-1].cursor.encode() if received else after
    return numbers


async def write_all(stage: Stage, count: int, chance: random.Random, *, poke: bool = True) -> None:
    """Write events by 16 concurrent transactions: some commit late, some not at all."""
    numbers = iter(range(count))

    async def write_some() -> None:
        while mine := [n for n, _ in zip(numbers, range(chance.randint(1, 5)), strict=False)]:
            with suppress(RolledBack):
                await persist(partial(write_one, mine))
            if poke:
                stage.notifier.poke()

    async def write_one(mine: list[int]) -> None:
        async with stage.database.transaction() as connection:
            await write(connection, *mine)
            await asyncio.sleep(chance.choice((0, 0, 0.001, 0.01)))
            if chance.random() < 0.1:
                raise RolledBack

    await asyncio.gather(*(write_some() for _ in range(16)))


class RolledBack(Exception):
    """The writer changed its mind."""


async def persist(act: Callable[[], Awaitable[None]]) -> None:
    """Act until Postgres answers. What was committed without an answer is in the log twice then, which is right."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await act()
            except Unavailable:
                await asyncio.sleep(0.05)


async def everyone_gets_everything(stage: Stage, count: int = 800, *, poke: bool = True) -> None:
    """Writers and readers at once; each reader must end with what the log holds, in the order of the log."""
    chance = random.Random(20)
    start = await stage.feed.cursor()
    readers = [asyncio.create_task(read_to_last(stage, start, random.Random(seed))) for seed in range(4)]
    async with asyncio.timeout(60):
        await write_all(stage, count, chance, poke=poke)
        await persist(lambda: stage.commit(LAST))
        received = await asyncio.gather(*readers)
    expected = await committed(stage.url)
    assert len(expected) > count / 2
    assert [numbers == expected for numbers in received] == [True] * 4
    assert stage.feed.subscribers == 0


async def test_concurrent_writers_and_readers_that_come_and_go(stage: Stage) -> None:
    await everyone_gets_everything(stage, 2_000)


async def test_no_wake_up_arrives_at_all(stage: Stage) -> None:
    await everyone_gets_everything(stage, poke=False)


async def test_the_listener_is_killed_again_and_again(stage: Stage) -> None:
    # given somebody who kills the listener whenever it is back
    kills = 0

    async def kill() -> None:
        nonlocal kills
        while True:
            await until(lambda: stage.listener.connected)
            kills += await end_listeners(stage.url)
            await until(lambda: not stage.listener.connected)

    killing = asyncio.create_task(kill())

    # then nobody misses anything
    await everyone_gets_everything(stage)
    killing.cancel()
    assert kills >= 2


async def test_the_connections_of_the_feed_freeze(database_url: str) -> None:
    # given a feed whose way to Postgres can freeze
    async with (
        Proxy(database_url).running() as proxy,
        staged(database_url, feed_url=proxy.url, feed_pool=1) as stage,
        aclosing(stage.subscribe(await stage.feed.cursor())) as batches,
    ):
        await stage.commit(1)
        assert await read(batches, 1) == [1]

        # when all its connections freeze, the listener's too, and events go on
        before = proxy.connections
        proxy.freeze()
        await stage.commit(2)
        await stage.commit(3)

        # then it finds out, connects anew, and nothing is missing
        assert await read(batches, 2) == [2, 3]
        assert proxy.connections > before


async def test_the_server_is_killed_and_restarted(tmp_path_factory: pytest.TempPathFactory) -> None:
    # given a server of our own
    directory, port = tmp_path_factory.mktemp("killed"), free_port()
    with ExitStack() as servers:
        server = servers.enter_context(running_postgres(directory, port, directory / "log"))
        url = server.url("postgres")
        upgrade(url)
        async with staged(url) as stage:

            async def kill_and_restart() -> None:
                # when it dies as in a crash, under load, and comes back once everybody has noticed
                await until(lambda: stage.feed.subscribers > 0)
                os.kill(server.child.pid, signal.SIGQUIT)
                await until(lambda: server.child.exit_code is not None)
                await until(lambda: not stage.listener.connected and stage.feed.lag > timedelta())
                servers.enter_context(running_postgres(directory, port, directory / "log"))

            # then the subscriptions go on, and nobody misses anything
            with capture_logs() as logs:
                await asyncio.gather(kill_and_restart(), everyone_gets_everything(stage))
    assert "feed.unavailable" in [entry["action"] for entry in logs]


async def test_a_late_commit_is_seen_and_its_wait_shows(stage: Stage) -> None:
    # given a transaction that holds back a later one
    async with aclosing(stage.subscribe(await stage.feed.cursor())) as batches:
        async with stage.database.transaction() as late:
            await write(late, 1)
            await stage.commit(2)

            # then the lag says so
            await until(lambda: stage.feed.lag > timedelta())

        # when it ends, then both events come, in the order of the log
        assert await read(batches, 2) == [1, 2]
        await until(lambda: stage.feed.lag == timedelta())


async def test_a_stalled_subscriber_holds_up_nobody_and_keeps_little(database_url: str) -> None:
    # given a subscriber that takes one event and stalls, and one that goes on
    async with (
        staged(database_url, queue_limit=10) as stage,
        aclosing(stage.subscribe(await stage.feed.cursor())) as stalled,
        aclosing(stage.subscribe(await stage.feed.cursor())) as quick,
    ):
        await come_to_the_tail(stage, stalled, quick)

        # when many events come
        most = 0
        with capture_logs() as logs:
            for first in range(1, 201, 4):
                await stage.commit(*range(first, first + 4))
                assert (await read(quick, 4)) == [*range(first, first + 4)]
                most = max(most, stage.feed.queued)

        # then the quick one had each at once, and the queue never held more than its limit
        assert most <= 10
        assert [entry["action"] for entry in logs] == ["feed.subscriber_detached"]

        # when the stalled one goes on, then it gets all of them, once and in order
        assert await read(stalled, 200) == [*range(1, 201)]
        await stage.commit(201)
        assert await read(stalled, 1) == [201]


async def test_a_queue_that_was_full_is_read_again_from_where_it_was(database_url: str) -> None:
    # given a subscriber of every hundredth event, who stalls
    async with (
        staged(database_url, queue_limit=1) as stage,
        aclosing(stage.subscribe(await stage.feed.cursor(), matches=lambda event: number(event) % 100 == 0)) as batches,
    ):
        await come_to_the_tail(stage, batches)

        # when three that match come among many that do not
        with capture_logs() as logs:
            await stage.commit(*range(1, 301))
            await until(lambda: "feed.subscriber_detached" in [entry["action"] for entry in logs])

        # then it gets the three, and what follows
        assert await read(batches, 3) == [100, 200, 300]
        await stage.commit(400)
        assert await read(batches, 1) == [400]


async def test_subscribers_that_vanish_are_forgotten(stage: Stage) -> None:
    # given three subscribers that wait for events
    start = await stage.feed.cursor()
    await stage.commit(1)
    closed, dropped, cancelled = (stage.subscribe(start) for _ in range(3))
    assert [await read(batches, 1) for batches in (closed, dropped, cancelled)] == [[1]] * 3
    waiting = asyncio.create_task(anext(cancelled))
    assert stage.feed.subscribers == 3

    # when one is closed, one is dropped without a word, and one is cancelled while it waits
    await closed.aclose()
    del dropped
    gc.collect()
    await until(lambda: stage.feed.subscribers == 1)
    waiting.cancel()

    # then nothing is kept for them
    await until(lambda: stage.feed.subscribers == 0)
    await stage.commit(2)
    assert stage.feed.queued == 0


async def test_from_now_on(stage: Stage) -> None:
    # given an event of the past
    await stage.commit(1)

    # when somebody subscribes without a cursor
    async with aclosing(stage.subscribe(None)) as batches:
        reading = asyncio.create_task(read(batches, 1))
        latest = 1
        while not reading.done():
            latest += 1
            await stage.commit(latest)

        # then it gets what comes from now on, without a gap
        numbers = await reading
        assert numbers[0] > 1
        numbers += await read(batches, latest - numbers[-1])
        assert numbers == [*range(numbers[0], latest + 1)]


async def test_accounts_and_filters_are_kept_apart(stage: Stage) -> None:
    # given subscribers of two accounts, one with a filter, live and from the log
    start = await stage.feed.cursor()

    async def check(after: str, first: int) -> None:
        async with (
            aclosing(stage.subscribe(after)) as ours,
            aclosing(stage.subscribe(after, account_id="other")) as theirs,
            aclosing(stage.subscribe(after, matches=lambda event: number(event) % 2 == 0)) as even,
        ):
            reading = [asyncio.create_task(read(batches, n)) for batches, n in ((ours, 4), (theirs, 2), (even, 2))]
            await until(lambda: stage.feed.subscribers == 3)
            for n in range(first, first + 4):
                await stage.commit(n)
                await stage.commit(n + 1000, account_id="other")

            # then each gets its own
            both = [*range(first, first + 4)]
            assert await reading[0] == both
            assert (await reading[1])[:2] == [first + 1000, first + 1001]
            assert await reading[2] == both[::2]

    await check(start, 0)
    await check(await stage.feed.cursor(), 10)


async def test_a_filter_that_fails_hurts_its_own_subscription_alone(stage: Stage) -> None:
    # given a subscriber whose filter fails at an event, and another
    start = await stage.feed.cursor()
    async with (
        aclosing(stage.subscribe(start, matches=lambda event: 1 / number(event) > 0)) as broken,
        aclosing(stage.subscribe(start)) as sound,
    ):
        await stage.commit(1)
        assert await read(broken, 1) == [1]
        assert await read(sound, 1) == [1]

        # when the event comes
        await stage.commit(0)

        # then the one has its error, and the other one goes on
        with pytest.raises(ZeroDivisionError):
            await read(broken, 1)
        assert await read(sound, 1) == [0]


async def test_query_then_subscribe_has_no_hole(stage: Stage) -> None:
    # given concurrent writers
    writing = asyncio.create_task(write_all(stage, 500, random.Random(7)))
    pairs = []
    while not writing.done():
        # when a cursor is taken, and then the data is read
        cursor = await stage.feed.cursor()
        pairs.append((cursor, set(await committed(stage.url))))
    await persist(lambda: stage.commit(LAST))

    # then the data and what comes after the cursor are everything, each time
    everything = set(await committed(stage.url))
    assert len(pairs) > 3
    for cursor, data in pairs[:: len(pairs) // 4]:
        async with aclosing(stage.subscribe(cursor)) as batches:
            numbers: set[int] = set()
            while LAST not in numbers:
                numbers |= {number(event) for event in await anext(batches)}
        assert data | numbers == everything


async def test_a_malformed_cursor_is_refused_at_once(stage: Stage) -> None:
    with pytest.raises(InvalidInput):
        stage.subscribe("\x00' OR 1=1")


async def test_a_cursor_of_the_future_is_refused(stage: Stage) -> None:
    # given a cursor above all transactions
    end = Cursor.decode(await stage.feed.cursor())
    future = Cursor(end.epoch, end.xid + 1_000_000, 1).encode()

    # then the subscription ends with the reason
    with pytest.raises(InvalidInput):
        await anext(stage.subscribe(future))
    assert stage.feed.subscribers == 0


async def test_a_cursor_from_before_the_pruned_part_has_expired(stage: Stage) -> None:
    # given a cursor whose next event was pruned
    old = await stage.feed.cursor()
    await stage.commit(1)
    await stage.commit(2)
    await EventLog(stage.database).prune(timedelta())

    # then it has expired, and the present one has not
    with pytest.raises(CursorExpired):
        await anext(stage.subscribe(old))
    async with aclosing(stage.subscribe(await stage.feed.cursor())) as batches:
        await stage.commit(3)
        assert await read(batches, 1) == [3]


async def test_another_history_ends_the_subscriptions_of_the_old_one(stage: Stage) -> None:
    # given a subscriber
    async with aclosing(stage.subscribe(await stage.feed.cursor())) as batches:
        await stage.commit(1)
        assert await read(batches, 1) == [1]

        # when the log is replaced by another one, as a restore does it
        async with connected(stage.url) as connection:
            await connection.execute("ALTER TABLE events RENAME TO gone; CREATE TABLE events (LIKE gone INCLUDING ALL)")

        # then the subscriber is told to read again
        with pytest.raises(CursorExpired):
            await read(batches, 1)

    # and the feed goes on with the new one
    async with aclosing(stage.subscribe(await stage.feed.cursor())) as batches:
        await stage.commit(2)
        assert await read(batches, 1) == [2]


async def test_a_feed_may_start_before_postgres(database_url: str) -> None:
    # given a feed with nobody at the address yet, and a subscriber
    proxy = Proxy(database_url, port=free_port())
    async with opened(database_url) as database:
        start = (await EventLog(database).end()).encode()
        await commit(database, 1)
    async with opened(proxy.url) as database:
        listener = Listener(proxy.url)
        feed = Feed(database, listener)
        batches = feed.subscribe(account_id=ACCOUNT, kind=EventKind.FIRE_STATUS, matches=lambda _: True, after=start)
        with capture_logs() as logs:
            async with in_background(listener.run(), feed.run()):
                await until(lambda: "feed.unavailable" in [entry["action"] for entry in logs])
                with pytest.raises(Unavailable):
                    await feed.cursor()

                # when Postgres comes up, then the subscriber gets its events
                async with proxy.running(), aclosing(batches):
                    assert await read(batches, 1) == [1]
                    await database.close()
