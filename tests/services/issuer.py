"""An OIDC issuer with keys of its own, behind a real HTTP server."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.nextfire.serving import port_of

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

AUDIENCE = "https://nextfire.test"
RSA_KEYS = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
"""Made once: each takes a while."""


def encoded(value: object) -> str:
    """A part of a token."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def public_jwk(key: PrivateKey) -> dict[str, Any]:
    public: Any = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        return RSAAlgorithm.to_jwk(public, as_dict=True)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return ECAlgorithm.to_jwk(public, as_dict=True)
    return OKPAlgorithm.to_jwk(public, as_dict=True)


@dataclass
class Issuer:
    """What it publishes, and how it behaves."""

    port: int = 0
    keys: dict[str, tuple[PrivateKey, str]] = field(default_factory=dict)
    """By key id: the private key, and the algorithm that it signs by."""
    jwks: Response | None = None
    """Instead of the set of the keys."""
    configuration: dict[str, Any] = field(default_factory=dict)
    """Over the right one."""
    down: bool = False
    hanging: bool = False
    fetches: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/realm"

    def publish(self, kid: str, key: PrivateKey, algorithm: str) -> None:
        self.keys[kid] = (key, algorithm)

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Those of a good token, with these over them; None leaves one out."""
        now = int(time.time())
        plain = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ada",
            "exp": now + 300,
            "iat": now,
            "account_id": "acme",
            "role": "editor",
        }
        return {name: value for name, value in (plain | claims).items() if value is not None}

    def token(self, kid: str = "first", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        key, algorithm = self.keys[kid]
        return jwt.encode(self.claims(**claims), key, algorithm, {"kid": kid, **(headers or {})})

    async def answer(self, request: Request) -> Response:
        if self.hanging:
            await asyncio.Event().wait()
        if self.down:
            return Response("away", 500)
        if request.url.path.endswith("/openid-configuration"):
            return JSONResponse({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.configuration})
        self.fetches += 1
        keys = [{**public_jwk(key), "kid": kid, "use": "sig"} for kid, (key, _) in self.keys.items()]
        return self.jwks or JSONResponse({"keys": keys})


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    """An issuer with the RSA key `first`."""
    issuer = Issuer()
    issuer.publish("first", RSA_KEYS[0], "RS256")
    paths = ("/realm/.well-known/openid-configuration", "/realm/keys")
    async with port_of(Starlette(routes=[Route(path, issuer.answer) for path in paths])) as port:
        issuer.port = port
        yield issuer
