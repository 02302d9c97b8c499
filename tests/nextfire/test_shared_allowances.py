"""Two processes of the API that count together in a real Redis what one caller has."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

from nextfire.embedded import Temporal
from tests.nextfire.redis import Redis, needs_redis, redis
from tests.nextfire.test_keys import FIRES, Caller, Cli
from tests.no_tls import NO_TLS
from tests.programs import api, environment
from tests.waiting import PATIENCE, eventually

__all__ = ["redis"]


async def connects(caller: Caller) -> bool:
    """Whether a socket of the caller's is let in; it is closed again."""
    async with caller.socket() as socket:
        try:
            return bool((await socket.hear())["type"] == "connection_ack")
        except Exception:
            assert (await socket.closed())[0] == 4429
            return False


async def streams(caller: Caller, held: AsyncExitStack) -> bool:
    """Whether a subscription of the caller's is let in; it lasts as long as `held`."""
    client = await held.enter_async_context(httpx.AsyncClient(timeout=PATIENCE, trust_env=False, verify=NO_TLS))
    headers = {"authorization": caller.authorization, "accept": "text/event-stream"}
    request = client.build_request("POST", f"{caller.api.url}/graphql", json={"query": FIRES}, headers=headers)
    response = await client.send(request, stream=True)
    held.push_async_callback(response.aclose)
    assert response.status_code in (200, 429)
    return response.status_code == 200


@needs_redis
async def test_what_a_caller_has_is_counted_over_processes_and_a_killed_one_gives_it_back(
    database_url: str, temporal: Temporal, tmp_path: Path, redis: Redis
) -> None:
    variables = environment(
        database_url,
        temporal.address,
        NEXTFIRE_AUTH="keys",
        NEXTFIRE_RATE_LIMIT_STORE=redis.url,
        NEXTFIRE_MAX_SOCKETS="1",
        NEXTFIRE_MAX_SUBSCRIPTIONS="1",
    )
    cli = Cli(variables)
    key = await asyncio.to_thread(cli.create, "--name", "page", "--role", "viewer")
    another = await asyncio.to_thread(cli.create, "--name", "other", "--role", "viewer")
    with api(tmp_path / "first", variables) as first, api(tmp_path / "second", variables) as second:
        async with AsyncExitStack() as held:
            # given a socket and a stream at the one
            socket = await held.enter_async_context(Caller(first, key).socket())
            assert await socket.hear() == {"type": "connection_ack"}
            assert await streams(Caller(first, key), held)

            # then the other has no room for more of them, and lets others in
            there = Caller(second, key)
            assert not await connects(there)
            assert not await streams(there, held)
            assert await connects(Caller(second, another))

            # when the one is killed
            first.child.send(signal.SIGKILL)

            # then there is room once what it held has run out
            async def room() -> bool | None:
                return True if await connects(there) and await streams(there, held) else None

            assert await eventually(room, look_every=0.5)
            assert not await streams(there, held)


@needs_redis
async def test_while_redis_is_away_each_process_counts_for_itself(
    database_url: str, temporal: Temporal, tmp_path: Path, redis: Redis
) -> None:
    variables = environment(
        database_url,
        temporal.address,
        NEXTFIRE_AUTH="keys",
        NEXTFIRE_RATE_LIMIT_STORE=redis.url,
        NEXTFIRE_MAX_SOCKETS="1",
    )
    key = await asyncio.to_thread(Cli(variables).create, "--name", "page", "--role", "viewer")
    with api(tmp_path / "first", variables) as first, api(tmp_path / "second", variables) as second:
        async with Caller(first, key).socket() as socket:
            # given
            assert await socket.hear() == {"type": "connection_ack"}
            assert not await connects(Caller(second, key))

            # when
            redis.stop()

            # then
            assert await connects(Caller(second, key))
            assert not await connects(Caller(first, key))
