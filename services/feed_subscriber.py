"""One subscriber of the feed: a bounded queue between the tailer, which never waits, and a reader who may be
slow.

A reader that waits can have itself represented: what comes is then lent to its `Courier`, and the reader goes on
waiting. To wake the task of each of a thousand readers takes longer than all else that is done for them.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto

from services.feed_batch import Batch
from services.feed_event import Cursor, Event, EventKind

Courier = Callable[[Batch], bool]
"""Delivers a batch for a reader who waits. True where that is done; else it says later by `settle` how it went."""


class State(Enum):
    DETACHED = auto()
    """Reads the log alone; nothing is queued."""
    CATCHING_UP = auto()
    """Reads the log, while what is new is queued already."""
    LIVE = auto()
    """Has read the log up to where its queue begins."""


class Subscriber:
    """Its place in the log, and the batches of events behind that place that wait to be taken.

    The tailer calls `offer` for every batch of events that match; all else is the reader's.
    """

    __slots__ = (
        "_lent",
        "_queue",
        "_queue_limit",
        "_returned",
        "_waiting",
        "account_id",
        "courier",
        "kind",
        "matches",
        "position",
        "queued",
        "state",
    )

    def __init__(self, account_id: str, kind: EventKind, matches: Callable[[Event], bool], queue_limit: int) -> None:
        self.account_id = account_id
        self.kind = kind
        self.matches = matches
        self.position: Cursor | None = None
        self.state = State.DETACHED
        self.queued = 0
        """How many events wait to be taken; never more than the limit."""
        self._queue_limit = queue_limit
        self.courier: Courier | None = None
        self._queue: deque[Batch] | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._lent: Batch | None = None
        """What the courier has: until that is settled, nobody else is given anything."""
        self._returned: Batch | None = None
        """What the courier did not deliver: before all else that is taken."""

    @property
    def group(self) -> tuple[str, EventKind, Callable[[Event], bool]]:
        """Equal for those who are offered the same batches."""
        return self.account_id, self.kind, self.matches

    @property
    def waits(self) -> bool:
        """Whether the reader waits in `take`, and has neither been woken nor cancelled."""
        return self._waiting is not None and not self._waiting.done()

    def offer(self, batch: Batch, before: Cursor | None) -> None:
        """Queue the batch; `before` is the place of the event before it in the log, whether that matches or not.

        Where the queue is full, the subscriber is detached and its queue is given up: it will read the log
        instead.
        """
        new = batch.after(self._queue[-1].last if self._queue else self.position)
        count = len(new.events)
        if not count:
            return
        if self.queued + count > self._queue_limit:
            self.detach()
            return
        if not self._queue and self._lent is None and self._may_lend(new):
            self._lend(new)
            return
        if self.state is State.LIVE and not self.queued and self.position is not None and before is not None:
            # All up to here was offered and did not match: reading the log again need not look at it.
            self.position = max(self.position, before)
        if self._queue is None:
            self._queue = deque()
        self._queue.append(new)
        self.queued += count
        self._wake()

    def attach(self) -> None:
        """From now on, what is offered is queued."""
        self.state = State.CATCHING_UP

    def detach(self) -> None:
        """Give up the queue: what is behind `position` has to be read from the log."""
        self.state = State.DETACHED
        self._queue, self.queued = None, 0
        self._wake()

    def go_live(self) -> None:
        """The log was read up to `position`, by a snapshot taken after `attach`: only what is behind it is
        still to come."""
        if self.state is State.DETACHED:
            return
        self.state = State.LIVE
        kept = [new for batch in self._queue or () if (new := batch.after(self.position))]
        self._queue, self.queued = deque(kept) if kept else None, sum(map(len, kept))

    async def take(self) -> Batch | None:
        """Wait for the next batch; None when the subscriber was detached."""
        while self.state is State.LIVE and not self._queue and self._returned is None:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        if self._returned is not None:
            batch, self._returned = self._returned, None
            return batch
        return self._next() if self._queue else None

    def settle(self, *, delivered: bool) -> None:
        """What was lent is delivered, or the reader is to take it after all."""
        batch, self._lent = self._lent, None
        if not delivered:
            self._returned = batch
        while delivered and self._queue and self._may_lend(self._queue[0]):
            if not self._lend(self._next()):
                return
        if not delivered or self._queue or self.state is not State.LIVE:
            self._wake()

    def _may_lend(self, batch: Batch) -> bool:
        """A part of a batch is for its reader alone, and a reader who is awake takes everything itself."""
        return self.state is State.LIVE and batch.made is not None and self.courier is not None and self.waits

    def _lend(self, batch: Batch) -> bool:
        """Whether it is delivered by now."""
        self._lent, self.position = batch, batch.last
        if self.courier is None or not self.courier(batch):
            return False
        self._lent = None
        return True

    def _next(self) -> Batch:
        queue = self._queue or deque()
        batch = queue.popleft()
        if not queue:
            self._queue = None  # an empty deque is larger than all else of a subscriber
        self.queued -= len(batch)
        self.position = batch.last
        return batch

    def _wake(self) -> None:
        if self._lent is None and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
