"""What every request passes before a route sees it, and every answer on its way out: ids, headers, hosts, CORS."""

from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nextfire.transport.correlation import HEADER, RequestIdMiddleware, request_id_of
from nextfire.transport.masking import BAD_REQUEST, INTERNAL, error_of
from nextfire.transport.origins import ANY
from services.outbound import HostList, literal

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
STRICT_TRANSPORT_SECURITY = "max-age=31536000"
_LOCAL = HostList(frozenset({"localhost", "*.localhost"}))
_READABLE = (HEADER, "retry-after", "allow")


@dataclass(frozen=True)
class Perimeter:
    """Who may ask, and how.

    `hosts` are the names that the server answers to; None for any. Addresses and localhost are always among them,
    since a page cannot make these lead elsewhere. `origins` are the web pages that may use the API, `*` for all.
    `tls` says that browsers reach the server by TLS only.
    """

    hosts: HostList | None = None
    origins: tuple[str, ...] = ()
    tls: bool = False

    def middleware(self) -> list[Middleware]:
        """The outermost first."""
        found = [
            Middleware(RequestIdMiddleware),
            Middleware(SecurityHeaders, tls=self.tls),
            *([Middleware(HostCheck, hosts=self.hosts)] if self.hosts is not None else ()),
        ]
        if self.origins:
            found.append(
                Middleware(
                    CORSMiddleware,
                    allow_origins=self.origins,
                    # A page of any origin at all must not act with what the browser remembers of its user.
                    allow_credentials=ANY not in self.origins,
                    allow_methods=("GET", "POST"),
                    allow_headers=("*",),
                    expose_headers=_READABLE,
                )
            )
        return found


class SecurityHeaders:
    """Gives every HTTP answer the headers that it does not have by itself."""

    def __init__(self, app: ASGIApp, *, tls: bool) -> None:
        self._app = app
        headers = SECURITY_HEADERS | ({"Strict-Transport-Security": STRICT_TRANSPORT_SECURITY} if tls else {})
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message.get("headers", ())
                names = {name.lower() for name, _ in own}
                message["headers"] = [*own, *(header for header in self._headers if header[0] not in names)]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class HostCheck:
    """Answers to known names only.

    A web page can make its own name lead to this machine, and then counts as of the same origin; but it cannot make
    the browser say another name than its own.
    """

    def __init__(self, app: ASGIApp, *, hosts: HostList) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._knows(Headers(scope=scope).getlist("host")):
            await self._app(scope, receive, send)
            return
        message = "This server does not answer to this Host. Its operator can list it in NEXTFIRE_ALLOWED_HOSTS."
        await _refusal(421, BAD_REQUEST, message)(scope, receive, send)

    def _knows(self, given: Iterable[str]) -> bool:
        hosts = [without_port(each) for each in given]
        return len(hosts) == 1 and (
            literal(hosts[0]) is not None or _LOCAL.names_host(hosts[0]) or self._hosts.names_host(hosts[0])
        )


def without_port(host: str) -> str:
    """The host of a Host header."""
    name, colon, port = host.strip().rpartition(":")
    return (
        name if colon and (port.isdecimal() or not port) and (":" not in name or name.endswith("]")) else host.strip()
    )


async def internal_error(request: Request, error: Exception) -> Response:
    """What is left to say where a route broke. It stands outside of the perimeter."""
    name = request_id_of(request.scope)
    structlog.get_logger(__name__).error(
        "a request broke", action="http.broke", request_id=name, error=type(error).__name__
    )
    masked = error_of("Internal error", INTERNAL, requestId=name)
    return JSONResponse({"errors": [masked]}, 500, {**SECURITY_HEADERS, HEADER: name})


def _refusal(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"errors": [error_of(message, code)]}, status)
