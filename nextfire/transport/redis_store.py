"""The Redis in which several processes count together, and doing without it while it is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final, cast

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string

from nextfire.transport.store import PREFIX, Answer, StoreAway, StoreNotUsable

STORE_TIMEOUT = timedelta(milliseconds=250)
"""How long one operation waits for the store at most, each time that it asks it."""
ASK_STORE_AGAIN_AFTER = timedelta(seconds=5)

_log = structlog.get_logger(__name__)


class RedisStore:
    """A `Store`. While it is away, one question every now and then finds out whether it is back.

    `redis` is the client that the library `limits` has.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: timedelta = STORE_TIMEOUT,
        ask_again_after: timedelta = ASK_STORE_AGAIN_AFTER,
    ) -> None:
        """`address` is redis:// or rediss://. Raises `StoreNotUsable`."""
        self._storage = _storage(address, timeout)
        self.redis: Final[Any] = cast("Any", self._storage).bridge.storage
        self._timeout = timeout.total_seconds()
        self._pause = ask_again_after.total_seconds()
        self._failures: tuple[type[Exception], ...] = (StorageError, TimeoutError, OSError, *_own_errors(self._storage))
        self._away_until: float | None = None

    def budgets(self, cost: int, seconds: int) -> RedisBudgets:
        return RedisBudgets(self._storage, cost, seconds)

    async def ask(self, question: Callable[[], Awaitable[Answer]]) -> Answer:
        """What the store answers. Raises `StoreAway` where it does not, in time or at all."""
        if self._is_away():
            raise StoreAway
        try:
            async with asyncio.timeout(self._timeout):
                answer = await question()
        except self._failures as error:
            self._lose(error)
            raise StoreAway from error
        if self._away_until is not None:
            self._away_until = None
            _log.info("The store of the rate limit is back", action="rate_limit.store_back")
        return answer

    async def close(self) -> None:
        """Close its connections."""
        await self.redis.aclose()

    def _is_away(self) -> bool:
        """Whether to do without it."""
        if self._away_until is None:
            return False
        now = time.monotonic()
        if now < self._away_until:
            return True
        self._away_until = now + self._pause
        return False

    def _lose(self, error: Exception) -> None:
        if self._away_until is None:
            _log.warning(
                "The store of the rate limit does not answer; this process counts for itself",
                action="rate_limit.store_away",
                error=type(error).__name__,
            )
        self._away_until = time.monotonic() + self._pause


class RedisBudgets:
    """`SharedBudgets`, by the fixed windows of the library `limits`."""

    def __init__(self, storage: Storage, cost: int, seconds: int) -> None:
        self._item = RateLimitItemPerSecond(cost, seconds, PREFIX)
        self._limiter = FixedWindowRateLimiter(storage)

    async def spend(self, caller: str, cost: int) -> float | None:
        if await self._limiter.hit(self._item, caller, cost=cost):
            return None
        ends, _ = await self._limiter.get_window_stats(self._item, caller)
        return ends


def _storage(address: str, timeout: timedelta) -> Storage:
    seconds = timeout.total_seconds()
    try:
        storage = storage_from_string(
            f"async+{address}",
            implementation="redispy",
            wrap_exceptions=True,
            key_prefix=PREFIX,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
        )
    except ConfigurationError as error:
        raise StoreNotUsable(str(error)) from None
    return cast("Storage", storage)


def _own_errors(storage: Storage) -> tuple[type[Exception], ...]:
    found = storage.base_exceptions
    return found if isinstance(found, tuple) else (found,)
