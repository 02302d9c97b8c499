"""Payloads as a body that is written piece by piece: multipart/mixed and server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any, NoReturn

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Send

from nextfire.transport.frames import Payload
from nextfire.transport.masking import exception_errors
from nextfire.transport.negotiation import MULTIPART, SSE
from nextfire.transport.refusal import Refused

Encode = Callable[[AsyncGenerator[Payload, None], timedelta], AsyncGenerator[bytes, None]]


def encode_json(payload: Payload) -> bytes:
    """A payload as JSON. Integers beyond 64 bits, which orjson refuses, are written too."""
    try:
        return orjson.dumps(payload)
    except orjson.JSONEncodeError:
        return json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


class StreamedResponse(StreamingResponse):
    """A stream of payloads. What produces them is closed when the client leaves, or the server stops."""

    def __init__(self, payloads: AsyncGenerator[Payload, None], media_type: str, heartbeat: timedelta) -> None:
        encode, content_type = _ENCODINGS[media_type]
        self._chunks = encode(payloads, heartbeat)
        headers = {
            "content-type": content_type,
            "cache-control": "no-store, no-transform",
            "x-accel-buffering": "no",  # nginx would hold small pieces back
        }
        super().__init__(self._chunks, headers=headers)

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._chunks):
            await super().stream_response(send)


async def _multipart(payloads: AsyncGenerator[Payload, None], _: timedelta) -> AsyncGenerator[bytes, None]:
    """Incremental delivery over HTTP, https://github.com/graphql/graphql-over-http/blob/main/rfcs/IncrementalDelivery.md

    The boundary follows each part at once, since clients act on a part when they see where it ends.
    """
    async with aclosing(payloads):
        yield b"---"
        async for payload in payloads:
            yield b"\r\nContent-Type: application/json; charset=utf-8\r\n\r\n" + encode_json(payload) + b"\r\n---"
        yield b"--\r\n"


async def _events(payloads: AsyncGenerator[Payload, None], heartbeat: timedelta) -> AsyncGenerator[bytes, None]:
    """Distinct connections mode of https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md.

    Lines end in LF: the standard allows CR LF as well, and urql reads LF only. A comment keeps a quiet stream
    alive through proxies.
    """
    async with aclosing(_with_heartbeat(payloads, heartbeat)) as beating:
        async for payload in beating:
            yield b":\n\n" if payload is None else b"event: next\ndata: " + encode_json(payload) + b"\n\n"
    yield b"event: complete\ndata:\n\n"


async def _with_heartbeat(
    payloads: AsyncGenerator[Payload, None], interval: timedelta
) -> AsyncGenerator[Payload | None, None]:
    """The payloads, and None whenever there was none for the interval."""
    upcoming = asyncio.ensure_future(_next(payloads))
    try:
        while True:
            done, _ = await asyncio.wait({upcoming}, timeout=interval.total_seconds())
            if not done:
                yield None
                continue
            payload = upcoming.result()
            if payload is None:
                return
            yield payload
            upcoming = asyncio.ensure_future(_next(payloads))
    finally:
        upcoming.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await upcoming
        await payloads.aclose()


async def watched(
    payloads: AsyncGenerator[Payload, None], watch: Callable[[], Awaitable[NoReturn]]
) -> AsyncGenerator[Payload, None]:
    """The payloads, until `watch` raises: Refused then, with what it raised."""
    watching = asyncio.ensure_future(watch())
    upcoming = asyncio.ensure_future(_next(payloads))
    try:
        while True:
            both: set[asyncio.Future[Any]] = {upcoming, watching}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if error := watching.exception() if watching.done() else None:
                raise Refused(401, exception_errors(error, "graphql.watch"))
            payload = upcoming.result()
            if payload is None:
                return
            yield payload
            upcoming = asyncio.ensure_future(_next(payloads))
    finally:
        for task in (upcoming, watching):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        await payloads.aclose()


async def _next(payloads: AsyncIterator[Payload]) -> Payload | None:
    return await anext(payloads, None)


_ENCODINGS: dict[str, tuple[Encode, str]] = {
    MULTIPART: (_multipart, 'multipart/mixed; boundary="-"'),
    SSE: (_events, "text/event-stream; charset=utf-8"),
}
