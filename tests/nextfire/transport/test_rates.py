"""Counting what callers spend: in this process, and for several in a real Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from structlog.typing import EventDict

from nextfire.processes import free_port
from nextfire.transport import RateLimit, StoreNotUsable
from nextfire.transport.rates import Windows
from nextfire.transport.redis_store import RedisStore
from tests.nextfire.redis import Redis, needs_redis, redis, store_at
from tests.waiting import eventually

__all__ = ["redis"]

LONG = timedelta(hours=1)


@asynccontextmanager
async def limit_of(cost: int, window: timedelta = LONG, *, store: str | None = None) -> AsyncIterator[RateLimit]:
    if store is None:
        yield RateLimit(cost, window)
        return
    async with store_at(store) as shared:
        yield RateLimit(cost, window, shared)


async def test_each_caller_has_a_budget_of_its_own() -> None:
    async with limit_of(10) as limit:
        # when
        spent = [await limit.spend("a", 4) for _ in range(3)]

        # then
        assert spent[:2] == [None, None]
        assert spent[2] is not None
        assert 0 < spent[2] <= LONG.total_seconds()
        assert limit.wait("a") is not None
        assert limit.wait("b") is await limit.spend("b", 10) is None


async def test_windows_that_have_ended_are_dropped() -> None:
    # given
    windows = Windows(0.001)
    for number in range(100):
        windows.spend(f"old-{number}", 1)

    # when
    async def dropped() -> bool | None:
        windows.spend("new", 1)
        return True if len(windows) == 1 else None

    # then
    assert await eventually(dropped)


@needs_redis
async def test_processes_count_together_in_redis(redis: Redis) -> None:
    async with limit_of(10, store=redis.url) as one, limit_of(10, store=redis.url) as other:
        # when
        spent = [await one.spend("a", 6), await other.spend("a", 4), await one.spend("a", 1)]

        # then
        assert spent[:2] == [None, None]
        assert spent[2] is not None
        assert 0 < spent[2] <= LONG.total_seconds()
        assert await other.spend("b", 10) is None
        assert await other.spend("a", 1) is not None


@needs_redis
async def test_without_its_store_a_process_counts_for_itself_until_it_is_back(
    redis: Redis, logged: list[EventDict]
) -> None:
    async with limit_of(10, store=redis.url) as limit, limit_of(10, store=redis.url) as other:
        # given
        assert await limit.spend("a", 6) is None

        # when it is gone
        redis.stop()
        spent = [await limit.spend("a", 6), await limit.spend("a", 4), await limit.spend("b", 11)]
        # then nobody is refused for it, the limit holds, and it is told once
        assert spent[:2] == [None, None]
        assert spent[2] is not None
        assert [entry["action"] for entry in logged] == ["rate_limit.store_away"]

        # when it is back
        redis.start()

        async def back() -> bool | None:
            await limit.spend("c", 1)
            return True if logged[-1]["action"] == "rate_limit.store_back" else None

        # then they count together again
        assert await eventually(back)
        assert await limit.spend("d", 10) is None
        assert await other.spend("d", 1) is not None


async def test_a_store_that_was_never_there_stops_nothing(logged: list[EventDict]) -> None:
    async with limit_of(10, store=f"redis://127.0.0.1:{free_port()}/0") as limit:
        assert await limit.spend("a", 10) is None
        assert await limit.spend("a", 1) is not None
    assert [entry["action"] for entry in logged] == ["rate_limit.store_away"]


def test_an_address_of_no_store_is_refused() -> None:
    with pytest.raises(StoreNotUsable):
        RedisStore("nowhere://127.0.0.1")
