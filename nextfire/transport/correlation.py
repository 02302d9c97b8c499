"""One id for everything that a request causes.

The id comes from the caller's `x-request-id` when that is sane, and is made here otherwise. It is echoed in the
answer, told in every log line, and shown in the extensions of a masked error.
"""

import re
import secrets
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nextfire.transport.headers import headers_of

HEADER = "x-request-id"
_NAME = HEADER.encode()
_SCOPE_KEY = "nextfire.request_id"
_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}")
_NONE = "none"
_current: ContextVar[str] = ContextVar("request_id", default=_NONE)


def request_id() -> str:
    """The id of the request that is being served here, or `none` outside of one."""
    return _current.get()


def request_id_of(scope: Scope) -> str:
    """The id of the request of a scope, outside of the middleware that gave it one as well."""
    return str(scope.get(_SCOPE_KEY, request_id()))


def with_request_id(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog: names the request in what is logged while it is served."""
    identifier = _current.get()
    if identifier != _NONE:
        event.setdefault("request_id", identifier)
    return event


class RequestIdMiddleware:
    """Gives every HTTP request and every socket an id. Inside another one of these it does nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or _SCOPE_KEY in scope:
            await self._app(scope, receive, send)
            return
        given = headers_of(scope).get(HEADER)
        identifier = given if given is not None and _SANE.fullmatch(given) else secrets.token_hex(16)
        header = (_NAME, identifier.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                others = [each for each in message.get("headers", ()) if each[0].lower() != _NAME]
                message["headers"] = [*others, header]
            await send(message)

        scope[_SCOPE_KEY] = identifier
        token = _current.set(identifier)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            _current.reset(token)
