"""One id for everything that a request causes.

The id comes from the caller's `x-request-id` when that is sane, and is made here otherwise. It is echoed in the
answer, told in every log line, and shown in the extensions of a masked error.
"""

import re
import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nextfire.request_ids import request_id, serving
from nextfire.transport.headers import headers_of

HEADER = "x-request-id"
_NAME = HEADER.encode()
_SCOPE_KEY = "nextfire.request_id"
_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}")


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
        given = headers_of(scope).get(HEADER)
        identifier = given if given is not None and _SANE.fullmatch(given) else secrets.token_hex(16)
        header = (_NAME, identifier.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                others = [each for each in message.get("headers", ()) if each[0].lower() != _NAME]
                message["headers"] = [*others, header]
            await send(message)

        scope[_SCOPE_KEY] = identifier
        with serving(identifier):
            await self._app(scope, receive, send_with_id)
