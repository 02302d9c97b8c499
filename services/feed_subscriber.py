"""One subscriber of the feed: a bounded queue between the tailer, which never waits, and a reader who may be
slow."""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto

from services.feed_batch import Batch
from services.feed_event import Cursor, Event, EventKind


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

    __slots__ = ("_queue", "_queue_limit", "_waiting", "account_id", "kind", "matches", "position", "queued", "state")

    def __init__(self, account_id: str, kind: EventKind, matches: Callable[[Event], bool], queue_limit: int) -> None:
        self.account_id = account_id
        self.kind = kind
        self.matches = matches
        self.position: Cursor | None = None
        self.state = State.DETACHED
        self.queued = 0
        """How many events wait to be taken; never more than the limit."""
        self._queue_limit = queue_limit
        self._queue: deque[Batch] | None = None
        self._waiting: asyncio.Future[None] | None = None

    @property
    def group(self) -> tuple[str, EventKind, Callable[[Event], bool]]:
        """Equal for those who are offered the same batches."""
        return self.account_id, self.kind, self.matches

    def offer(self, batch: Batch, before: Cursor | None) -> None:
        """Queue the batch; `before` is the place of the event before it in the log, whether that matches or not.

        Where the queue is full, the subscriber is detached and its queue is given up: it will read the log
        instead.
        """
        new = batch.after(self._queue[-1].last if self._queue else self.position)
        if not new:
            return
        if self.queued + len(new) > self._queue_limit:
            self.detach()
            return
        if self.state is State.LIVE and not self.queued and self.position is not None and before is not None:
            # All up to here was offered and did not match: reading the log again need not look at it.
            self.position = max(self.position, before)
        if self._queue is None:
            self._queue = deque()
        self._queue.append(new)
        self.queued += len(new)
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
        while self.state is State.LIVE and not self._queue:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        if not self._queue:
            return None
        batch = self._queue.popleft()
        if not self._queue:
            self._queue = None  # an empty deque is larger than all else of a subscriber
        self.queued -= len(batch)
        self.position = batch.last
        return batch

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
