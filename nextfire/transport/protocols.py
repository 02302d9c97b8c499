"""uvicorn's protocols, with an end for clients that are slow to say what they want, and for those that do not leave,
and with a direct way to those that wait for events."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from nextfire.transport import direct


class HttpProtocol(HttpToolsProtocol):
    """Closes a connection on which no request comes, up to the end of its headers, within `header_seconds`.

    uvicorn looks at what is idle between two requests only, and would keep such a connection for ever.
    """

    def __init__(self, *arguments: Any, header_seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._header_seconds = header_seconds
        self._due: asyncio.TimerHandle | None = None
        self._begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions = {direct.EXTENSION: direct.to_bodies(self)}
        self._expect_headers()

    def on_message_begin(self) -> None:
        self._begun = True
        super().on_message_begin()
        self.scope["extensions"] = self._extensions

    def on_headers_complete(self) -> None:
        self._begun = False
        self._expect_nothing()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Most headers come in one piece, and a timer for each request would cost two microseconds.
        if self._begun and self._due is None and not self.transport.is_closing():
            self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        self._due = self.loop.call_later(self._header_seconds, self._too_late)

    def _expect_nothing(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _too_late(self) -> None:
        before = cast("RequestResponseCycle | None", self.cycle)
        if before is None or before.response_complete:
            self.transport.close()
        else:
            self._expect_headers()  # it waits for that answer as well


class SocketProtocol(WebSocketsSansIOProtocol):
    """Waits for `close_seconds` until the other side confirms a close, and then leaves by itself."""

    def __init__(self, *arguments: Any, close_seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.close_timeout = close_seconds

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.handshake_complete:  # it was not refused
            self.scope["extensions"][direct.EXTENSION] = direct.to_socket(self)
