"""One subscriber: its queue is bounded, and its place in the log never passes an event that it was not given."""

import asyncio
from datetime import UTC, datetime

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
