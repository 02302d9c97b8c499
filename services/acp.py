"""The wire client: sends one request to an agent over ACP, and says what became of it.

The caller builds a body once (`task_create_body` and its siblings), freezes it, and sends those same bytes on
every attempt. Which failure becomes which outcome: the table in `services.acp_outcomes`.

A connection carries one request only: a kept one may be reset by the agent just as it is used again, and that
could not be told from a lost answer. Redirects are not followed and cookies are not kept. Cancelling a call
closes its connection. Where connections may go is decided by `services.dialing`. Nothing is logged here.
"""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import httpx

from services.acp_answers import MAX_LINE_BYTES, Lines, ReplyStream, TooLargeError, read_response
from services.acp_outcomes import (
    Accepted,
    Outcome,
    Refused,
    Reply,
    Retry,
    Unknown,
    clipped,
    named,
    of_error,
    of_status,
    presentable,
    reason,
    storable,
)
from services.acp_requests import (
    AcpAgent,
    AcpAuthor,
    AcpContent,
    AcpEvent,
    AcpTask,
    Envelope,
    Protocol,
    event_send_body,
    message_send_body,
    read_envelope,
    task_cancel_body,
    task_create_body,
)
from services.dialing import Dialer, OutboundDenied

__all__ = [
    "Accepted",
    "AcpAgent",
    "AcpAuthor",
    "AcpClient",
    "AcpContent",
    "AcpEvent",
    "AcpTask",
    "Health",
    "Healthy",
    "Outcome",
    "Protocol",
    "Refused",
    "Reply",
    "Retry",
    "Timeouts",
    "Unhealthy",
    "Unknown",
    "event_send_body",
    "http_client",
    "message_send_body",
    "task_cancel_body",
    "task_create_body",
]

# Each update of a stream carries its envelope of some 150 bytes, so a stream is far longer than its replies.
MAX_STREAM_BYTES = 64 * 1024 * 1024
MAX_HEALTH_BYTES = 64 * 1024

