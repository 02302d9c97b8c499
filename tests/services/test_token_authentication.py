"""Tokens of an OIDC issuer: which are good, and what is said of the others."""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse, Response

from services.authentication import Authenticated
from services.errors import Unauthenticated, Unavailable
from services.issuer_keys import IssuerKeys, url_issue
from services.principals import Actor, Principal, PrincipalType, Role
from services.token_authentication import MAX_TOKEN, TokenAuthenticator, TokenRules
from services.token_claims import ClaimMapping
from tests.no_tls import NO_TLS
from tests.services.issuer import AUDIENCE, RSA_KEYS, Issuer, encoded, issuing, public_jwk

NOW_AND_THEN = timedelta(hours=1)
AT_ONCE = timedelta(0)
ALLOWED = ("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA")
ADA = Actor("acme", Principal(PrincipalType.USER, "ada", None, "acme"), Role.EDITOR)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as issuer:
        yield issuer


@asynccontextmanager
async def knowing(
    issuer: Issuer, mapping: ClaimMapping | None = None, *, audiences: tuple[str, ...] = (AUDIENCE,), **options: Any
) -> AsyncIterator[TokenAuthenticator]:
    """An authenticator for the issuer's tokens."""
    options = {"algorithms": ALLOWED, "tried_at_most_every": NOW_AND_THEN, **options}
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as http:
        keys = IssuerKeys(http, issuer.url, **options)
        yield TokenAuthenticator(keys, TokenRules(issuer.url, audiences, ALLOWED), mapping or ClaimMapping())


async def known(authenticator: TokenAuthenticator, token: str) -> Authenticated:
    return await authenticator.authenticate({"authorization": f"Bearer {token}"})


async def refusal(authenticator: TokenAuthenticator, token: str) -> str:
    """What is said of a token that is refused, which is nothing of what it holds."""
    with pytest.raises(Unauthenticated) as caught:
        await known(authenticator, token)
    message = caught.value.message
    assert not any(part in message for part in token.split(".") if len(part) > 8)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message.removeprefix("Nobody is known by these credentials. ")


async def test_a_good_token(issuer: Issuer) -> None:
    until = int(time.time()) + 100
    async with knowing(issuer) as authenticator:
        found = await known(authenticator, issuer.token(exp=until))
    assert found == Authenticated(ADA, datetime.fromtimestamp(until + 30, UTC))


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSA_KEYS[1], "PS256"),
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    ],
)
async def test_every_algorithm_that_is_allowed(issuer: Issuer, key: Any, algorithm: str) -> None:
    issuer.publish("other", key, algorithm)
    async with knowing(issuer) as authenticator:
        assert (await known(authenticator, issuer.token("other"))).actor == ADA
        # and a key signs for the other one's tokens in no way
        forged = jwt.encode(issuer.claims(), key, algorithm, {"kid": "first"})
        assert await refusal(authenticator, forged) != ""


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iss": "https://evil.test"}, "The token is from another issuer."),
        ({"iss": None}, "The token needs the claim 'iss'."),
        ({"aud": "another"}, "The token is for another audience."),
        ({"aud": ["another", 5]}, "The token is for another audience."),
        ({"aud": None}, "The token needs the claim 'aud'."),
        ({"aud": []}, "The token needs the claim 'aud'."),
        ({"exp": 1}, "The token has expired."),
        ({"exp": int(time.time()) - 31}, "The token has expired."),
        ({"exp": None}, "The token needs the claim 'exp'."),
        ({"exp": "soon"}, "What was sent is no token that can be read."),
        ({"exp": float("inf")}, "What was sent is no token that can be read."),
        ({"exp": []}, "What was sent is no token that can be read."),
        ({"nbf": int(time.time()) + 3600}, "The token is not valid yet."),
        ({"iat": int(time.time()) + 3600}, "The token is not valid yet."),
        ({"sub": None}, "The token needs the claim 'sub', as a text."),
        ({"sub": " "}, "The token needs the claim 'sub', as a text."),
        ({"sub": "a" * 256}, "The token's claim 'sub' is too long, or cannot be stored."),
        ({"sub": "a\0b"}, "The token's claim 'sub' is too long, or cannot be stored."),
        ({"sub": "\ud800"}, "The token's claim 'sub' is too long, or cannot be stored."),
        ({"account_id": None}, "The token needs the claim 'account_id', as a text."),
        ({"account_id": 7}, "The token needs the claim 'account_id', as a text."),
        ({"account_id": ["acme"]}, "The token needs the claim 'account_id', as a text."),
        ({"role": None}, "The token's claim 'role' names no role that is known here."),
        ({"role": "king"}, "The token's claim 'role' names no role that is known here."),
        ({"role": {"editor": True}}, "The token's claim 'role' names no role that is known here."),
    ],
)
async def test_claims_that_let_nobody_in(issuer: Issuer, claims: dict[str, Any], said: str) -> None:
    async with knowing(issuer) as authenticator:
        assert await refusal(authenticator, issuer.token(**claims)) == said


