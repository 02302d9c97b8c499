"""What a subscription to the feed gives to who reads it."""

from collections.abc import AsyncGenerator, AsyncIterator

from services.feed_batch import Batch
from services.feed_subscriber import Courier, Subscriber


class Subscription(AsyncIterator[Batch]):
    """The batches, to be iterated once and closed by `aclose`.

    While the iteration waits for what is new, a courier may deliver that in its place.
    """

    __slots__ = ("_batches", "subscriber")

    def __init__(self, batches: AsyncGenerator[Batch, None], subscriber: Subscriber) -> None:
        self._batches = batches
        self.subscriber = subscriber
        """To whom the courier makes known what became of what it was lent."""

    async def __anext__(self) -> Batch:
        return await self._batches.__anext__()

    async def aclose(self) -> None:
        """Leave the feed."""
        self.subscriber.courier = None
        await self._batches.aclose()

    def deliver_by(self, courier: Courier) -> None:
        """From now on, lend the courier what comes while the iteration waits: it then goes on waiting."""
        self.subscriber.courier = courier
