"""Who asks, as the authorization provider knows them; remembered for a moment, and never by their credentials."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from cachetools import TTLCache

from services.authentication import Authenticated
from services.errors import Unavailable
from services.principals import Actor, Principal, PrincipalType
from services.provider import NOT_FORWARDED, PROVIDER, Provider

log = structlog.get_logger(__name__)

REMEMBERED_FOR = timedelta(seconds=10)
"""How long someone who signs out can still be taken for signed in; what they may do is asked anew each time."""
REMEMBERED = 2_048
MAX_ID = 256

OF_THE_REQUEST = NOT_FORWARDED | {
    "accept",
    "accept-encoding",
    "baggage",
    "content-type",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-version",
    "traceparent",
    "tracestate",
    "x-request-id",
}
"""Headers that change from one request to another of the same caller, and say nothing of who it is."""


class ProviderAuthenticator:
    """An `Authenticator`. Only principals are remembered, and never that somebody is unknown."""

    def __init__(self, provider: Provider, remembered_for: timedelta = REMEMBERED_FOR) -> None:
        self._provider = provider
        self._known: TTLCache[bytes, Authenticated] = TTLCache(REMEMBERED, remembered_for.total_seconds())
        self._key = secrets.token_bytes(32)

    async def authenticate(self, headers: Mapping[str, str]) -> Authenticated:
        """Raises `Unauthenticated` and `Unavailable`."""
        digest = self._digest(headers)
        known = self._known.get(digest)
        if known is None:
            known = Authenticated(actor_of(await self._provider.authenticate(headers)))
            self._known[digest] = known
        return known

    def _digest(self, headers: Mapping[str, str]) -> bytes:
        """Of every header that the provider may look at; nobody can tell the credentials from it."""
        told = sorted((name.lower(), value) for name, value in headers.items() if name.lower() not in OF_THE_REQUEST)
        return hashlib.blake2b(repr(told).encode("utf-8", "backslashreplace"), key=self._key).digest()


def actor_of(presented: dict[str, Any]) -> Actor:
    """The actor of a principal. Raises `Unavailable` for one that has no account, no id, or no kind."""
    account_id, user_id, service_account_id = (
        _id(presented, name) for name in ("account_id", "user_id", "service_account_id")
    )
    if account_id is None or (user_id is None and service_account_id is None):
        raise _unusable("it has no account, or no id")
    kind = presented.get("principal_type")
    if kind is None:
        kind = PrincipalType.USER if user_id is not None else PrincipalType.SERVICE_ACCOUNT
    try:
        principal = Principal(PrincipalType(str(kind).upper()), user_id, service_account_id, account_id)
    except ValueError:
        raise _unusable("it is neither a user nor a service account") from None
    return Actor(account_id, principal, presented=presented)


def _id(presented: dict[str, Any], name: str) -> str | None:
    value = presented.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_ID or not value.isprintable():
        raise _unusable(f"its {name} is no text that can be stored")
    return value


def _unusable(why: str) -> Unavailable:
    log.error("The authorization provider's principal cannot be used", action="provider.failed", reason=why)
    return Unavailable(PROVIDER)