@pytest.mark.parametrize(
    "claims",
    [
        lambda now: {"exp": now - 5},
        lambda now: {"nbf": now + 5},
        lambda _: {"aud": ["x", AUDIENCE]},
        lambda _: {"exp": 10**15},
    ],
)
async def test_claims_that_are_good_enough(issuer: Issuer, claims: Callable[[int], dict[str, Any]]) -> None:
    async with knowing(issuer) as authenticator:
        assert (await known(authenticator, issuer.token(**claims(int(time.time()))))).actor == ADA


async def test_a_token_that_is_not_signed_by_the_issuer(issuer: Issuer) -> None:
    public = RSA_KEYS[0].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    good = issuer.token()
    header, payload, signature = good.split(".")
    embedded = {"jwk": public_jwk(RSA_KEYS[1])}
    ours = jwt.encode(issuer.claims(), RSA_KEYS[1], "RS256", {"kid": "first"})
    not_allowed = "The token is signed by an algorithm that is not allowed."
    wrong = "The token's signature is wrong."
    unknown = "The token is signed with a key that its issuer does not publish."
    malformed = "What was sent is no token that can be read."
    cases = [
        (f"{encoded({'alg': 'none', 'kid': 'first'})}.{payload}.", not_allowed),
        (f"{encoded({'alg': 'None', 'kid': 'first'})}.{payload}.", not_allowed),
        (f"{encoded({'kid': 'first'})}.{payload}.{signature}", not_allowed),
        (f"{encoded({'alg': ['RS256'], 'kid': 'first'})}.{payload}.{signature}", not_allowed),
        (hs256(issuer, pem), not_allowed),
        (hs256(issuer, public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)), not_allowed),
        (jwt.encode(issuer.claims(), RSA_KEYS[0], "RS512", {"kid": "first"}), not_allowed),
        (ours, wrong),
        (jwt.encode(issuer.claims(), RSA_KEYS[1], "RS256", {"kid": "first", **embedded}), wrong),
        (f"{header}.{encoded(issuer.claims(sub='root'))}.{signature}", wrong),
        (f"{header}.{payload}.{encoded(b'x' * 256)}", wrong),
        (f"{header}.{payload}.", wrong),
        (jwt.encode(issuer.claims(), RSA_KEYS[1], "RS256", {"kid": "nobody's"}), unknown),
        (f"{encoded({'alg': 'ES256', 'kid': 'first'})}.{payload}.{signature}", unknown),
        (f"{encoded({'alg': 'RS256', 'kid': 5})}.{payload}.{signature}", malformed),
        (f"{encoded({'alg': 'RS256', 'kid': 'first', 'crit': ['x'], 'x': 1})}.{payload}.{signature}", malformed),
        (f"{encoded({'alg': 'RS256', 'kid': 'first', 'crit': ['b64'], 'b64': False})}..{signature}", malformed),
        (f"{header}.{payload}", malformed),
        (f"{header}.{payload}.{signature}.x", malformed),
        ("x", malformed),
        ("...", malformed),
        (f"{encoded([])}.{payload}.{signature}", malformed),
        (f"{encoded(b'[' * 9_000)}.{payload}.{signature}", malformed),
        (f"{good} {good}", malformed),
        (issuer.token(claim="x" * MAX_TOKEN), malformed),
        ("é.é.é", malformed),
        (issuer.token(headers={"typ": "logout+jwt"}), "The token is of another type than JWT."),
        (issuer.token(headers={"typ": {"a": 1}}), "The token is of another type than JWT."),
    ]
    async with knowing(issuer, tried_at_most_every=AT_ONCE) as authenticator:
        for token, said in cases:
            assert await refusal(authenticator, token) == said, token[:60]
        # and all the while
        assert (await known(authenticator, good)).actor == ADA
        assert (await known(authenticator, issuer.token(headers={"typ": "at+jwt"}))).actor == ADA


