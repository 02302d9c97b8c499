"""The HTTP contract of the authorization provider, as Agentex speaks it: who asks, and what they may do.

Only 200 with valid JSON is a yes, and only 403 is a no. Whatever else comes is an outage, so that everything fails
closed: `Unavailable`, or `ProviderMisconfigured` for 404 and 422, by which a provider says that it does not know the
type of the resource. Nothing of a request or an answer is logged but the path and the status.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, NoReturn

import httpx
import structlog

from services.authorization import Operation, Resource, ResourceType
from services.errors import NextfireError, ProviderMisconfigured, Unauthenticated, Unavailable

log = structlog.get_logger(__name__)

TIMEOUT = timedelta(seconds=5)
"""For a whole call, so that one that drips bytes ends too."""
CONNECT_TIMEOUT = timedelta(seconds=2)
CONNECTIONS = 64
KEPT_FOR = timedelta(seconds=2)
"""Shorter than servers keep an idle connection, so that none is used that is just being closed."""
MAX_ANSWER_BYTES = 256 * 1024
MAX_SEARCH_BYTES = 16 * 1024 * 1024
"""Some hundred thousand selectors."""

NOT_FORWARDED = frozenset({"content-length", "host", "connection", "transfer-encoding", "expect", "upgrade"})
"""What belongs to the connection that the request came on, and not to the one who sent it."""

UNKNOWN_TYPE = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
PROVIDER = "The authorization provider"
ADVICE = "The authorization provider does not know them: sign in again."

PrincipalJson = Mapping[str, Any]

# anyio gathers in a group what breaks while it tries one address after another.
_LOST = (httpx.HTTPError, httpx.InvalidURL, OSError, ExceptionGroup)


class Denied(Exception):
    """The provider says no."""


@dataclass(frozen=True, slots=True)
class _Call:
    path: str
    about: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)
    most: int = MAX_ANSWER_BYTES


def http_client() -> httpx.AsyncClient:
    """The HTTP client that `Provider` is made for: close it when the process ends.

    It takes no proxy and no `.netrc` from the environment, and keeps no cookies, which would mix up callers.
    """
    client = httpx.AsyncClient(
        verify=httpx.create_ssl_context(),
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(TIMEOUT.total_seconds(), connect=CONNECT_TIMEOUT.total_seconds()),
        limits=httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEPT_FOR.total_seconds()),
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
    )
    # What the caller did not send is not told of the caller.
    client.headers.clear()
    return client


class Provider:
    """One provider. Safe for any number of concurrent calls; it remembers nothing."""

    def __init__(self, http: httpx.AsyncClient, base_url: str, timeout: timedelta = TIMEOUT) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout

    async def authenticate(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """The principal of a request with these headers. Raises `Unauthenticated` and `Unavailable`."""
        forwarded = {name.lower(): value for name, value in headers.items()}
        try:
            pairs = tuple(
                (name.encode("ascii"), value.encode("latin-1"))
                for name, value in forwarded.items()
                if name not in NOT_FORWARDED
            )
        except UnicodeEncodeError:
            raise Unauthenticated("A header holds characters that no header can.") from None
        try:
            principal = await self._answer(_Call("/v1/authn", "credentials", b"", pairs))
        except Denied:
            raise Unauthenticated(ADVICE) from None
        except httpx.LocalProtocolError:
            raise Unauthenticated("A header is malformed.") from None
        if not isinstance(principal, dict):
            raise _unusable("/v1/authn", "the principal is no object")
        return principal

    async def check(self, principal: PrincipalJson, resource: Resource, operation: Operation) -> bool:
        """Whether the principal may do it. Raises `Unauthenticated` and `Unavailable`."""
        try:
            await self._about(resource, "/v1/authz/check", principal, operation=operation.value)
        except Denied:
            return False
        return True

    async def grant(self, principal: PrincipalJson, resource: Resource) -> None:
        """Make the resource the principal's. Raises `Denied`, `Unauthenticated` and `Unavailable`."""
        await self._about(resource, "/v1/authz/grant", principal, operation=Operation.CREATE.value)

    async def revoke(self, principal: PrincipalJson, resource: Resource) -> None:
        """Take back a grant. Raises `Denied`, `Unauthenticated` and `Unavailable`."""
        await self._about(resource, "/v1/authz/revoke", principal, operation=Operation.DELETE.value)

    async def register(self, principal: PrincipalJson, resource: Resource, parent: Resource | None) -> None:
        """Tell of a new resource. Raises `Denied`, `Unauthenticated` and `Unavailable`."""
        above = _json(parent) if parent else None
        await self._about(resource, "/v1/authz/register", principal, parent=above)

    async def deregister(self, principal: PrincipalJson, resource: Resource) -> None:
        """Tell of a resource that is gone. Raises `Denied`, `Unauthenticated` and `Unavailable`."""
        await self._about(resource, "/v1/authz/deregister", principal)

    async def search(self, principal: PrincipalJson, type: ResourceType, operation: Operation) -> frozenset[str] | None:
        """The selectors of what the principal may do it with; None for everything. Raises as `check`."""
        path = "/v1/authz/search"
        asked = {"principal": principal, "filter_resource": type.value, "filter_operation": operation.value}
        try:
            found = await self._answer(_Call(path, f"{type.value}s", _dumps(asked), most=MAX_SEARCH_BYTES))
        except Denied:
            return frozenset()
        if isinstance(found, dict):
            if found.get("unscoped") is True:
                return None
            items = found.get("items")
            if isinstance(items, list) and all(isinstance(item, str) for item in items):
                return frozenset(items)
        raise _unusable(path, "it holds neither items nor unscoped")

    async def _about(self, resource: Resource, path: str, principal: PrincipalJson, **more: Any) -> None:
        asked = {"principal": principal, "resource": _json(resource), **more}
        await self._answer(_Call(path, f"a resource of type {resource.type.value}", _dumps(asked)))

    async def _answer(self, call: _Call) -> Any:
        """The JSON of a 200. Raises `Denied`, `Unauthenticated`, `Unavailable` and `httpx.LocalProtocolError`."""
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                request = self._http.build_request(
                    "POST", self._base_url + call.path, headers=[*call.headers], content=call.body
                )
                response = await self._http.send(request, stream=True)
                async with aclosing(response):
                    _require_ok(call, response.status_code)
                    body = await _whole(response, call.most)
        except httpx.LocalProtocolError:
            raise
        except (*_LOST, TimeoutError) as error:
            log.warning(
                "The authorization provider did not answer",
                action="provider.unavailable",
                path=call.path,
                error=type(error).__name__,
            )
            raise Unavailable(PROVIDER) from error
        if body is None:
            raise _unusable(call.path, "it is too large")
        try:
            return json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise _unusable(call.path, "it is not JSON") from None


def _require_ok(call: _Call, status: int) -> None:
    if status == HTTPStatus.OK:
        return
    if status == HTTPStatus.FORBIDDEN:
        raise Denied
    if status == HTTPStatus.UNAUTHORIZED:
        raise Unauthenticated(ADVICE)
    error: NextfireError = Unavailable(PROVIDER)
    if status in UNKNOWN_TYPE:
        error = ProviderMisconfigured(call.about, status)
    log.error("The authorization provider cannot be used", action="provider.failed", path=call.path, status=status)
    raise error


def _unusable(path: str, why: str) -> Unavailable:
    log.error("The authorization provider's answer cannot be used", action="provider.failed", path=path, reason=why)
    return Unavailable(PROVIDER)


async def _whole(response: httpx.Response, most: int) -> bytes | None:
    """The body; None where it is larger than that."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


def _json(resource: Resource) -> dict[str, str]:
    return {"type": resource.type.value, "selector": resource.selector}


def _dumps(value: Any) -> bytes:
    # Not orjson, which refuses integers and texts that a principal may hold and that must go back as they came.
    return json.dumps(value).encode()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
