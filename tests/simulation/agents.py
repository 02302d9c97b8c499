"""Agents of a simulated installation: each answers, refuses, drops and hangs as it is told."""

import asyncio
import random
from enum import StrEnum
from typing import NoReturn

import httpx

from tests.agents.scripted import OK, Received

LATENCY_SECONDS = (0.01, 0.4)
SLOW_SECONDS = (2.0, 12.0)


class Mood(StrEnum):
    """What an agent does with the requests of a while."""

    WELL = "well"
    SLOW = "slow"
    AWAY = "away"
    """Connections are refused."""
    FAILING = "failing"
    BUSY = "busy"
    """429 with Retry-After."""
    REFUSING = "refusing"
    """A JSON-RPC error: the agent's own no."""
    DROPPING_BEFORE = "dropping before the work"
    DROPPING_AFTER = "dropping after the work"
    HANGING_BEFORE = "hanging before the work"
    HANGING_AFTER = "hanging after the work"


class _Sent:
    method = b"POST"


class SimulatedAgent(httpx.AsyncBaseTransport):
    """One agent, reached by whoever holds it as a transport; it keeps the record that a scripted one keeps."""

    def __init__(self, rng: random.Random, *, dedupe: bool) -> None:
        self.dedupe = dedupe
        self.mood = Mood.WELL
        self.requests: list[Received] = []
        self.effects: list[tuple[str, str]] = []
        self.acknowledged: list[tuple[str, str]] = []
        self.faults = 0
        self._rng = rng

    def effects_of(self, method: str) -> list[str]:
        """The keys of the work done by a method, in order, one for each time."""
        return [key for done_by, key in self.effects if done_by == method]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        mood = self.mood
        self.faults += mood is not Mood.WELL
        await asyncio.sleep(self._rng.uniform(*LATENCY_SECONDS))
        if mood is Mood.AWAY:
            raise httpx.ConnectError("refused", request=request)
        await request.extensions["trace"]("http11.send_request_headers.started", {"request": _Sent()})
        received = Received(request.url.path, dict(request.headers), await request.aread())
        self.requests.append(received)
        await asyncio.sleep(self._rng.uniform(*(SLOW_SECONDS if mood is Mood.SLOW else LATENCY_SECONDS)))
        return await self._answered(mood, received, request)

    async def _answered(self, mood: Mood, received: Received, request: httpx.Request) -> httpx.Response:
        match mood:
            case Mood.FAILING:
                return httpx.Response(500)
            case Mood.BUSY:
                return httpx.Response(429, headers={"retry-after": str(self._rng.randint(1, 20))})
            case Mood.REFUSING:
                return _json(received, None, {"code": -32000, "message": "no", "data": None})
            case Mood.DROPPING_BEFORE:
                raise httpx.ReadError("dropped", request=request)
            case Mood.HANGING_BEFORE:
                await _for_ever()
        self._work(received)
        if mood is Mood.DROPPING_AFTER:
            raise httpx.ReadError("dropped", request=request)
        if mood is Mood.HANGING_AFTER:
            await _for_ever()
        await asyncio.sleep(self._rng.uniform(*LATENCY_SECONDS))
        self.acknowledged.append((received.method, received.key))
        return _accepted(received)

    def _work(self, received: Received) -> None:
        work = (received.method, received.key)
        if not (self.dedupe and work in self.effects):
            self.effects.append(work)


async def _for_ever() -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


def _accepted(received: Received) -> httpx.Response:
    """What a scripted agent answers when all is well."""
    answer = OK[received.method]
    content = b""
    for piece in (answer.body,) if answer.pieces is None else answer.pieces:
        assert not isinstance(piece, asyncio.Event)
        content += piece if isinstance(piece, bytes) else piece(received)
    return httpx.Response(200, headers=[*answer.headers], content=content)


def _json(received: Received, result: object, error: object) -> httpx.Response:
    body = {"jsonrpc": "2.0", "result": result, "error": error, "id": received.request["id"]}
    return httpx.Response(200, json=body)


class Agents(httpx.AsyncBaseTransport):
    """The network to all of them, by the port of their address."""

    def __init__(self, *agents: SimulatedAgent) -> None:
        self._agents = {10_001 + number: agent for number, agent in enumerate(agents)}

    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self._agents]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert request.url.port is not None
        return await self._agents[request.url.port].handle_async_request(request)
