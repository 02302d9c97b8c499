"""Wake-ups: every consumer gets each of them, few NOTIFYs are sent, and no fault of Postgres ends the listening."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from nextfire.processes import free_port
from services.database import Database
from services.wakeup import CHANNEL, Listener, Notifier, Waker
from tests.services.feeding import LISTENERS, Proxy, connected, end_listeners, in_background, opened, until
from tests.waiting import PATIENCE

LONG = timedelta(seconds=30)
SHORT = timedelta(milliseconds=50)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with opened(database_url) as database:
        yield database


async def test_a_wake_up_between_two_waits_is_not_lost() -> None:
    # given a consumer that was woken twice while it was busy
    waker = Waker()
    waker.wake()
    waker.wake()

    # then the next wait returns at once, and the one after it waits in vain
    assert await waker.wait(LONG) is True
    assert await waker.wait(SHORT) is False


async def test_each_consumer_gets_each_wake_up(database_url: str, database: Database) -> None:
    # given two consumers here, and a process that has no listener
    listener, elsewhere = Listener(database_url), Notifier(database)
    wakers = [listener.waker(), listener.waker()]
    async with in_background(listener.run(), elsewhere.run()):
        await until(lambda: listener.connected)
        assert await woken(wakers)  # for being connected

        # when that process pokes, twice
        for _ in range(2):
            elsewhere.poke()

            # then both wake up each time
            assert await woken(wakers)


async def test_a_poke_wakes_its_own_process_without_postgres() -> None:
    # given no Postgres
    url = "postgresql://nobody:secret@127.0.0.1:1/nothing"
    async with opened(url) as database:
        listener = Listener(url)
        notifier, waker = Notifier(database, listener), listener.waker()

        # when it is poked, then the consumer wakes up
        notifier.poke()
        assert await waker.wait(LONG) is True


async def test_many_pokes_are_one_notify(database_url: str, database: Database) -> None:
    # given somebody who counts
    heard: list[object] = []
    async with connected(database_url) as connection:
        await connection.add_listener(CHANNEL, lambda *message: heard.append(message[-1]))
        notifier = Notifier(database)

        # when a thousand commits are told of at once, and one more later
        for _ in range(1000):
            notifier.poke()
        async with in_background(notifier.run()):
            await until(lambda: len(heard) == 1)
            notifier.poke()
            await until(lambda: len(heard) > 1)

    # then two NOTIFYs were sent, with nothing in them
    assert heard == ["", ""]


@pytest.mark.fault("F26")
async def test_a_killed_listener_connects_again_and_wakes_all(database_url: str, database: Database) -> None:
    # given a listener
    listener, elsewhere = Listener(database_url), Notifier(database)
    waker = listener.waker()
    async with in_background(listener.run(), elsewhere.run()):
        await until(lambda: listener.connected)
        assert await waker.wait(LONG)

        # when its backend is killed
        with capture_logs() as logs:
            assert await end_listeners(database_url) == 1
            await until(lambda: not listener.connected)
            await until(lambda: listener.connected)

        # then it is back, wakes the consumers for what they may have missed, and hears again
        assert await waker.wait(LONG)
        assert [entry["action"] for entry in logs] == ["wakeup.disconnected", "wakeup.connected"]
        elsewhere.poke()
        assert await waker.wait(LONG)


@pytest.mark.fault("F26")
async def test_a_frozen_listener_is_found_and_replaced(database_url: str, database: Database) -> None:
    # given a listener whose connection freezes, which no error tells
    async with Proxy(database_url).running() as proxy:
        listener = Listener(proxy.url, health_interval=SHORT)
        elsewhere, waker = Notifier(database), listener.waker()
        async with in_background(listener.run(), elsewhere.run()):
            await until(lambda: listener.connected)
            assert await waker.wait(LONG)
            proxy.freeze()

            # when it checks its health, then it connects anew, and hears again
            await until(lambda: not listener.connected)
            await until(lambda: listener.connected)
            assert proxy.connections == 2
            assert await waker.wait(LONG)
            elsewhere.poke()
            assert await waker.wait(LONG)


async def test_postgres_may_come_up_later(database_url: str) -> None:
    # given nobody at the address yet
    proxy = Proxy(database_url, port=free_port())
    async with opened(proxy.url) as database:
        listener, notifier = Listener(proxy.url), Notifier(database)
        waker = listener.waker()
        with capture_logs() as logs:
            async with in_background(listener.run(), notifier.run()):
                notifier.poke()
                actions = {"wakeup.disconnected", "wakeup.not_sent"}
                await until(lambda: {entry["action"] for entry in logs} == actions)

                # when Postgres comes up
                async with proxy.running():
                    # then the listener connects, and pokes are sent
                    assert await waker.wait(LONG)
                    assert listener.connected
                    notifier.poke()
                    assert await waker.wait(LONG)
                    await database.close()


async def test_a_cancelled_listener_leaves_no_connection(database_url: str) -> None:
    # given a listener
    listener = Listener(database_url)
    async with in_background(listener.run()):
        await until(lambda: listener.connected)

    # when it was cancelled, then its backend ends
    assert not listener.connected
    async with connected(database_url) as connection, asyncio.timeout(PATIENCE):
        while await connection.fetch(LISTENERS):
            pass


async def woken(wakers: list[Waker]) -> bool:
    return all(await asyncio.gather(*(waker.wait(LONG) for waker in wakers)))