_TRACE_HEADERS = ("traceparent", "tracestate", "baggage")
# anyio gathers in a group what breaks while it tries one address after another.
_LOST = (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, ExceptionGroup)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long an agent may take, each as Agentex allows it.

    `connect` is for one connection, `call` for a whole call but message/send, `idle` for each wait inside
    message/send, whose whole length the caller bounds. `health` is for a whole probe, and is our own.
    """

    connect: timedelta = timedelta(seconds=10)
    call: timedelta = timedelta(seconds=60)
    idle: timedelta = timedelta(seconds=300)
    health: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Healthy:
    """The agent is up; `agent_id` is what it was registered as, where it says so."""

    agent_id: str | None


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """The agent did not say that it is healthy."""

    message: str


Health = Healthy | Unhealthy
DEFAULT_TIMEOUTS = Timeouts()


def http_client(dialer: Dialer, tls: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    """The HTTP client that `AcpClient` is made for: close it when the process ends.

    It has no bound on connections, since one slow agent must not hold up the others; it takes no proxy, which would
    look names up for itself, and no `.netrc` from the environment, and it keeps no cookies, which would travel
    between agents of one host. `tls` is for other certificate authorities than the usual ones.
    """
    direct = httpx.AsyncHTTPTransport(
        verify=tls or httpx.create_ssl_context(),
        trust_env=False,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
    )
    return httpx.AsyncClient(
        transport=dialer.transport(direct),
        trust_env=False,
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
        headers={"user-agent": "nextfire"},
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AcpClient:
    """Sends requests to agents. Safe for any number of concurrent calls; it holds no state of its own."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._http = http
        self._timeouts = timeouts
        self._now = now

    async def send(
        self,
        url: str,
        body: bytes,
        *,
        request_id: str,
        idempotency_key: str,
        api_key: str | None = None,
        trace_headers: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Sends one frozen body to the agent at base `url`, once, and says what became of it.

        `request_id` is unique to the attempt; of `trace_headers` only traceparent, tracestate and baggage are
        sent. Raises ValueError, KeyError or TypeError for a body that was not built here, and nothing else.
        """
        envelope = read_envelope(body)
        headers = _headers(request_id, idempotency_key, api_key, trace_headers or {})
        if headers is None:
            return Refused("BAD_HEADER", "The agent's API key, or an id, cannot be written as an HTTP header.")
        progress = _Progress()
        limit = None if envelope.streams else self._timeouts.call.total_seconds()
        try:
            async with asyncio.timeout(limit):
                outcome = await self._exchange(url, body, headers, envelope, progress)
        except TooLargeError:
            outcome = Refused("TOO_LARGE", "The agent's answer is larger than is kept of one.")
        except OutboundDenied as error:
            outcome = Refused("ADDRESS_DENIED", f"{reason(error)}.")
        except _LOST as error:
            outcome = of_error(error, progress.written)
        return presentable(outcome, api_key)

    async def health(self, url: str) -> Health:
        """Probes `{url}/healthz`, which answers 200 and `{"status":"healthy"}`. Raises nothing."""
        try:
            async with asyncio.timeout(self._timeouts.health.total_seconds()):
                request = self._http.build_request("GET", _endpoint(url, "/healthz"), headers=_BARE_HEADERS)
                response = await self._http.send(request, stream=True, follow_redirects=False)
                async with aclosing(response):
                    return _health(response.status_code, await _whole(response, MAX_HEALTH_BYTES))
        except TooLargeError:
            return Unhealthy("The agent's health answer is too large.")
        except (OutboundDenied, *_LOST) as error:
            return Unhealthy(clipped(f"The agent did not answer: {reason(error)}."))

    async def _exchange(
        self, url: str, body: bytes, headers: dict[str, str], envelope: Envelope, progress: "_Progress"
    ) -> Outcome:
        wait = (self._timeouts.idle if envelope.streams else self._timeouts.call).total_seconds()
        request = self._http.build_request(
            "POST",
            _endpoint(url, "/api"),
            content=body,
            headers=headers,
            timeout=httpx.Timeout(wait, connect=self._timeouts.connect.total_seconds()),
            extensions={"trace": progress.note},
        )
        # An agent may send any number of interim responses, of which none ends a wait: bound them all together.
        async with asyncio.timeout(wait):
            response = await self._http.send(request, stream=True, follow_redirects=False)
        async with aclosing(response):
            if not response.is_success:
                return of_status(response.status_code, response.headers.get("retry-after", ""), self._now())
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                return Refused("ENCODED", "The agent compressed its answer although it was asked not to.")
            if envelope.streams:
                return await _replies(response, envelope.id)
            return read_response(await _whole(response, MAX_LINE_BYTES), envelope.id)


class _Progress:
    """Whether a byte of the request may have reached the agent, as httpcore's `trace` extension tells it."""

    def __init__(self) -> None:
        self.written = False

    async def note(self, event: str, info: dict[str, Any]) -> None:
        # A proxy is asked with CONNECT first; that is not yet the agent.
        if event.endswith(".send_request_headers.started") and info["request"].method == b"POST":
            self.written = True


_BARE_HEADERS = {"accept-encoding": "identity", "connection": "close"}


def _headers(
    request_id: str, idempotency_key: str, api_key: str | None, trace_headers: Mapping[str, str]
) -> dict[str, str] | None:
    """The headers of one attempt, less a trace that cannot be written; None where one of ours cannot."""
    ours = {"x-request-id": request_id, "x-idempotency-key": idempotency_key}
    if api_key:
        ours["x-agent-api-key"] = api_key
    if not all(_is_writable(value) for value in ours.values()):
        return None
    trace = {name.lower(): value for name, value in trace_headers.items()}
    sent = {name: trace[name] for name in _TRACE_HEADERS if _is_writable(trace.get(name, ""))}
    kinds = {"content-type": "application/json", "accept": "application/json, application/x-ndjson"}
    return {**_BARE_HEADERS, **kinds, **sent, **ours}


def _is_writable(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip() != ""


def _endpoint(url: str, path: str) -> str:
    if "?" in url or "#" in url:
        raise httpx.InvalidURL("a base URL has neither a query nor a fragment")
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        raise httpx.InvalidURL(str(error)) from error
    return url.rstrip("/") + path


async def _whole(response: httpx.Response, most: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > most:
            raise TooLargeError
    return bytes(body)


async def _replies(response: httpx.Response, request_id: str) -> Outcome:
    lines, stream, received = Lines(), ReplyStream(request_id), 0
    async for chunk in response.aiter_raw():
        received += len(chunk)
        if received > MAX_STREAM_BYTES:
            raise TooLargeError
        for line in lines.feed(chunk):
            if failure := stream.feed(line):
                return failure
    return stream.feed(lines.rest) or stream.finish()


def _health(status: int, body: bytes) -> Health:
    if status != HTTPStatus.OK:
        return Unhealthy(f"The agent answered {named(status)}.")
    try:
        health = json.loads(body)
    except (ValueError, RecursionError):
        return Unhealthy("The agent's health answer is not JSON.")
    if not isinstance(health, dict) or health.get("status") != "healthy":
        return Unhealthy("The agent does not say that it is healthy.")
    agent_id = health.get("agent_id")
    return Healthy(storable(agent_id) if isinstance(agent_id, str) else None)
