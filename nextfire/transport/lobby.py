"""Sockets that were accepted and have not said yet who they are.

Nobody's allowance can be charged for them, and their addresses are often a proxy's. So there is room for a number of
them together, and when that is full the one that has been silent for longest makes room: a client says who it is within
one round trip, and a flood is made of those that never do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Lobby:
    """At most so many sockets that wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[asyncio.Timeout, None] = {}  # in the order of their coming

    def __len__(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[asyncio.Timeout]:
        """A place for the socket of the block, which ends at once, without an error, when it has to make room."""
        try:
            async with asyncio.timeout(None) as place:
                if len(self._waiting) >= self._most:
                    self._end(next(iter(self._waiting)))
                self._waiting[place] = None
                try:
                    yield place
                finally:
                    self.leave(place)
        except TimeoutError:
            if not place.expired():
                raise

    def leave(self, place: asyncio.Timeout) -> None:
        """The socket has said who it is: it does not have to make room any more."""
        self._waiting.pop(place, None)

    def _end(self, place: asyncio.Timeout) -> None:
        del self._waiting[place]
        place.reschedule(asyncio.get_running_loop().time())
