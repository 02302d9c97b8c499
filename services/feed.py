"""The feed behind the subscriptions: one tailer in each process reads every new event once, and hands it to
all who wait, in batches that those who ask for the same events share.

A query per subscriber and event saturates Postgres at 20 subscribers (measured), so the log is read by one
task, and by a subscriber itself only to catch up: after a reconnect, or when it was too slow for its queue.
It attaches to the tail first, reads the log to its end then, and drops what it has seen twice; so nothing
falls between the two.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog

from services.database import Database
from services.errors import CursorExpired, InvalidInput, Unavailable
from services.event_log import SPAN, EventLog, Page
from services.feed_batch import Batch, Stretch, batches_of
from services.feed_event import Cursor, Event, EventKind
from services.feed_subscriber import State, Subscriber
from services.feed_subscription import Subscription
from services.wakeup import Listener

QUEUE_LIMIT = 1_000
"""How many events wait for one subscriber before it has to read them from the log."""

POLL = timedelta(seconds=1)
"""How long a lost wake-up can go unnoticed."""

HELD_BACK_POLL = timedelta(milliseconds=50)
"""The same while events are committed already, and only wait for an older transaction to end: that sends no
wake-up."""

GAP = timedelta(milliseconds=10)
"""Between two reads, so that a burst of commits is read in a few statements."""

TAIL_BATCH = 500
PAGE = 500
"""How many events a subscriber that catches up reads at once; it holds two pages while it is slow."""

CATCH_UP_READS = 2
"""How many subscribers read the log at the same time: a crowd that reconnects must not take the whole
pool."""

FAN_OUT_SLICE = 200
"""After how many events looked at, or subscribers served, the tailer lets others run."""

FIRST_RETRY = timedelta(milliseconds=100)
LAST_RETRY = timedelta(seconds=2)

log = structlog.get_logger()
Answer = TypeVar("Answer")
Group = tuple[str, EventKind, Callable[[Event], bool]]
Place = tuple[str, EventKind, Cursor, int]
"""Where in the log to read on: for an account and kind, behind the cursor, through so many rows."""


class Feed:
    """Subscriptions to the event log. `run` has to be running for them to get anything.

    Give it a `Database` of its own, of `1 + CATCH_UP_READS` readers: then mutations that wait for a lock cannot
    take its connections from it, and clients that reconnect cannot take those of the mutations.
    """

    def __init__(self, database: Database, listener: Listener, *, queue_limit: int = QUEUE_LIMIT) -> None:
        self._log = EventLog(database)
        self._listener = listener
        self._queue_limit = queue_limit
        self._tail: Cursor | None = None
        self._has_tail = asyncio.Event()
        self._subscribers: dict[Subscriber, None] = {}
        self._attached: defaultdict[Group, dict[Subscriber, None]] = defaultdict(dict)
        self._reading = asyncio.Semaphore(CATCH_UP_READS)
        self._next_end: asyncio.Task[Cursor] | None = None
        self._next_stretches: dict[Place, asyncio.Task[Stretch]] = {}
        self._lag = timedelta()
        self._read_at = time.monotonic()
        self._is_failing = False

    @property
    def lag(self) -> timedelta:
        """The age of the oldest committed event that no subscriber was offered yet, for telemetry; zero when
        there is none.

        A writing transaction that stays open anywhere in the cluster makes it grow, and so does Postgres
        being away.
        """
        if not self._is_failing:
            return self._lag
        return self._lag + timedelta(seconds=time.monotonic() - self._read_at)

    @property
    def subscribers(self) -> int:
        """How many subscriptions are open."""
        return len(self._subscribers)

    @property
    def live(self) -> int:
        """How many of them have read the log to its end, and wait for what is new."""
        return sum(subscriber.state is State.LIVE for subscriber in self._subscribers)

    @property
    def queued(self) -> int:
        """How many events are held for subscribers, over all of them: each holds at most its queue limit."""
        return sum(subscriber.queued for subscriber in self._subscribers)

    async def cursor(self) -> str:
        """A cursor at the end of the log: who takes it, reads data, and subscribes after it misses nothing.

        Raises `Unavailable` where Postgres does not answer.
        """
        return (await self._end()).encode()

    def subscribe(
        self, *, account_id: str, kind: EventKind, matches: Callable[[Event], bool], after: str | None
    ) -> Subscription:
        """Every event of the account and kind that matches, once and in order, in batches of 1 to `BATCH`.

        At the tail, subscribers with equal `matches` are handed the same batches. It starts behind the cursor `after`,
        or with None now, which is when the first batch is asked for, and it goes on over outages of Postgres until it
        is closed (`aclose`).

        Raises:
            InvalidInput: the cursor is malformed (at once), or lies in the future (from the iteration).
            CursorExpired: from the iteration: the log does not reach back to the cursor.
        """
        subscriber = Subscriber(account_id, kind, matches, self._queue_limit)
        subscriber.position = None if after is None else Cursor.decode(after)
        return Subscription(self._batches(subscriber), subscriber)

    async def of_run(self, account_id: str, run_id: UUID, *, after: str | None, limit: int) -> list[Event]:
        """What has happened to one run, in order. Raises `InvalidInput` and `CursorExpired` for the cursor."""
        place = None if after is None else Cursor.decode(after)
        return await self._log.of_run(account_id, run_id, after=place, limit=limit)

    async def count_of_run(self, account_id: str, run_id: UUID) -> int:
        return await self._log.count_of_run(account_id, run_id)

    async def run(self) -> None:
        """Be the tailer of this process until cancelled; goes on by itself after an outage of Postgres."""
        waker = self._listener.waker()
        while True:
            try:
                pause = await self._advance()
                self._is_failing = False
            except Exception as error:
                self._on_failure(error)
                pause = POLL
            await asyncio.sleep(GAP.total_seconds())
            if pause:
                await waker.wait(pause)

    async def _advance(self) -> timedelta:
        """Read what is new and hand it out. How long to wait, at most, before the next time."""
        if self._tail is None:
            await self._restart()
            return timedelta()
        try:
            page = await self._log.after(self._tail, limit=TAIL_BATCH)
        except (CursorExpired, InvalidInput):
            log.warning("the event log is another one than before", action="feed.restarted")
            await self._restart()
            return timedelta()
        await self._hand_out(page.events)
        self._lag, self._read_at = page.lag or timedelta(), time.monotonic()
        if not page.is_complete:
            await self._pass_over()
            return timedelta()
        return HELD_BACK_POLL if page.lag is not None else POLL

    async def _pass_over(self) -> None:
        """Go to the end of the log where nobody waits for what is new: those who come read the log themselves."""
        if self._attached:
            return
        end = await self._log.end()
        if not self._attached:  # who has come meanwhile may have read less
            self._tail = end

    async def _restart(self) -> None:
        """Go to the end of the log; the subscribers find out for themselves what that means for their
        cursors."""
        self._tail = await self._log.end()
        self._has_tail.set()
        for subscriber in self._subscribers:
            self._detach(subscriber)

    async def _hand_out(self, events: list[Event]) -> None:
        if not events:
            return
        places = [event.cursor for event in events]
        before = dict(zip(places, [self._tail, *places], strict=False))
        sorted_events: defaultdict[tuple[str, EventKind], list[Event]] = defaultdict(list)
        for event in events:
            sorted_events[event.account_id, event.kind].append(event)
        work = 0
        for group in tuple(self._attached):
            of_account = sorted_events.get(group[:2], [])
            work = await self._pause(work + len(of_account))
            for batch in self._matching(group, of_account):
                work = await self._offer(group, batch, before[batch.first], work)
        self._tail = places[-1]

    async def _pause(self, work: int) -> int:
        """Let others run, where that much was done since they last did. What was done since."""
        if work < FAN_OUT_SLICE:
            return work
        await asyncio.sleep(0)
        return 0

    def _matching(self, group: Group, events: list[Event]) -> list[Batch]:
        try:
            found = [event for event in events if group[2](event)]
        except Exception:
            # Its readers meet the event again in the log, and raise it there: the tailer has others to serve.
            for subscriber in tuple(self._attached.get(group, ())):
                self._detach(subscriber)
            return []
        return batches_of(found)

    async def _offer(self, group: Group, batch: Batch, before: Cursor | None, work: int) -> int:
        """The work since others ran; they may do so in between, for what the first ones need is then under way."""
        attached = self._attached.get(group, {})
        subscribers = tuple(attached)
        for start in range(0, len(subscribers), FAN_OUT_SLICE):
            some = subscribers[start : start + FAN_OUT_SLICE]
            for subscriber in some:
                if subscriber in attached:  # it may have left while others ran
                    subscriber.offer(batch, before)
                    if subscriber.state is State.DETACHED:
                        log.info("a subscriber has to catch up", action="feed.subscriber_detached")
                        self._detach(subscriber)
            work = await self._pause(work + len(some))
        return work

    def _on_failure(self, error: Exception) -> None:
        if isinstance(error, Unavailable):
            if not self._is_failing:
                log.warning("Postgres is away", action="feed.unavailable", error=repr(error.__cause__))
        else:
            log.error("the event log cannot be read", action="feed.failed", exc_info=error)
        self._is_failing = True

    async def _batches(self, subscriber: Subscriber) -> AsyncGenerator[Batch, None]:
        self._subscribers[subscriber] = None
        try:
            # Before the tailer has a place in the log, there may be events that it will never offer.
            await self._has_tail.wait()
            # A subscriber may wait for days: it must not hold the batch that it had last.
            while True:
                self._attach(subscriber)
                async with aclosing(self._from_log(subscriber)) as behind:
                    async for batch in behind:
                        yield batch
                        del batch
                subscriber.go_live()
                while subscriber.state is State.LIVE:
                    if taken := await subscriber.take():
                        yield taken
                    del taken
        finally:
            self._detach(subscriber)
            del self._subscribers[subscriber]

    async def _from_log(self, subscriber: Subscriber) -> AsyncGenerator[Batch, None]:
        """What there is, up to the end of the log; while a page is told, the next one is read."""
        if subscriber.position is None:
            subscriber.position = await self._patiently(self._end)
            return
        reading = self._reading_on(subscriber, subscriber.position, PAGE)
        try:
            span, is_complete = PAGE, False
            while not is_complete:
                stretch = await reading
                page = stretch.page
                subscriber.position, is_complete = page.last, page.is_complete
                if not is_complete:
                    span = _next_span(span, page)
                    reading = self._reading_on(subscriber, page.last, span)
                for batch in stretch.batches(subscriber.matches):
                    yield batch
        finally:
            reading.cancel()

    def _reading_on(self, subscriber: Subscriber, position: Cursor, span: int) -> asyncio.Task[Stretch]:
        account_id, kind, _ = subscriber.group
        return asyncio.create_task(self._patiently(partial(self._stretch, (account_id, kind, position, span))))

    async def _stretch(self, place: Place) -> Stretch:
        """A page of the log, read no earlier than now. Those who wait for the reading share it."""
        if place not in self._next_stretches:
            self._next_stretches[place] = asyncio.create_task(self._read_stretch(place))
        return await asyncio.shield(self._next_stretches[place])

    async def _read_stretch(self, place: Place) -> Stretch:
        account_id, kind, position, span = place
        async with self._reading:
            del self._next_stretches[place]  # for who comes from here on, it may be too early
            page = await self._log.after(position, limit=PAGE, account_id=account_id, kind=kind, span=span)
        return Stretch(page)

    async def _end(self) -> Cursor:
        """The end of the log, read no earlier than now. Those who wait for the reading share it."""
        if self._next_end is None:
            self._next_end = asyncio.create_task(self._read_end())
        return await asyncio.shield(self._next_end)

    async def _read_end(self) -> Cursor:
        async with self._reading:
            self._next_end = None  # for who comes from here on, it may be too early
            return await self._log.end()

    async def _patiently(self, read: Callable[[], Awaitable[Answer]]) -> Answer:
        retry = FIRST_RETRY
        while True:
            try:
                return await read()
            except Unavailable:
                await asyncio.sleep(retry.total_seconds() * random.uniform(0.5, 1))  # noqa: S311 - no secret
                retry = min(retry * 2, LAST_RETRY)

    def _attach(self, subscriber: Subscriber) -> None:
        subscriber.attach()
        self._attached[subscriber.group][subscriber] = None

    def _detach(self, subscriber: Subscriber) -> None:
        subscriber.detach()
        group = self._attached.get(subscriber.group, {})
        group.pop(subscriber, None)
        if not group:
            self._attached.pop(subscriber.group, None)


def _next_span(span: int, page: Page) -> int:
    """How many rows to look through for the next page: few where most are wanted, and many where few are."""
    return max(span // 2, PAGE) if len(page.events) == PAGE else min(span * 2, SPAN)