def hs256(issuer: Issuer, secret: bytes) -> str:
    """A token with the public key as its shared secret, which PyJWT refuses to make."""
    signed = f"{encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': 'first'})}.{encoded(issuer.claims())}"
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_no_claim_breaks_the_mapping(value: Any) -> None:
    mapping = ClaimMapping(account="a.b", subject="s", type="t", role="r")
    for claims in (
        {"s": value, "a": value, "t": value, "r": value},
        {"s": "s", "a": {"b": "b"}, "t": value, "r": value},
    ):
        try:
            actor = mapping.actor(claims)
        except Unauthenticated:
            continue
        assert actor.role is not None


@pytest.mark.parametrize(
    ("mapping", "claims", "actor"),
    [
        (
            ClaimMapping(fixed_account="one", default_role=Role.VIEWER),
            {"sub": "ada"},
            Actor("one", Principal(PrincipalType.USER, "ada", None, "one"), Role.VIEWER),
        ),
        (
            ClaimMapping(account="org.id", subject="email", role="realm_access.roles"),
            {"org": {"id": "acme"}, "email": "a@b.test", "realm_access": {"roles": ["x", "viewer", "operator"]}},
            Actor("acme", Principal(PrincipalType.USER, "a@b.test", None, "acme"), Role.OPERATOR),
        ),
        (
            ClaimMapping(account="https://x.test/org", role="scope", roles={"runs:write": Role.EDITOR}),
            {"https://x.test/org": "acme", "sub": "ada", "scope": "openid runs:write"},
            ADA,
        ),
        (
            ClaimMapping(type="gty", service_accounts=("client-credentials",)),
            {"sub": "ci", "account_id": "acme", "role": "editor", "gty": "client-credentials"},
            Actor("acme", Principal(PrincipalType.SERVICE_ACCOUNT, None, "ci", "acme"), Role.EDITOR),
        ),
        (
            ClaimMapping(type="gty"),
            {"sub": "ada", "account_id": "acme", "role": "editor", "gty": "password"},
            ADA,
        ),
    ],
)
def test_the_claims_have_the_names_that_are_set(mapping: ClaimMapping, claims: dict[str, Any], actor: Actor) -> None:
    assert mapping.actor(claims) == actor


async def test_a_new_key_is_found_and_an_old_one_is_forgotten(issuer: Issuer) -> None:
    async with knowing(issuer, tried_at_most_every=AT_ONCE) as authenticator:
        old = issuer.token()
        await known(authenticator, old)
        # when the issuer changes its keys
        del issuer.keys["first"]
        issuer.publish("second", RSA_KEYS[1], "RS256")
        # then
        assert (await known(authenticator, issuer.token("second"))).actor == ADA
        assert "does not publish" in await refusal(authenticator, old)


async def test_invented_key_ids_make_no_more_requests(issuer: Issuer) -> None:
    async with knowing(issuer) as authenticator:
        await known(authenticator, issuer.token())
        for number in range(50):
            token = jwt.encode(issuer.claims(), RSA_KEYS[1], "RS256", {"kid": str(number)})
            assert "does not publish" in await refusal(authenticator, token)
        assert issuer.fetches == 1


async def test_many_at_once_share_a_request(issuer: Issuer) -> None:
    async with knowing(issuer) as authenticator:
        found = await asyncio.gather(*(known(authenticator, issuer.token()) for _ in range(20)))
    assert {each.actor.key for each in found} == {"user:ada"}
    assert issuer.fetches == 1


async def test_without_a_key_id_the_only_key_is_taken(issuer: Issuer) -> None:
    token = jwt.encode(issuer.claims(), RSA_KEYS[0], "RS256")
    async with knowing(issuer) as authenticator:
        assert (await known(authenticator, token)).actor == ADA
    issuer.publish("second", RSA_KEYS[1], "RS256")
    async with knowing(issuer) as authenticator:
        assert "does not publish" in await refusal(authenticator, token)


