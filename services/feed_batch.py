"""Events that are handed on together: one object for all subscribers who are to get the same ones, so that what is
made of them for one can serve the others."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from services.event_log import Page
from services.feed_event import Cursor, Event

BATCH = 100
"""The most events that a reader is handed at once."""


class Batch:
    """1 to `BATCH` events of one account and kind, in the order of the log.

    `made` is the place for what readers make of it. It goes with the batch, which is kept for as long as it waits in
    somebody's queue. In a batch that nobody else has, it is None. `following` is the one that was cut after it from the
    same events, so that something can be made of that already.
    """

    __slots__ = ("events", "following", "made")

    def __init__(self, events: Sequence[Event], made: dict[Any, Any] | None = None) -> None:
        self.events = events
        self.made = made
        self.following: Batch | None = None

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    @property
    def first(self) -> Cursor:
        return self.events[0].cursor

    @property
    def last(self) -> Cursor:
        return self.events[-1].cursor

    def after(self, place: Cursor | None) -> "Batch":
        """The part of it behind the place; a batch without events where there is none."""
        if place is None or self.events[0].cursor > place:
            return self
        return Batch([event for event in self.events if event.cursor > place])


def batches_of(events: Sequence[Event]) -> list[Batch]:
    """The events cut into batches, for several readers."""
    cut = [Batch(events[start : start + BATCH], {}) for start in range(0, len(events), BATCH)]
    for batch, following in pairwise(cut):
        batch.following = following
    return cut


class Stretch:
    """A page of the log for all who waited for it. Those with equal `matches` share its batches."""

    __slots__ = ("_batches", "page")

    def __init__(self, page: Page) -> None:
        self.page = page
        self._batches: dict[Callable[[Event], bool], list[Batch]] = {}

    def batches(self, matches: Callable[[Event], bool]) -> list[Batch]:
        """What matches, in batches. Raises what `matches` raises."""
        if matches not in self._batches:
            self._batches[matches] = batches_of([event for event in self.page.events if matches(event)])
        return self._batches[matches]
