"""What callers hold at a time, counted by several processes in a real Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from structlog.typing import EventDict

from nextfire.processes import free_port
from nextfire.transport.leases import Lease, Leases
from nextfire.wiring import in_background
from tests.nextfire.redis import Redis, needs_redis, redis, store_at
from tests.waiting import eventually

__all__ = ["redis"]

LONG = timedelta(hours=1)
SOON = timedelta(milliseconds=500)
OFTEN = timedelta(milliseconds=50)


@asynccontextmanager
async def process(
    url: str, *, lasting: timedelta = LONG, renewed_every: timedelta | None = None
) -> AsyncIterator[Leases]:
    """The leases of one process, which tends them if it is to renew them."""
    async with store_at(url) as store:
        leases = Leases(store, lasting=lasting, renewed_every=renewed_every or LONG, kept_for=OFTEN)
        async with in_background(*([leases.tend()] if renewed_every else [])):
            yield leases


async def had(leases: Leases, what: str, most: int) -> Lease:
    """One that there must be room for."""
    lease = await leases.take(what, most)
    assert lease is not None
    return lease


@needs_redis
async def test_processes_hold_so_many_together(redis: Redis) -> None:
    async with process(redis.url) as one, process(redis.url) as other:
        # given
        first, second = await had(one, "a", 2), await had(other, "a", 2)

        # when
        refused = await one.take("a", 2), await other.take("a", 2)
        await had(other, "b", 2)

        # then what one of them gives back the other may have
        assert refused == (None, None)
        one.give_back(first)
        await one.give_back_idle()
        await had(other, "a", 2)
        assert await one.take("a", 2) is None
        other.give_back(second)
        await other.give_back_idle()
        await had(one, "a", 2)


@needs_redis
async def test_what_was_just_given_back_is_had_again_without_asking(redis: Redis) -> None:
    async with process(redis.url) as one, process(redis.url) as other:
        # given
        lease = await had(one, "a", 1)
        one.give_back(lease)

        # when: it is still this process's
        refused = await other.take("a", 1)
        again = await had(one, "a", 1)

        # then
        assert (refused, again) == (None, lease)
        assert await one.take("a", 1) is None


@needs_redis
async def test_a_process_gives_back_what_lies_idle(redis: Redis) -> None:
    async with process(redis.url, renewed_every=OFTEN) as one, process(redis.url) as other:
        # when
        one.give_back(await had(one, "a", 1))

        # then
        assert await eventually(lambda: other.take("a", 1))


@needs_redis
async def test_what_a_lost_process_held_runs_out_and_what_others_renew_does_not(redis: Redis) -> None:
    async with (
        process(redis.url, lasting=SOON, renewed_every=OFTEN) as alive,
        process(redis.url, lasting=SOON) as lost,
        process(redis.url) as asking,
    ):
        # given: the one that is renewed is the older one
        await had(alive, "a", 2)
        await had(lost, "a", 2)

        # when
        assert await eventually(lambda: asking.take("a", 2))

        # then
        assert await asking.take("a", 2) is None


@needs_redis
async def test_what_runs_out_leaves_nothing_behind(redis: Redis) -> None:
    async with process(redis.url, lasting=SOON) as lost, store_at(redis.url) as store:
        # given
        await had(lost, "a", 2)
        assert await store.redis.dbsize() == 1

        # then
        async def empty() -> bool | None:
            return True if await store.redis.dbsize() == 0 else None

        assert await eventually(empty)


@needs_redis
async def test_without_its_store_leases_are_had_and_it_learns_of_them_once_it_is_back(
    redis: Redis, logged: list[EventDict]
) -> None:
    async with process(redis.url, renewed_every=OFTEN) as holding, process(redis.url) as other:
        # given one from before, and one that was given back while nobody could be told
        await had(holding, "a", 1)
        gone = await had(holding, "b", 1)

        # when
        redis.stop()
        holding.give_back(gone)
        await had(holding, "a", 1)
        assert logged[0]["action"] == "rate_limit.store_away"
        redis.start()

        # then an empty store is told of both, and of no other
        async def told() -> bool | None:
            lease = await other.take("a", 2)
            if lease is not None:
                other.give_back(lease)
                await other.give_back_idle()
            return True if lease is None else None

        assert await eventually(told)
        await had(other, "b", 1)


async def test_a_store_that_was_never_there_stops_nothing(logged: list[EventDict]) -> None:
    async with process(f"redis://127.0.0.1:{free_port()}/0") as leases:
        lease = await had(leases, "a", 1)
        leases.give_back(lease)
        await leases.give_back_idle()
    assert {entry["action"] for entry in logged} == {"rate_limit.store_away"}


@needs_redis
async def test_all_that_is_held_is_renewed(redis: Redis) -> None:
    async with process(redis.url, renewed_every=OFTEN) as leases, store_at(redis.url) as store:

        async def ends() -> list[float]:
            names = [f"nextfire:held:caller-{number}" for number in range(450)]
            return [(await store.redis.zrange(name, 0, -1, withscores=True))[0][1] for name in names]

        # given more than fit into one message
        for number in range(450):
            await had(leases, f"caller-{number}", 1)
        before = await ends()

        # when
        async def renewed() -> bool | None:
            return True if all(now > then for now, then in zip(await ends(), before, strict=True)) else None

        # then
        assert await eventually(renewed)
