"""The feed: what a subscriber is given, and what it costs the others."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from services.errors import CursorExpired, InvalidInput
from services.event_log import EventLog
from services.feed import FAN_OUT_SLICE, TAIL_BATCH
from services.feed_batch import Batch
from services.feed_event import Cursor
from services.feed_subscription import Subscription
from tests.services.feeding import ACCOUNT, Stage, connected, number, read, staged, until, write
from tests.statements import statements

BURST = text("""
    INSERT INTO events (account_id, kind, payload)
    SELECT :account, 'FIRE_STATUS', jsonb_build_object('number', n) FROM generate_series(1, CAST(:many AS int)) AS n
""")


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with staged(database_url) as stage:
        yield stage


async def come_to_the_tail(stage: Stage, *subscribers: Subscription) -> None:
    """Have each wait for an event, so that it gets the last one from its queue rather than from the log."""
    for _ in range(2):
        reading = [asyncio.create_task(read(batches, 1)) for batches in subscribers]
        await until(lambda: stage.feed.subscribers == len(subscribers))
        await stage.commit(0)
        assert await asyncio.gather(*reading) == [[0]] * len(subscribers)


@pytest.mark.fault("F28")
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


@pytest.mark.fault("F27")
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


@pytest.mark.fault("F27")
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


@pytest.mark.fault("F27")
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


@pytest.mark.fault("F27")
async def test_who_comes_or_leaves_while_an_event_is_handed_out_disturbs_nobody(stage: Stage) -> None:
    # given more subscribers than are served at a time
    start = await stage.feed.cursor()
    crowd = [stage.subscribe(start) for _ in range(FAN_OUT_SLICE + 1)]
    reading = [asyncio.create_task(read(batches, 1)) for batches in crowd]
    await until(lambda: stage.feed.live == len(crowd))
    newcomer: list[asyncio.Task[list[int]]] = []

    def come_and_leave(_: Batch) -> bool:
        reading[-1].cancel()
        newcomer.append(asyncio.create_task(read(stage.subscribe(start), 1)))
        asyncio.get_running_loop().call_soon(lambda: crowd[0].subscriber.settle(delivered=False))
        return False

    # when the last one leaves and another one comes once the first one is served
    crowd[0].deliver_by(come_and_leave)
    with capture_logs() as logs:
        await stage.commit(1)

        # then all who are there have the event
        assert await asyncio.gather(*reading[:-1]) == [[1]] * FAN_OUT_SLICE
        assert await newcomer[0] == [1]
    assert reading[-1].cancelled()
    assert (logs, stage.feed.queued) == ([], 0)


async def test_a_burst_that_nobody_waits_for_is_passed_over_and_told_to_who_comes(stage: Stage) -> None:
    many = 8 * TAIL_BATCH
    start = await stage.feed.cursor()
    with statements(stage.reading) as sent:
        # when much happens at once, and nobody is there
        async with stage.database.transaction() as connection:
            await connection.execute(BURST, {"account": ACCOUNT, "many": many})
        stage.notifier.poke()
        # then the tailer does not read it all, but asks where the log ends
        await until(lambda: any("AS always" in statement for statement in sent))
    # and who was there before, and who comes now, miss nothing
    async with aclosing(stage.subscribe(start)) as behind, aclosing(stage.subscribe(None)) as now:
        assert await read(behind, many) == [*range(1, many + 1)]
        first = asyncio.create_task(read(now, 1))
        await until(lambda: stage.feed.live == 1)
        await stage.commit(0)
        assert await first == [0]


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
