"""The direct way to a connection, for what a thousand are sent at a time: no coroutine, and past the middlewares.

Our protocols offer it as an extension of ASGI. It takes whole frames, so that one can be made once for all, and only
where nothing has to be waited for; all else goes by `send`. A middleware that changes what is sent takes the extension
out of the scope.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from weakref import ref

from starlette.types import Scope
from websockets.protocol import State

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

EXTENSION = "nextfire.direct"

Line = Callable[[bytes], bool]
"""Writes a frame at once. False where that cannot be: nothing is written then."""

_SHORT, _LONG = struct.Struct(">BBH"), struct.Struct(">BBQ")


def line_of(scope: Scope) -> Line | None:
    """The direct way to who made the request; None where there is none."""
    extension: dict[str, Callable[[Scope], Line | None]] = scope.get("extensions", {}).get(EXTENSION, {})
    return extension["line"](scope) if extension else None


def chunk(piece: bytes) -> bytes:
    """A piece of a body in chunks: RFC 9112 section 7.1."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def text_frame(*parts: bytes) -> bytes:
    """A message as a server sends it, in one frame: RFC 6455 section 5.2."""
    length = sum(map(len, parts))
    if length < 126:
        head = bytes((0x81, length))
    else:
        head = _SHORT.pack(0x81, 126, length) if length < 1 << 16 else _LONG.pack(0x81, 127, length)
    return b"".join((head, *parts))


def to_bodies(protocol: HttpToolsProtocol) -> dict[object, object]:
    """The extension for the requests of one connection; it does not keep the connection alive."""
    return {"line": partial(_body, ref(protocol))}


def to_socket(protocol: WebSocketsSansIOProtocol) -> dict[object, object]:
    """The extension for a WebSocket; as above."""
    return {"line": partial(_socket, ref(protocol))}


def _body(connection: ref[HttpToolsProtocol], scope: Scope) -> Line | None:
    protocol = connection()
    cycle = protocol.cycle if protocol is not None else None
    # Where the next request has come already, the connection has lost the way to this one.
    return partial(_write_chunk, cycle) if cycle is not None and cycle.scope is scope else None


def _write_chunk(cycle: RequestResponseCycle, framed: bytes) -> bool:
    if cycle.flow.write_paused or cycle.disconnected or not cycle.chunked_encoding or cycle.response_complete:
        return False
    cycle.transport.write(framed)
    return True


def _socket(connection: ref[WebSocketsSansIOProtocol], _: Scope) -> Line | None:
    protocol = connection()
    return partial(_write_frame, protocol) if protocol is not None else None


def _write_frame(protocol: WebSocketsSansIOProtocol, framed: bytes) -> bool:
    if protocol.conn.state is not State.OPEN or protocol.disconnected or not protocol.writable.is_set():
        return False
    protocol.transport.write(framed)
    return True
