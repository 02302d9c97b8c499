"""Payloads as a body that is written piece by piece: multipart/mixed and server-sent events.

A thousand streams are written to for one event, so nothing is made for each payload: no task, no timer. While a stream
waits for an event, the event is written in its place, and its task is not even woken. What ends a stream from outside
interrupts that task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

from starlette.types import Receive, Scope, Send

from nextfire.transport.audiences import Member, Payloads
from nextfire.transport.direct import Line, chunk, line_of
from nextfire.transport.frames import Encoded, Payload, encode_json
from nextfire.transport.masking import exception_errors
from nextfire.transport.negotiation import MULTIPART, SSE
from nextfire.transport.refusal import Refused
from nextfire.transport.stepping import begun

Watch = Callable[[], Awaitable[NoReturn]]


@dataclass(frozen=True, eq=False)
class Format:
    """What stands at the beginning of a stream, around each payload, and at the end."""

    content_type: bytes
    begin: bytes
    before: bytes
    after: bytes
    end: bytes
    beat: bytes | None
    """What keeps a quiet stream alive through proxies."""

    def framed(self, payload: bytes) -> bytes:
        return b"".join((self.before, payload, self.after))

    def chunk(self, payload: bytes) -> bytes:
        """The same as HTTP/1.1 sends it."""
        return chunk(self.framed(payload))


_FORMATS = {
    # Incremental delivery over HTTP, https://github.com/graphql/graphql-over-http/blob/main/rfcs/IncrementalDelivery.md
    # The boundary follows each part at once, since clients act on a part when they see where it ends.
    MULTIPART: Format(
        b'multipart/mixed; boundary="-"',
        begin=b"---",
        before=b"\r\nContent-Type: application/json; charset=utf-8\r\n\r\n",
        after=b"\r\n---",
        end=b"--\r\n",
        beat=None,
    ),
    # Distinct connections mode of https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md.
    # Lines end in LF: the standard allows CR LF as well, and urql reads LF only.
    SSE: Format(
        b"text/event-stream; charset=utf-8",
        begin=b"",
        before=b"event: next\ndata: ",
        after=b"\n\n",
        end=b"event: complete\ndata:\n\n",
        beat=b":\n\n",
    ),
}


class StreamedResponse:
    """A stream of payloads. What produces them is closed when the client leaves, or the server stops.

    `first` is a payload that is there already, and is written with the head of the answer. The stream ends with the
    errors of what `watch` raises, as soon as that does.
    """

    def __init__(
        self,
        payloads: Payloads,
        media_type: str,
        heartbeat: timedelta,
        watch: Watch | None = None,
        *,
        first: Payload | None = None,
    ) -> None:
        self._format = _FORMATS[media_type]
        self._payloads = payloads
        self._first = b"" if first is None else self._framed(first)
        self._heartbeat = heartbeat.total_seconds()
        self._watch = watch
        self._written_at = 0.0
        self._headers = [
            (b"content-type", self._format.content_type),
            (b"cache-control", b"no-store, no-transform"),
            (b"x-accel-buffering", b"no"),  # nginx would hold small pieces back
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._payloads):
            await send({"type": "http.response.start", "status": 200, "headers": self._headers})
            await self._write(send, self._format.begin + self._first)
            if isinstance(self._payloads, Member):
                self._payloads.write_by(partial(self._begin_telling, send, line_of(scope), self._format.chunk))
            try:
                watched = () if self._watch is None else (_watched(self._watch),)
                await _first_end(self._told(send), self._attended(receive, send), *watched)
            except Refused as refused:
                await self._tell(send, {"errors": refused.errors})
            await send({"type": "http.response.body", "body": self._format.end, "more_body": False})

    async def _told(self, send: Send) -> None:
        """Write all payloads. Raises `Refused` where there are no more for a reason."""
        async for payload in self._payloads:
            await self._tell(send, payload)
            del payload  # the next one may take days

    async def _attended(self, receive: Receive, send: Send) -> None:
        """Beat while it is quiet, until the client has left, and reads nothing any more."""
        clock, beat = asyncio.get_running_loop().time, self._format.beat
        while True:
            try:
                async with asyncio.timeout_at(self._written_at + self._heartbeat if beat else None):
                    while (await receive())["type"] != "http.disconnect":
                        pass
                return
            except TimeoutError:
                if beat and clock() >= self._written_at + self._heartbeat:
                    await self._write(send, beat)

    async def _tell(self, send: Send, payload: Payload | Encoded) -> None:
        await self._write(send, self._framed(payload))

    def _begin_telling(
        self, send: Send, line: Line | None, frame: Callable[[bytes], bytes], payload: Encoded
    ) -> Coroutine[Any, Any, None] | None:
        """What is left to be awaited, if anything is."""
        if line is not None and line(payload.framed(frame)):
            self._written_at = asyncio.get_running_loop().time()
            return None
        return begun(self._write(send, self._framed(payload)))

    def _framed(self, payload: Payload | Encoded) -> bytes:
        if isinstance(payload, Encoded):
            return payload.framed(self._format.framed)
        return self._format.framed(encode_json(payload))

    async def _write(self, send: Send, piece: bytes) -> None:
        self._written_at = asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _watched(watch: Watch) -> NoReturn:
    try:
        await watch()
    except Exception as error:
        raise Refused(401, exception_errors(error, "graphql.watch")) from error


async def _first_end(*works: Coroutine[Any, Any, None]) -> None:
    """Do all of it until one ends, which ends the others. Raises what that raises.

    Each is a task, since a step of the caller's own passes through every middleware. A group of tasks would leave
    cycles behind, and all that was answered in them.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()