async def test_an_outage_is_bridged_by_the_keys_that_are_there(issuer: Issuer) -> None:
    async with knowing(issuer, tried_at_most_every=AT_ONCE) as authenticator:
        token = issuer.token()
        await known(authenticator, token)
        # when
        issuer.down = True
        issuer.publish("second", RSA_KEYS[1], "RS256")
        # then
        assert (await known(authenticator, token)).actor == ADA
        with pytest.raises(Unavailable, match="The issuer of tokens did not answer"):
            await known(authenticator, issuer.token("second"))
        # and when it is over
        issuer.down = False
        assert (await known(authenticator, issuer.token("second"))).actor == ADA


async def test_keys_do_not_outlive_a_long_outage(issuer: Issuer) -> None:
    async with knowing(issuer, tried_at_most_every=AT_ONCE, kept_for=AT_ONCE) as authenticator:
        issuer.down = True
        with pytest.raises(Unavailable):
            await known(authenticator, issuer.token())


@pytest.mark.parametrize(
    "jwks",
    [
        Response("no json"),
        Response("[" * 100_000),
        JSONResponse([]),
        JSONResponse({}),
        JSONResponse({"keys": {}}),
        Response(b"{" + b" " * 1_100_000 + b"}"),
        Response("", 404),
        Response("", 302, headers={"location": "/realm/keys"}),
    ],
)
async def test_an_answer_that_cannot_be_used_is_an_outage(issuer: Issuer, jwks: Response) -> None:
    issuer.jwks = jwks
    async with knowing(issuer) as authenticator:
        with pytest.raises(Unavailable):
            await known(authenticator, issuer.token())


@pytest.mark.parametrize(
    "changed",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"alg": "RS512"},
        {"n": 5},
        {"n": "AQAB"},
        {"e": None},
        {"kid": ["first"]},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": []},
        {"crv": {}},
    ],
)
async def test_a_key_that_cannot_be_used_is_passed_over(issuer: Issuer, changed: dict[str, Any]) -> None:
    # given it before one that can
    first = {**public_jwk(RSA_KEYS[0]), "kid": "first", **changed}
    issuer.publish("second", RSA_KEYS[1], "RS256")
    issuer.jwks = JSONResponse({"keys": [5, first, {**public_jwk(RSA_KEYS[1]), "kid": "second"}]})
    async with knowing(issuer) as authenticator:
        assert (await known(authenticator, issuer.token("second"))).actor == ADA
        assert await refusal(authenticator, issuer.token()) != ""


async def test_a_weak_key_lets_nobody_in(issuer: Issuer) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    issuer.jwks = JSONResponse({"keys": [{**public_jwk(weak), "kid": "first"}]})
    with pytest.warns(jwt.warnings.InsecureKeyLengthWarning):
        token = jwt.encode(issuer.claims(), weak, "RS256", {"kid": "first"})
    async with knowing(issuer) as authenticator:
        assert await refusal(authenticator, token) != ""


@pytest.mark.parametrize(
    "configuration",
    [{"issuer": "http://127.0.0.1/other"}, {"jwks_uri": None}, {"jwks_uri": "http://evil.test/keys"}, {"jwks_uri": 5}],
)
async def test_a_configuration_that_cannot_be_trusted(issuer: Issuer, configuration: dict[str, Any]) -> None:
    issuer.configuration = configuration
    async with knowing(issuer) as authenticator:
        with pytest.raises(Unavailable):
            await known(authenticator, issuer.token())


async def test_the_keys_may_be_at_a_url_of_their_own(issuer: Issuer) -> None:
    issuer.configuration = {"jwks_uri": None}
    async with knowing(issuer, jwks_url=f"{issuer.url}/keys") as authenticator:
        assert (await known(authenticator, issuer.token())).actor == ADA


@pytest.mark.parametrize(
    ("url", "issue"),
    [
        ("https://issuer.test/realm", None),
        ("http://localhost:8080/realm", None),
        ("http://[::1]:8080", None),
        ("http://issuer.test", "must be an https URL; http is for this machine only"),
        ("http://127.0.0.1.evil.test", "must be an https URL; http is for this machine only"),
        ("ftp://issuer.test", "must be an https URL"),
        ("issuer.test", "must be an https URL"),
        ("", "must be an https URL"),
        ("https://user:pw@issuer.test", "must hold no credentials"),
        ("https://issuer.test#x", "must have no fragment"),
        ("https://issuer.test:port", "is not a URL"),
    ],
)
def test_urls_of_issuers(url: str, issue: str | None) -> None:
    assert url_issue(url) == issue
