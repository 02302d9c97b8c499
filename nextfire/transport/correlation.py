"""One id for everything that a request causes.

The id comes from the caller's `x-request-id` when that is sane, and is made here otherwise. It is echoed in the
answer, bound to every log line, and shown in the extensions of a masked error.
"""

import re
import uuid
from contextvars import ContextVar

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-request-id"
_NAME = HEADER.encode()
_SCOPE_KEY = "nextfire.request_id"
_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}")
_current: ContextVar[str] = ContextVar("request_id", default="none")


def request_id() -> str:
    """The id of the request that is being served here, or `none` outside of one."""
    return _current.get()


def request_id_of(scope: Scope) -> str:
    """The id of the request of a scope, outside of the middleware that gave it one as well."""
    return str(scope.get(_SCOPE_KEY, request_id()))


class RequestIdMiddleware:
    """Gives every HTTP request and every socket an id. Inside another one of these it does nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or _SCOPE_KEY in scope:
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        identifier = given if _SANE.fullmatch(given) else uuid.uuid4().hex

        async def send_with_id(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                others = (each for each in message.get("headers", ()) if each[0].lower() != _NAME)
                message["headers"] = [*others, (_NAME, identifier.encode())]
            await send(message)

        scope[_SCOPE_KEY] = identifier
        token = _current.set(identifier)
        # uvicorn may start a request in the context of the one before it on the same connection.
        structlog.contextvars.clear_contextvars()
        bound = structlog.contextvars.bind_contextvars(request_id=identifier)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            structlog.contextvars.reset_contextvars(**bound)
            _current.reset(token)
