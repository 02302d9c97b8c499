"""One subscriber: its queue is bounded, and its place in the log never passes an event that it was not given.

What a courier delivers for one who waits, and what that one takes itself, is together each event once and in order.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from services.feed_batch import BATCH, Batch, batches_of
from services.feed_event import Cursor, Event, EventKind
from services.feed_subscriber import State, Subscriber


def cursor(number: int) -> Cursor:
    return Cursor(1, number, number)


def event(number: int) -> Event:
    return Event(
        cursor=cursor(number),
        account_id="acme",
        kind=EventKind.FIRE_STATUS,
        schedule_id=None,
        run_id=None,
        agent_id=None,
        payload={"number": number},
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def subscriber(limit: int, *, at: int = 0) -> Subscriber:
    """One that reads the even numbers and has just attached."""
    result = Subscriber("acme", EventKind.FIRE_STATUS, lambda event: event.cursor.id % 2 == 0, limit)
    result.position = cursor(at)
    result.attach()
    return result


def offer(target: Subscriber, *numbers: int) -> None:
    """What the tailer does that comes upon each number for itself."""
    for number in numbers:
        if target.matches(event(number)):
            target.offer(Batch([event(number)], {}), cursor(number - 1))


async def taken(source: Subscriber) -> list[int]:
    return [event.cursor.id for event in await source.take() or ()]


async def test_what_was_read_from_the_log_is_dropped_from_the_queue() -> None:
    # given a subscriber that is offered events while it catches up
    reader = subscriber(limit=10)
    offer(reader, 1, 2, 3, 4, 5, 6)

    # when it has read the log up to the fourth
    reader.position = cursor(4)
    reader.go_live()

    # then the sixth is left to take
    assert await taken(reader) == [6]


async def test_events_read_ahead_of_the_tail_are_not_queued() -> None:
    # given a subscriber that has read further than the tailer
    reader = subscriber(limit=10, at=4)
    reader.go_live()

    # when the tailer gets there
    offer(reader, 2, 4, 6)

    # then it is given what is new alone
    assert await taken(reader) == [6]


def test_its_place_stays_while_it_catches_up() -> None:
    # given a subscriber that catches up
    reader = subscriber(limit=10)

    # when events come that lie behind those it has yet to read
    offer(reader, 7, 8)

    # then its place is where it was
    assert reader.position == cursor(0)


def test_its_place_moves_over_what_does_not_match() -> None:
    # given a live subscriber that was offered only what it does not want
    reader = subscriber(limit=1)
    reader.go_live()
    offer(reader, 1, 3, 5, 7)

    # when two events come, and it has room for one
    offer(reader, 8, 9, 10)

    # then it will read the log from the place before the first of them
    assert (reader.state, reader.position, reader.queued) == (State.DETACHED, cursor(7), 0)


async def test_its_place_is_that_of_the_last_event_it_took() -> None:
    # given more events than fit in a batch
    reader = subscriber(limit=BATCH + 1)
    reader.go_live()
    first, second = batches_of([event(number) for number in range(2, 2 * BATCH + 3, 2)])
    reader.offer(first, cursor(0))
    reader.offer(second, first.last)
    assert reader.queued == BATCH + 1

    # when it took one batch, and the queue overflows
    assert await taken(reader) == [*range(2, 2 * BATCH + 1, 2)]
    (third,) = batches_of([event(number) for number in range(2 * BATCH + 4, 4 * BATCH + 4, 2)])
    reader.offer(third, second.last)
    offer(reader, 4 * BATCH + 4)

    # then it will read the log from there
    assert (reader.state, reader.position, reader.queued) == (State.DETACHED, cursor(2 * BATCH), 0)


async def test_of_a_batch_it_takes_what_it_has_not_read_from_the_log() -> None:
    # given a subscriber that is offered a batch while it catches up, and the same again
    reader = subscriber(limit=10)
    (batch,) = batches_of([event(2), event(4), event(6)])
    reader.offer(batch, cursor(0))
    reader.offer(batch, cursor(0))

    # when it has read the log up to the first of the batch
    reader.position = cursor(2)
    reader.go_live()

    # then it takes the others once, and the batch of all is as it was
    assert await taken(reader) == [4, 6]
    assert reader.queued == 0
    assert len(batch) == 3


async def test_a_batch_is_handed_on_as_it_is() -> None:
    # given two subscribers at the tail
    readers = [subscriber(limit=10), subscriber(limit=10)]
    (batch,) = batches_of([event(2), event(4)])
    for reader in readers:
        reader.go_live()
        reader.offer(batch, cursor(0))

    # then both take the very same
    assert [await reader.take() for reader in readers] == [batch, batch]


async def test_one_that_waits_is_told_when_it_is_detached() -> None:
    # given a live subscriber that waits
    reader = subscriber(limit=1)
    reader.go_live()
    waiting = asyncio.create_task(taken(reader))
    await asyncio.sleep(0)

    # when it is detached, then it gets nothing, and can read the log
    reader.detach()
    assert await waiting == []


def test_one_that_was_detached_while_it_caught_up_does_not_go_live() -> None:
    # given a subscriber whose queue overflowed while it read the log
    reader = subscriber(limit=1)
    offer(reader, 2, 4)

    # when it is through with the log
    reader.go_live()

    # then it has to read on
    assert (reader.state, reader.queued) == (State.DETACHED, 0)


class Courier:
    """Delivers at once, unless it is told to take its time."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.at_once = at_once
        self.lent: list[int] = []

    def __call__(self, batch: Batch) -> bool:
        self.lent += [event.cursor.id for event in batch]
        return self.at_once


