"""Connecting to agents: at addresses that were checked, and at no others.

A name is looked up once for each connection, what the rules do not permit is left out, and the connection is made
to the very addresses that are left. So a name that leads elsewhere the next time it is looked up leads nowhere.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from ipaddress import ip_address
from typing import Any

import httpx

from services.errors import Issue
from services.outbound import Address, OutboundRules, literal

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, best first, for a port. Raises OSError where there are none, or nobody knows."""

LOOKUP_TIMEOUT = timedelta(seconds=5)
MOST_ADDRESSES = 4
_LOOKUPS_AT_ONCE = 32

# Their own threads, as a lookup cannot be cancelled: names that take long must not hold up what else uses some.
_lookups = ThreadPoolExecutor(_LOOKUPS_AT_ONCE, thread_name_prefix="lookup")


class OutboundDenied(Exception):
    """The rules permit no address of the host. It tells neither the addresses nor which rule it was."""

    def __init__(self) -> None:
        super().__init__("Nextfire may not connect to the host of this URL: its operator has closed that network")


async def look_up(host: str, port: int) -> Sequence[str]:
    """The addresses of a host as the machine's resolver knows them."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_lookups, ask)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Dialer:
    """Says where connections may go, and makes them."""

    def __init__(self, rules: OutboundRules, resolve: Resolve = look_up) -> None:
        self._rules = rules
        self._resolve = resolve

    async def addresses(self, host: str, port: int) -> list[Address]:
        """The addresses to connect to, best first. Raises OutboundDenied, and OSError where the lookup fails."""
        permitted = [each for each in await self._found(host, port) if self._rules.permits(host, each)]
        if not permitted:
            raise OutboundDenied
        return permitted[:MOST_ADDRESSES]

    async def check(self, url: str, *path: str) -> list[Issue]:
        """What keeps the URL from being an agent's. The words are the same for a name that leads nowhere as for one
        that leads inside, so that nobody can find out by asking which names there are.
        """
        try:
            host = httpx.URL(url).raw_host.decode("ascii")
        except (httpx.InvalidURL, UnicodeError):
            return [Issue(path, "This is not a URL.")]
        if literal(host) is None and (decided := self._rules.decides_by_name(host)) is not None:
            return [] if decided else [_closed(path)]
        try:
            await self.addresses(host, 0)
        except (OutboundDenied, OSError, UnicodeError):
            return [_closed(path)]
        return []

    def transport(self, inner: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        """A transport that goes through `inner`, which gets URLs with permitted addresses in place of hosts."""
        return _CheckedTransport(self, inner)

    async def _found(self, host: str, port: int) -> list[Address]:
        if (address := literal(host)) is not None:
            return [address]
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT.total_seconds()):
                found = await self._resolve(host, port)
        except TimeoutError:
            raise OSError("its name could not be looked up in time") from None
        except OSError as error:
            raise OSError("its name could not be looked up") from error
        if not found:
            raise OSError("its name has no address")
        return [ip_address(each) for each in found]


class _CheckedTransport(httpx.AsyncBaseTransport):
    def __init__(self, dialer: Dialer, inner: httpx.AsyncBaseTransport) -> None:
        self._dialer = dialer
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.raw_host.decode("ascii")
        if not host or request.url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol("it has no host, or is neither http nor https", request=request)
        try:
            addresses = await self._dialer.addresses(host, request.url.port or 0)
        except OSError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        failure: httpx.TransportError | None = None
        for address in addresses:
            try:
                return await self._inner.handle_async_request(_at(request, host, address, len(addresses)))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        assert failure is not None  # noqa: S101 - there is an address, and each failed
        raise failure

    async def aclose(self) -> None:
        await self._inner.aclose()


def _at(request: httpx.Request, host: str, address: Address, share: int) -> httpx.Request:
    """The same request at one address. Its Host stays, and TLS asks for a certificate of the host's own name."""
    extensions: dict[str, Any] = {**request.extensions}
    if literal(host) is None:
        extensions["sni_hostname"] = host
    timeout: dict[str, float | None] = extensions.get("timeout", {})
    if (connect := timeout.get("connect")) is not None:
        extensions["timeout"] = {**timeout, "connect": connect / share}
    return httpx.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,
        stream=request.stream,
        extensions=extensions,
    )


def _closed(path: tuple[str, ...]) -> Issue:
    return Issue(
        path, "Agents cannot be reached at this host: its name must lead to an address outside of closed networks."
    )
