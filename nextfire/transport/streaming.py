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

from starlette.responses import Response
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

    content_type: str
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
        'multipart/mixed; boundary="-"',
        begin=b"---",
        before=b"\r\nContent-Type: application/json; charset=utf-8\r\n\r\n",
        after=b"\r\n---",
        end=b"--\r\n",
        beat=None,
    ),
    # Distinct connections mode of https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md.
    # Lines end in LF: the standard allows CR LF as well, and urql reads LF only.
    SSE: Format(
        "text/event-stream; charset=utf-8",
        begin=b"",
        before=b"event: next\ndata: ",
        after=b"\n\n",
        end=b"event: complete\ndata:\n\n",
        beat=b":\n\n",
    ),
}


class Told(Exception):
    """There is nothing more to tell, or nobody to tell it to."""


class StreamedResponse(Response):
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
        self.status_code = 200
        self.background = None
        self.init_headers(
            {
                "content-type": self._format.content_type,
                "cache-control": "no-store, no-transform",
                "x-accel-buffering": "no",  # nginx would hold small pieces back
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._payloads):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._write(send, self._format.begin + self._first)
            if isinstance(self._payloads, Member):
                self._payloads.write_by(partial(self._begin_telling, send, line_of(scope), self._format.chunk))
            try:
                async with asyncio.TaskGroup() as group:
                    # A task of its own, since each step of this one passes through every middleware.
                    group.create_task(self._told(send))
                    if self._watch is not None:
                        group.create_task(_watched(self._watch))
                    await self._attended(receive, send)
            except* Told:
                pass
            except* Refused as refused:
                await self._tell(send, {"errors": _first(refused).errors})
            await send({"type": "http.response.body", "body": self._format.end, "more_body": False})

    async def _told(self, send: Send) -> NoReturn:
        """Write all payloads. Raises `Told` after the last one, or `Refused`."""
        async for payload in self._payloads:
            await self._tell(send, payload)
            del payload  # the next one may take days
        raise Told

    async def _attended(self, receive: Receive, send: Send) -> NoReturn:
        """Beat while it is quiet. Raises `Told` when the client has left, and reads nothing any more."""
        clock, beat = asyncio.get_running_loop().time, self._format.beat
        while True:
            try:
                async with asyncio.timeout_at(self._written_at + self._heartbeat if beat else None):
                    while (await receive())["type"] != "http.disconnect":
                        pass
                raise Told
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


def _first(group: ExceptionGroup[Refused]) -> Refused:
    first = group.exceptions[0]
    return first if isinstance(first, Refused) else _first(first)
