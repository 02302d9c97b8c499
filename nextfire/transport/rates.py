"""How much the operations of one caller may cost within a window of time.

The counting is that of the library `limits`. Several processes count together in Redis. One that counts for itself,
or cannot reach Redis, has its counters here: the library's own in memory look through all of them at every hit.
"""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import Final

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter

from nextfire.transport.store import PREFIX, Store, StoreAway

_MOST_WAITING = 1_000


class Counters(Storage):
    """The counters of one process, for fixed windows. Those that have ended are dropped once a window."""

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, int] = {}
        self._ends: dict[str, float] = {}
        self._sweep_at = 0.0

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = time.time()
        if self._ends.get(key, 0.0) > now:
            self._counts[key] += amount
        else:
            self._sweep(now, expiry)
            self._ends[key] = now + expiry
            self._counts[key] = amount
        return self._counts[key]

    async def get(self, key: str) -> int:
        return self._counts[key] if self._ends.get(key, 0.0) > time.time() else 0

    async def get_expiry(self, key: str) -> float:
        return self._ends.get(key, time.time())

    async def check(self) -> bool:
        return True

    async def reset(self) -> int | None:
        held = len(self._counts)
        self._counts.clear()
        self._ends.clear()
        return held

    async def clear(self, key: str) -> None:
        self._counts.pop(key, None)
        self._ends.pop(key, None)

    def _sweep(self, now: float, expiry: float) -> None:
        if now < self._sweep_at:
            return
        self._sweep_at = now + expiry
        for key in [key for key, ends in self._ends.items() if ends <= now]:
            del self._ends[key], self._counts[key]


class RateLimit:
    """A budget of cost for each caller and window. Who has spent it waits for the end of the window.

    With a store that is away each process counts for itself until it is back: the limit is then one for each process,
    and no operation fails for it.
    """

    def __init__(self, cost: int, window: timedelta = timedelta(minutes=1), store: Store | None = None) -> None:
        self.cost: Final = cost
        self.window: Final = window
        self._item: RateLimitItem = RateLimitItemPerSecond(cost, math.ceil(window.total_seconds()), PREFIX)
        self._own = FixedWindowRateLimiter(Counters())
        self._store = store
        self._shared = None if store is None else FixedWindowRateLimiter(store.storage)
        self._waiting: dict[str, float] = {}

    def wait(self, caller: str) -> float | None:
        """The seconds until a caller that has spent its budget may ask again; None for any other."""
        ends = self._waiting.get(caller) if self._waiting else None
        if ends is None:
            return None
        if (left := ends - time.time()) > 0:
            return left
        del self._waiting[caller]
        return None

    async def spend(self, caller: str, cost: int) -> float | None:
        """Take the cost from the caller's budget. The seconds to wait, where it is not there any more."""
        shared = self._shared
        if self._store is not None and shared is not None:
            try:
                return await self._store.ask(lambda: self._spend(shared, caller, cost))
            except StoreAway:
                pass
        return await self._spend(self._own, caller, cost)

    async def _spend(self, limiter: FixedWindowRateLimiter, caller: str, cost: int) -> float | None:
        if await limiter.hit(self._item, caller, cost=cost):
            return None
        ends, _ = await limiter.get_window_stats(self._item, caller)
        now = time.time()
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting = {each: until for each, until in self._waiting.items() if until > now}
        self._waiting[caller] = ends
        return max(0.0, ends - now)
