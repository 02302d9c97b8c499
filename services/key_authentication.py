"""The mode `keys`: callers are known by their API keys."""

import asyncio
import hmac
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from services.api_key import ApiKey, digest_of, read_key
from services.api_keys import ApiKeys
from services.authentication import Authenticated
from services.credentials import bearer_token
from services.errors import Unauthenticated, Unavailable
from services.principals import Actor, Principal, PrincipalType

KEPT_FOR = timedelta(seconds=2)
"""How long a key may still work after it was revoked."""
MAX_KEPT = 10_000
_NOBODYS_DIGEST = bytes(32)


class KeyAuthenticator:
    """Knows the holders of API keys: each is a service account with the name and the account of its key.

    Who was let in is kept by the digest of the whole key, so that its text is taken apart once in a while only.
    """

    def __init__(self, keys: ApiKeys, kept_for: timedelta = KEPT_FOR) -> None:
        self._keys = keys
        self._kept_for = kept_for.total_seconds()
        self._let_in: dict[bytes, tuple[float, Authenticated]] = {}
        self._looking: dict[str, asyncio.Task[ApiKey | None]] = {}

    async def authenticate(self, headers: Mapping[str, str]) -> Authenticated:
        """Raises `Unauthenticated`, and `Unavailable` where Postgres does not answer."""
        text = bearer_token(headers)
        digest = digest_of(text)
        known = self._kept(digest)
        if known is None:
            return await self._looked_up(text, digest)
        _check_expiry(known)
        return known

    def _kept(self, digest: bytes) -> Authenticated | None:
        until, known = self._let_in.get(digest, (0.0, None))
        return known if until > time.monotonic() else None

    async def _looked_up(self, text: str, digest: bytes) -> Authenticated:
        given = read_key(text)
        if given is None:
            raise Unauthenticated("What was sent is no API key: one begins with nfk_ and is sent whole.")
        key = await self._found(given.id)
        # Compared in either case, so that the time tells nothing of which ids there are.
        matches = hmac.compare_digest(digest, key.digest if key else _NOBODYS_DIGEST)
        if key is None or not matches:
            raise Unauthenticated("There is no such API key.")
        if key.revoked_at is not None:
            raise Unauthenticated("This API key was revoked.")
        principal = Principal(PrincipalType.SERVICE_ACCOUNT, None, key.name, key.account_id)
        known = Authenticated(Actor(key.account_id, principal, key.role), key.expires_at)
        _check_expiry(known)
        if self._kept(digest) != known:
            if len(self._let_in) >= MAX_KEPT:
                self._let_in.clear()
            self._let_in[digest] = (time.monotonic() + self._kept_for, known)
            with suppress(Unavailable):  # a request is not refused because its time could not be noted
                await self._keys.note_use(key)
        return known

    async def _found(self, key_id: str) -> ApiKey | None:
        """The key as Postgres has it. A crowd of streams with one key looks it up once."""
        task = self._looking.get(key_id)
        if task is None:
            task = self._looking[key_id] = asyncio.create_task(self._keys.find(key_id))
            task.add_done_callback(lambda _: self._looking.pop(key_id))
        return await asyncio.shield(task)


def _check_expiry(known: Authenticated) -> None:
    if known.expires_at is not None and known.expires_at <= datetime.now(UTC):
        raise Unauthenticated("This API key has expired.")
