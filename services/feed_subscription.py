"""What a subscription to the feed gives to who reads it."""

from collections.abc import AsyncGenerator, AsyncIterator

from services.feed_batch import Batch
from services.feed_subscriber import Courier, Subscriber


class Subscription(AsyncIterator[Batch]):
    """The batches, to be iterated once and closed by `aclose`.

    While the iteration waits for what is new, a courier may deliver that in its place.
    """

    __slots__ = ("_batches", "_subscriber")

    def __init__(self, batches: AsyncGenerator[Batch, None], subscriber: Subscriber) -> None:
        self._batches = batches
        self._subscriber = subscriber

    async def __anext__(self) -> Batch:
        return await self._batches.__anext__()

    async def aclose(self) -> None:
        """Leave the feed."""
        self._subscriber.courier = None
        await self._batches.aclose()

    def deliver_by(self, courier: Courier) -> None:
        """From now on, lend the courier what comes while the iteration waits: it then goes on waiting."""
        self._subscriber.courier = courier

    @property
    def waits(self) -> bool:
        """Whether the iteration waits for what is new; not where who iterates was cancelled."""
        return self._subscriber.waits

    def settle(self, *, delivered: bool) -> None:
        """What the courier makes known of what it was lent, unless it delivered that at once."""
        self._subscriber.settle(delivered=delivered)