@asynccontextmanager
async def represented(
    courier: Courier, *, limit: int = 10
) -> AsyncIterator[tuple[Subscriber, asyncio.Task[list[int]]]]:
    """A subscriber at the tail whose reader waits, and who has a courier."""
    reader = subscriber(limit=limit)
    reader.go_live()
    reader.courier = courier
    waiting = asyncio.create_task(taken(reader))
    await asyncio.sleep(0)
    assert reader.waits
    yield reader, waiting
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_what_the_courier_delivers_does_not_wake_the_reader() -> None:
    courier = Courier()
    async with represented(courier) as (reader, waiting):
        # when events come
        offer(reader, 2, 3, 4)
        await asyncio.sleep(0)

        # then the courier has delivered them, and the reader waits as before
        assert courier.lent == [2, 4]
        assert (reader.waits, waiting.done(), reader.queued, reader.position) == (True, False, 0, cursor(4))


async def test_one_batch_is_lent_at_a_time() -> None:
    # given a courier that has not yet delivered what it was lent
    courier = Courier(at_once=False)
    async with represented(courier) as (reader, waiting):
        offer(reader, 2, 4, 6)
        assert (courier.lent, reader.queued) == ([2], 2)

        # when it has, then it is lent what came meanwhile, and the reader still waits
        reader.settle(delivered=True)
        assert courier.lent == [2, 4]
        courier.at_once = True
        reader.settle(delivered=True)
        assert (courier.lent, reader.queued) == ([2, 4, 6], 0)
        await asyncio.sleep(0)
        assert not waiting.done()


async def test_what_is_not_delivered_comes_to_the_reader_first() -> None:
    # given a batch that was lent, and one behind it
    courier = Courier(at_once=False)
    async with represented(courier) as (reader, waiting):
        offer(reader, 2, 4)

        # when the courier gives it back
        reader.settle(delivered=False)

        # then the reader takes both in their order, and what comes while it is awake
        assert await waiting == [2]
        offer(reader, 6)
        assert [await taken(reader), await taken(reader)] == [[4], [6]]
        assert courier.lent == [2]


@pytest.mark.parametrize("delivered", [True, False])
async def test_a_queue_that_overflows_behind_the_courier_is_read_from_the_log(*, delivered: bool) -> None:
    # given a courier that takes its time, and more behind it than there is room for
    async with represented(Courier(at_once=False), limit=1) as (reader, waiting):
        offer(reader, 2, 4, 6)
        await asyncio.sleep(0)
        assert (reader.state, reader.queued, waiting.done()) == (State.DETACHED, 0, False)

        # when it is through, then the reader is told, and its place is before the first that it was not given
        reader.settle(delivered=delivered)
        assert await waiting == ([] if delivered else [2])
        assert reader.position == cursor(3)


async def test_nothing_is_lent_for_a_reader_who_was_cancelled() -> None:
    courier = Courier()
    async with represented(courier) as (reader, waiting):
        waiting.cancel()
        offer(reader, 2)

    assert courier.lent == []


async def test_a_part_of_a_batch_is_left_to_the_reader() -> None:
    # given a reader in the middle of a batch, to which others may be at another place
    courier = Courier()
    async with represented(courier) as (reader, waiting):
        reader.position = cursor(2)
        reader.offer(batches_of([event(2), event(4)])[0], cursor(0))

        # then it takes the rest itself
        assert await waiting == [4]
        assert courier.lent == []


@pytest.mark.parametrize("seed", range(200))
async def test_every_event_is_given_once_and_in_order_however_it_goes(seed: int) -> None:
    # given a reader and a courier who deliver what they get to one client, and a log to fall back on
    chance = random.Random(seed)
    reader = Subscriber("acme", EventKind.FIRE_STATUS, lambda _: True, chance.choice((1, 3, 10)))
    reader.position = cursor(0)
    log: list[int] = []
    told: list[int] = []
    carried: list[Batch] = []

    def carry(batch: Batch) -> bool:
        if chance.random() < 0.5:
            told.extend(event.cursor.id for event in batch)
            return True
        carried.append(batch)
        if chance.random() < 0.3:
            settle(delivered=False)
        return False

    def settle(*, delivered: bool) -> None:
        batch = carried.pop()
        if delivered:
            told.extend(event.cursor.id for event in batch)
        reader.settle(delivered=delivered)

    async def read() -> None:
        while True:
            reader.attach()
            place = reader.position.id if reader.position else 0
            for number in log[place:]:
                told.append(number)
                reader.position = cursor(number)
                if chance.random() < 0.2:
                    await asyncio.sleep(0)
            reader.go_live()
            while reader.state is State.LIVE:
                told.extend(await taken(reader))
                if chance.random() < 0.5:
                    await asyncio.sleep(0)

    reader.courier = carry
    reading = asyncio.create_task(read())
    # when events come while both are at work
    for _ in range(60):
        last = len(log)
        log.extend(range(last + 1, last + 1 + chance.randint(1, 3)))
        if reader.state is not State.DETACHED:
            (batch,) = batches_of([event(number) for number in log[last:]])
            reader.offer(batch, cursor(last))
        if carried and chance.random() < 0.6:
            settle(delivered=chance.random() < 0.7)
        if chance.random() < 0.7:
            await asyncio.sleep(0)
    for _ in range(100):
        if carried:
            settle(delivered=True)
        await asyncio.sleep(0)
    assert not reading.done()
    reading.cancel()

    # then the client was told each once, in order
    assert told == log
