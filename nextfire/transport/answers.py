"""Answers of one body."""

from collections.abc import Mapping
from functools import lru_cache

from starlette.types import Receive, Scope, Send

from nextfire.transport.frames import Payload, encode_json
from nextfire.transport.masking import exception_errors


class JsonAnswer:
    """One payload as JSON, as an ASGI application. What cannot be written is answered as a masked error."""

    __slots__ = ("_body", "_headers", "_status")

    def __init__(
        self, payload: Payload, media_type: str, status: int, headers: Mapping[str, str] | None = None
    ) -> None:
        try:
            body = encode_json(payload)
        except (TypeError, ValueError) as error:
            body, status = encode_json({"errors": exception_errors(error, "graphql.encode")}), 500
        self._body = body
        self._status = status
        self._headers = [
            *((name.encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()),
            (b"content-length", b"%d" % len(body)),
            (b"content-type", _content_type(media_type)),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


@lru_cache
def _content_type(media_type: str) -> bytes:
    return f"{media_type}; charset=utf-8".encode()
