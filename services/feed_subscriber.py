"""One subscriber of the feed: a bounded queue between the tailer, which never waits, and a reader who may be
slow."""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto

from services.feed_event import Cursor, Event, EventKind

BATCH = 100
"""The most events that a reader is handed at once."""


class State(Enum):
    DETACHED = auto()
    """Reads the log alone; nothing is queued."""
    CATCHING_UP = auto()
    """Reads the log, while what is new is queued already."""
    LIVE = auto()
    """Has read the log up to where its queue begins."""


class Subscriber:
    """Its place in the log, and the events behind that place that wait to be taken.

    The tailer calls `offer` for every event of the account and kind; all else is the reader's.
    """

    def __init__(self, account_id: str, kind: EventKind, matches: Callable[[Event], bool], queue_limit: int) -> None:
        self.account_id = account_id
        self.kind = kind
        self.matches = matches
        self.position: Cursor | None = None
        self.state = State.DETACHED
        self._queue_limit = queue_limit
        self._queue: deque[Event] = deque()
        self._changed = asyncio.Event()

    @property
    def queued(self) -> int:
        """How many events wait to be taken; never more than the limit."""
        return len(self._queue)

    def offer(self, event: Event, before: Cursor) -> None:
        """Queue the event if it matches; `before` is the place of the one before it in the log.

        Where the queue is full, the subscriber is detached and its queue is given up: it will read the log
        instead.
        """
        if self.position is not None and event.cursor <= self.position:
            return
        try:
            if not self.matches(event):
                return
        except Exception:
            # The reader meets it again in the log, and raises it there: the tailer has others to serve.
            self.detach()
            return
        if self.queued == self._queue_limit:
            self.detach()
            return
        if self.state is State.LIVE and not self._queue and self.position is not None:
            # All up to here was offered and did not match: reading the log again need not look at it.
            self.position = max(self.position, before)
        self._queue.append(event)
        self._changed.set()

    def attach(self) -> None:
        """From now on, what is offered is queued."""
        self.state = State.CATCHING_UP

    def detach(self) -> None:
        """Give up the queue: what is behind `position` has to be read from the log."""
        self.state = State.DETACHED
        self._queue.clear()
        self._changed.set()

    def go_live(self) -> None:
        """The log was read up to `position`, by a snapshot taken after `attach`: only what is behind it is
        still to come."""
        if self.state is State.DETACHED:
            return
        self.state = State.LIVE
        while self._queue and self.position is not None and self._queue[0].cursor <= self.position:
            self._queue.popleft()

    async def take(self) -> list[Event]:
        """Wait for the next events, at most `BATCH`; none when the subscriber was detached."""
        while self.state is State.LIVE and not self._queue:
            self._changed.clear()
            await self._changed.wait()
        batch = [self._queue.popleft() for _ in range(min(BATCH, self.queued))]
        if batch:
            self.position = batch[-1].cursor
        return batch
