"""What several processes count together in, as those that count see it; `redis_store` has it, with its library."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

PREFIX = "nextfire"
"""What the names of all keys begin with."""

Answer = TypeVar("Answer")


class StoreNotUsable(Exception):
    """The store cannot be used; the message says why."""


class StoreAway(Exception):
    """The store did not answer, or was left alone because it did not a moment ago."""


class SharedBudgets(Protocol):
    """What each caller has spent in all processes within its window."""

    async def spend(self, caller: str, cost: int) -> float | None:
        """Take the cost from the caller's budget. Where it is not there any more: when the window ends, as `time.time`
        tells it."""
        ...


class Store(Protocol):
    """A Redis that processes share."""

    @property
    def redis(self) -> Any:
        """The client of the library `redis`."""
        ...

    def budgets(self, cost: int, seconds: int) -> SharedBudgets:
        """Budgets of so much for windows of so many seconds, to be asked for by `ask`."""
        ...

    async def ask(self, question: Callable[[], Awaitable[Answer]]) -> Answer:
        """What the store answers. Raises `StoreAway` where it does not, in time or at all."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...
