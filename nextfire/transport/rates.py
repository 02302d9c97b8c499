"""How much the operations of one caller may cost within a window of time.

Several processes count together in Redis, by the library `limits`. One that counts for itself, or cannot reach Redis,
does so here: the library's counters in memory look through all of them at every hit.
"""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import Final

from nextfire.transport.store import SharedBudgets, Store, StoreAway

_MOST_WAITING = 1_000


class Windows:
    """What each caller has spent in this process within its window. Those that have ended are dropped once a window."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._spent: dict[str, int] = {}
        self._ends: dict[str, float] = {}
        self._sweep_at = 0.0

    def __len__(self) -> int:
        return len(self._ends)

    def spend(self, caller: str, cost: int) -> tuple[int, float]:
        """What the caller has spent with this, and when its window ends, as `time.time` tells it."""
        now = time.time()
        ends = self._ends.get(caller, 0.0)
        if ends > now:
            self._spent[caller] += cost
        else:
            self._sweep(now)
            ends = self._ends[caller] = now + self._seconds
            self._spent[caller] = cost
        return self._spent[caller], ends

    def _sweep(self, now: float) -> None:
        if now < self._sweep_at:
            return
        self._sweep_at = now + self._seconds
        for caller in [caller for caller, ends in self._ends.items() if ends <= now]:
            del self._ends[caller], self._spent[caller]


class RateLimit:
    """A budget of cost for each caller and window. Who has spent it waits for the end of the window.

    With a store that is away each process counts for itself until it is back: the limit is then one for each process,
    and no operation fails for it.
    """

    def __init__(self, cost: int, window: timedelta = timedelta(minutes=1), store: Store | None = None) -> None:
        self.cost: Final = cost
        self.window: Final = window
        self._own = Windows(seconds := math.ceil(window.total_seconds()))
        self._store = store
        self._shared = None if store is None else store.budgets(cost, seconds)
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
        spent, ends = self._own.spend(caller, cost)
        return None if spent <= self.cost else self._until(ends, caller)

    async def _spend(self, shared: SharedBudgets, caller: str, cost: int) -> float | None:
        ends = await shared.spend(caller, cost)
        return None if ends is None else self._until(ends, caller)

    def _until(self, ends: float, caller: str) -> float:
        now = time.time()
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting = {each: until for each, until in self._waiting.items() if until > now}
        self._waiting[caller] = ends
        return max(0.0, ends - now)
