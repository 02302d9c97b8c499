"""The public keys of an OIDC issuer: fetched, kept, and fetched anew when they change."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx
import structlog
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from services.errors import Unauthenticated, Unavailable

log = structlog.get_logger(__name__)

ALGORITHMS: dict[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Each algorithm that may be allowed, with the type and the curve of its keys (RFC 7518, RFC 8037). None has a secret
that is shared: a public key could be taken for one."""

RENEWED_EVERY = timedelta(minutes=5)
TRIED_AT_MOST_EVERY = timedelta(seconds=10)
"""Whoever invents key ids makes no more requests to the issuer than this."""
KEPT_FOR = timedelta(hours=24)
"""How long keys are good for while the issuer does not answer."""
TIMEOUT = timedelta(seconds=5)
MAX_BYTES = 1024 * 1024
MAX_KEYS = 100
_PUBLIC = ("kty", "crv", "n", "e", "x", "y")
ISSUER = "The issuer of tokens"


class _Unusable(Exception):
    """The issuer's answer; the message says what is wrong with it, and quotes nothing."""


@dataclass(frozen=True, slots=True)
class _Key:
    kid: str | None
    algorithm: str
    key: PyJWK


class IssuerKeys:
    """The keys of one issuer, for the algorithms that are allowed. `run` keeps them fresh."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        issuer: str,
        *,
        algorithms: Sequence[str],
        jwks_url: str | None = None,
        renewed_every: timedelta = RENEWED_EVERY,
        tried_at_most_every: timedelta = TRIED_AT_MOST_EVERY,
        kept_for: timedelta = KEPT_FOR,
    ) -> None:
        self._http = http
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._algorithms = algorithms
        self._renewed_every = renewed_every.total_seconds()
        self._tried_at_most_every = tried_at_most_every.total_seconds()
        self._kept_for = kept_for.total_seconds()
        self._keys: list[_Key] = []
        self._fetched_at = self._tried_at = float("-inf")
        self._answered = False
        self._renewal: asyncio.Task[None] | None = None

    async def key(self, kid: str | None, algorithm: str) -> PyJWK:
        """The key of that id, or without one the only key for the algorithm.

        Raises `Unauthenticated` where the issuer has none, and `Unavailable` where that cannot be found out now.
        """
        found = self._find(kid, algorithm)
        if found is None:
            await self._renew()
            found = self._find(kid, algorithm)
        if found is not None:
            return found
        if not self._answered:
            raise Unavailable(ISSUER)
        raise Unauthenticated("The token is signed with a key that its issuer does not publish.")

    async def run(self) -> NoReturn:
        """Fetch them now, and again and again."""
        try:
            while True:
                await self._renew()
                await asyncio.sleep(self._renewed_every if self._answered else self._tried_at_most_every)
        finally:
            if self._renewal is not None:
                self._renewal.cancel()

    def _find(self, kid: str | None, algorithm: str) -> PyJWK | None:
        if _now() - self._fetched_at > self._kept_for:
            return None
        fitting = [each for each in self._keys if each.algorithm == algorithm and kid in (None, each.kid)]
        if kid is None and len(fitting) != 1:
            return None
        return fitting[0].key if fitting else None

    async def _renew(self) -> None:
        """Fetch them, unless that was tried just now; who comes meanwhile waits for the same attempt."""
        if (self._renewal is None or self._renewal.done()) and _now() - self._tried_at >= self._tried_at_most_every:
            self._tried_at = _now()
            self._renewal = asyncio.create_task(self._fetch())
        if self._renewal is not None:
            await asyncio.shield(self._renewal)

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT.total_seconds()):
                url = self._jwks_url or await self._discovered()
                self._keys = [*_usable(await self._document(url), self._algorithms)]
        except (_Unusable, httpx.HTTPError, httpx.InvalidURL, OSError, ExceptionGroup, TimeoutError) as error:
            self._answered = False
            why = str(error) if isinstance(error, _Unusable) else type(error).__name__
            log.warning("The issuer's keys could not be fetched", action="issuer_keys.unavailable", error=why)
        else:
            self._answered, self._fetched_at = True, _now()
            log.debug("The issuer's keys were fetched", action="issuer_keys.fetched", keys=len(self._keys))

    async def _discovered(self) -> str:
        """OpenID Connect Discovery 1.0, sections 4.1 to 4.3."""
        document = await self._document(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != self._issuer:
            raise _Unusable("its configuration is that of another issuer")
        url = document.get("jwks_uri")
        if not isinstance(url, str) or url_issue(url):
            raise _Unusable("its configuration has no jwks_uri that can be used")
        return url

    async def _document(self, url: str) -> dict[str, Any]:
        body = bytearray()
        async with self._http.stream("GET", url, headers={"accept": "application/json"}) as response:
            if response.status_code != HTTPStatus.OK:
                raise _Unusable(f"it answers {response.status_code}")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise _Unusable("it is too large")
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise _Unusable("it is not JSON") from None
        if not isinstance(document, dict):
            raise _Unusable("it is no object")
        return document


def url_issue(url: str) -> str | None:
    """What is wrong with the URL of an issuer or its keys; None for nothing.

    Who can change the keys on their way can be anyone, so they come by TLS, or from this machine.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not host:
        return "must be an https URL"
    if parts.scheme == "http" and host not in ("localhost", "127.0.0.1", "::1"):
        return "must be an https URL; http is for this machine only"
    if parts.username is not None or parts.password is not None:
        return "must hold no credentials"
    return "must have no fragment" if parts.fragment else None


def _usable(document: dict[str, Any], algorithms: Sequence[str]) -> Iterator[_Key]:
    """The keys of a set that may verify by one of the algorithms (RFC 7517); the others are passed over."""
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise _Unusable("it holds no list of keys")
    for jwk in keys[:MAX_KEYS]:
        if not isinstance(jwk, dict) or not _verifies(jwk):
            continue
        public = {name: jwk[name] for name in _PUBLIC if name in jwk}
        for algorithm in algorithms:
            fits = jwk.get("alg", algorithm) == algorithm
            if fits and ALGORITHMS[algorithm] == (public.get("kty"), public.get("crv")):
                try:
                    yield _Key(jwk.get("kid"), algorithm, PyJWK(public, algorithm))
                except PyJWTError:
                    log.warning("A key of the issuer cannot be used", action="issuer_keys.malformed")


def _verifies(jwk: dict[str, Any]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and isinstance(jwk.get("kid"), str | None)
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
