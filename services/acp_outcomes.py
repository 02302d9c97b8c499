"""What became of one request to an agent: the four outcomes, and which failure is which of them.

```
what happened                                                                 outcome   code
2xx with a result and our id; for message/send a whole stream, or nothing     Accepted
2xx with a JSON-RPC error, in mid-stream too: the agent's own no              Refused   RPC_{code}, RPC_ERROR
2xx, whole JSON with another id                                               Refused   WRONG_ID
2xx, whole JSON with neither result nor error, or that is no update           Refused   MALFORMED
2xx, more than is kept of an answer                                           Refused   TOO_LARGE
2xx, compressed although identity was asked for                               Refused   ENCODED
3xx: following it would carry the key to another place                        Refused   HTTP_{status}
4xx but 408, 425, 429                                                         Refused   HTTP_{status}
a URL or a header that cannot be written                                      Refused   BAD_URL, BAD_HEADER
a host none of whose addresses may be connected to: nothing was written       Refused   ADDRESS_DENIED
408, 425, 429, 5xx but 502 and 504; by Retry-After where given                Retry     HTTP_{status}
no address, refused connection, TLS or proxy failure: nothing was written     Retry     CONNECT_FAILED
no connection in time: nothing was written                                    Retry     CONNECT_TIMEOUT
502, 504: a gateway passed it on and lost sight of it (RFC 9110, 15.6)        Unknown   HTTP_{status}
no answer, or no more of it, in time, once writing began                      Unknown   TIMEOUT
connection lost, no HTTP, or a body cut off, once writing began               Unknown   CONNECTION_LOST
2xx with text that is not JSON: it may have been cut off unnoticed            Unknown   NOT_JSON
a stream that ends cleanly inside a message                                   Unknown   UNFINISHED
```

What is refused after a 2xx was read by the agent, and the same bytes would be answered alike. "Once writing
began" is strict: a request that broke in the middle of its body counts as written. What `presentable` answers
is bounded and storable in Postgres, and holds no header and no body of ours.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from services.acp_requests import AcpAuthor

MAX_MESSAGE = 2_000
MAX_RETRY_AFTER = timedelta(hours=1)

_RETRIED = (408, 425, 429)
_GATEWAY = (502, 504)
# httpx raises these before it has written anything to the agent.
_UNWRITTEN = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


@dataclass(frozen=True, slots=True)
class Reply:
    """One message that a sync agent answered.

    `kind` is `text`, and then `content` is the text; for every other kind (`data`, `tool_request`, ..) it is
    the JSON text of what the agent sent. `index` orders the replies of one answer and is unique among them.
    """

    index: int
    author: AcpAuthor
    kind: str
    content: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The agent has the request. Only message/send has replies, in the order of their index."""

    replies: tuple[Reply, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A definite end: sending the same bytes again would not help."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Not taken, and it may be taken later. `retry_after` is the agent's own wish, capped, or absent."""

    code: str
    message: str
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request was written, and whether the agent acted on it cannot be told."""

    code: str
    message: str


Outcome = Accepted | Refused | Retry | Unknown
Failure = Refused | Unknown


def of_status(status: int, retry_after: str, now: datetime) -> Failure | Retry:
    """The outcome of an answer that is not a 2xx; `retry_after` is its Retry-After header, or empty."""
    code, message = f"HTTP_{status}", f"The agent answered {named(status)}."
    if status in _GATEWAY:
        return Unknown(code, message)
    if status in _RETRIED or status >= 500:
        return Retry(code, message, _delay(retry_after, now))
    if 300 <= status < 400:
        return Refused(code, f"The agent answered {named(status)}, and redirects are not followed.")
    return Refused(code, message)


def of_error(error: Exception, written: bool) -> Failure | Retry:
    """The outcome of an exchange that broke; `written`: a byte of the request may have reached the agent."""
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return Refused("BAD_URL", f"The agent's URL cannot be used: {reason(error)}.")
    if isinstance(error, httpx.LocalProtocolError):
        return Refused("BAD_HEADER", "The request cannot be written as HTTP.")
    late = isinstance(error, httpx.TimeoutException | TimeoutError)
    if written or (isinstance(error, httpx.TransportError) and not isinstance(error, _UNWRITTEN)):
        if late:
            return Unknown("TIMEOUT", "The agent did not answer in time.")
        return Unknown("CONNECTION_LOST", f"The connection to the agent was lost: {reason(error)}.")
    if late:
        return Retry("CONNECT_TIMEOUT", "There was no connection to the agent in time.")
    if isinstance(error, UnicodeError):
        return Refused("BAD_URL", f"The agent's URL cannot be used: {reason(error)}.")
    return Retry("CONNECT_FAILED", f"The agent could not be reached: {reason(error)}.")


def presentable(outcome: Outcome, api_key: str | None) -> Outcome:
    """The outcome with its message storable, bounded, and free of the API key, should the agent repeat it."""
    if isinstance(outcome, Accepted):
        return outcome
    message = outcome.message.replace(api_key, "[API key]") if api_key else outcome.message
    return replace(outcome, message=clipped(message))


def reason(error: Exception) -> str:
    """What an exception says, or its name where it says nothing; without a full stop."""
    return (str(error) or type(error).__name__).rstrip(".")


def named(status: int) -> str:
    """An HTTP status with its phrase, where it has one."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def clipped(message: str) -> str:
    """A message as it is kept: storable, and at most `MAX_MESSAGE` characters."""
    message = storable(message)
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def storable(text: str) -> str:
    """The text as Postgres can keep it: surrogate pairs joined, lone surrogates and NUL made U+FFFD."""
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined.replace("\x00", "\ufffd")


def _delay(retry_after: str, now: datetime) -> timedelta | None:
    """Seconds or an HTTP date (RFC 9110, 10.2.3), from zero to an hour; None where it is neither."""
    value = retry_after.strip()
    if value.isascii() and value.isdigit():
        return min(timedelta(seconds=int(value)), MAX_RETRY_AFTER) if len(value) < 10 else MAX_RETRY_AFTER
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(at - now, timedelta(0)), MAX_RETRY_AFTER)
