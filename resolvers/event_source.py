"""What a subscription tells: batches of events, and how one of them is shown to a caller.

The two are apart so that a batch can be shown once to all who would be shown the same. Iterated, a source shows each
batch to its own caller alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import aclosing
from typing import Generic, TypeVar

from resolvers.context import Context
from services.feed_batch import Batch
from services.feed_subscription import Subscription

E = TypeVar("E")
T = TypeVar("T")

Show = Callable[[Context, Batch], Awaitable[list[E]]]
"""Reads what the events are about, and leaves out what the caller may not see."""


class Source(Generic[E]):
    """The events of one subscription."""

    def __init__(self, context: Context, batches: Subscription, show: Show[E]) -> None:
        self._context = context
        self.batches = batches
        self.show = show

    @property
    def visibility(self) -> Hashable:
        """Equal for callers who are shown the same."""
        return self._context.visibility

    def mapped(self, make: Callable[[E], T]) -> Source[T]:
        """The same with something else made of each event."""
        show = self.show

        async def shown(context: Context, batch: Batch) -> list[T]:
            return [make(event) for event in await show(context, batch)]

        return Source(self._context, self.batches, shown)

    async def __aiter__(self) -> AsyncIterator[list[E]]:
        async with aclosing(self.batches) as batches:
            async for batch in batches:
                self._context.forget()
                if shown := await self.show(self._context, batch):
                    yield shown
