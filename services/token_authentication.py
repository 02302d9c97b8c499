"""The mode `jwt`: callers are known by the tokens of an OIDC issuer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAlgorithmError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWTError,
)

from services.authentication import Authenticated
from services.credentials import bearer_token
from services.errors import Unauthenticated
from services.issuer_keys import IssuerKeys
from services.token_claims import ClaimMapping

LEEWAY = timedelta(seconds=30)
"""How far the issuer's clock and ours may be apart."""
MAX_TOKEN = 16_384
"""Characters; what no issuer makes is not worth parsing."""
_TYPES = (None, "jwt", "at+jwt", "application/at+jwt")
"""Of access tokens (RFC 9068) and those before it; a logout token must not let anyone in (RFC 8725, section 3.11)."""
_LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)

# PyJWT's own messages quote the token.
_ADVICE: tuple[tuple[type[PyJWTError], str], ...] = (
    (ExpiredSignatureError, "The token has expired."),
    (ImmatureSignatureError, "The token is not valid yet."),
    (InvalidIssuerError, "The token is from another issuer."),
    (InvalidAudienceError, "The token is for another audience."),
    (InvalidAlgorithmError, "The token is signed by an algorithm that is not allowed."),
    (InvalidSignatureError, "The token's signature is wrong."),
)
_MALFORMED = "What was sent is no token that can be read."


@dataclass(frozen=True)
class TokenRules:
    """Which tokens count: those of this issuer, for one of these audiences, signed by one of these algorithms."""

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    leeway: timedelta = LEEWAY


class TokenAuthenticator:
    """Verifies tokens as RFC 7519 and RFC 8725 say. What a token's header offers as keys is never used."""

    def __init__(self, keys: IssuerKeys, rules: TokenRules, mapping: ClaimMapping) -> None:
        self._keys = keys
        self._rules = rules
        self._mapping = mapping

    async def authenticate(self, headers: Mapping[str, str]) -> Authenticated:
        """Raises `Unauthenticated`, and `Unavailable` where the issuer's keys cannot be had."""
        token = bearer_token(headers)
        if len(token) > MAX_TOKEN or not token.isascii():
            raise Unauthenticated(_MALFORMED)
        kid, algorithm = self._read_header(token)
        key = await self._keys.key(kid, algorithm)
        claims = self._verified(token, key)
        return Authenticated(self._mapping.actor(claims), self._expiry(claims))

    def _read_header(self, token: str) -> tuple[str | None, str]:
        """The id of the key, and the algorithm, which is one of those allowed."""
        try:
            header = jwt.get_unverified_header(token)
        except PyJWTError:
            raise Unauthenticated(_MALFORMED) from None
        algorithm, kind = header.get("alg"), header.get("typ")
        if algorithm not in self._rules.algorithms:
            raise Unauthenticated("The token is signed by an algorithm that is not allowed.")
        if (kind.lower() if isinstance(kind, str) else kind) not in _TYPES:
            raise Unauthenticated("The token is of another type than JWT.")
        return header.get("kid"), algorithm

    def _verified(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=self._rules.algorithms,
                issuer=self._rules.issuer,
                audience=self._rules.audiences,
                leeway=self._rules.leeway,
                options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
            )
        except MissingRequiredClaimError as error:
            raise Unauthenticated(f"The token needs the claim {error.claim!r}.") from None
        except PyJWTError as error:
            advice = next((advice for kind, advice in _ADVICE if isinstance(error, kind)), _MALFORMED)
            raise Unauthenticated(advice) from None

    def _expiry(self, claims: Mapping[str, Any]) -> datetime:
        """The moment from which it is refused."""
        latest = int(_LATEST.timestamp())
        return datetime.fromtimestamp(min(int(claims["exp"]), latest), UTC) + self._rules.leeway
