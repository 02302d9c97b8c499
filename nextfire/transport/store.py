"""The Redis in which several processes count together, and doing without it while it is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final, TypeVar, cast

import structlog
from limits.aio.storage import Storage
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string

PREFIX = "nextfire"
"""What the names of all keys begin with."""
STORE_TIMEOUT = timedelta(milliseconds=250)
"""How long one operation waits for the store at most, each time that it asks it."""
ASK_STORE_AGAIN_AFTER = timedelta(seconds=5)

Answer = TypeVar("Answer")

_log = structlog.get_logger(__name__)


class StoreNotUsable(Exception):
    """The store cannot be used; the message says why."""


class StoreAway(Exception):
    """The store did not answer, or was left alone because it did not a moment ago."""


class Store:
    """A Redis that processes share. While it is away, one question every now and then finds out whether it is back.

    `storage` is that of the library `limits`, and `redis` the client that it has.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: timedelta = STORE_TIMEOUT,
        ask_again_after: timedelta = ASK_STORE_AGAIN_AFTER,
    ) -> None:
        """`address` is redis:// or rediss://. Raises `StoreNotUsable`."""
        self.storage: Final = _storage(address, timeout)
        self.redis: Final[Any] = cast("Any", self.storage).bridge.storage
        self._timeout = timeout.total_seconds()
        self._pause = ask_again_after.total_seconds()
        self._failures: tuple[type[Exception], ...] = (StorageError, TimeoutError, OSError, *_own_errors(self.storage))
        self._away_until: float | None = None

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
