"""The feed under faults: every subscriber gets every event once and in order, whatever breaks in between."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, aclosing, suppress
from datetime import timedelta
from functools import partial

import pytest
from structlog.testing import capture_logs

from migrations import upgrade
from nextfire.embedded import running_postgres
from nextfire.processes import free_port
from services.errors import Unavailable
from services.event_log import EventLog
from services.feed import Feed
from services.feed_event import EventKind
from services.wakeup import Listener
from tests.services.feeding import (
    ACCOUNT,
    Proxy,
    Stage,
    commit,
    committed,
    end_listeners,
    in_background,
    number,
    opened,
    read,
    staged,
    until,
    write,
)
from tests.waiting import PATIENCE

LAST = -1
"""The number of the event after which a test reads no further."""


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with staged(database_url) as stage:
        yield stage


async def read_to_last(stage: Stage, after: str, chance: random.Random) -> list[int]:
    """All numbers up to LAST, by a client that is often cut off, also within a batch, and comes back."""
    numbers: list[int] = []
    while LAST not in numbers:
        async with aclosing(stage.subscribe(after)) as batches:
            is_connected = True
            while is_connected and LAST not in numbers:
                batch = await anext(batches)
                is_connected = chance.random() > 0.2
                received = [*batch] if is_connected else [*batch][: chance.randint(0, len(batch))]
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
    async with asyncio.timeout(PATIENCE):
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
    async with asyncio.timeout(PATIENCE):
        await write_all(stage, count, chance, poke=poke)
        await persist(lambda: stage.commit(LAST))
        received = await asyncio.gather(*readers)
    expected = await committed(stage.url)
    assert len(expected) > count / 2
    assert [numbers == expected for numbers in received] == [True] * 4
    assert stage.feed.subscribers == 0


@pytest.mark.fault("F28")
async def test_concurrent_writers_and_readers_that_come_and_go(stage: Stage) -> None:
    await everyone_gets_everything(stage, 2_000)


@pytest.mark.fault("F26")
async def test_no_wake_up_arrives_at_all(stage: Stage) -> None:
    await everyone_gets_everything(stage, poke=False)


@pytest.mark.fault("F26")
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


@pytest.mark.fault("F26")
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


@pytest.mark.fault("F14")
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
