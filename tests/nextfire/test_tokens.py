"""The mode `jwt` of the whole API, by the clients that browsers use."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from nextfire.app import create_app
from nextfire.authentication import NotConfigured, checked_mode
from nextfire.settings import AuthMode, Settings
from nextfire.token_mode import claim_mapping, token_rules
from services.principals import Role
from services.token_authentication import LEEWAY, TokenRules
from services.token_claims import ClaimMapping
from tests.nextfire.serving import port_of
from tests.nextfire.transport.conftest import npm_clients
from tests.nextfire.transport.node import run_node
from tests.no_tls import NO_TLS
from tests.services.issuer import AUDIENCE, Issuer, issuing
from tests.stack import settings

__all__ = ["npm_clients"]

FIRES = "subscription { fireStatus { cursor } }"
EXPIRES_IN = 20
"""Seconds; enough for the clients to start."""


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as issuer:
        yield issuer


@asynccontextmanager
async def api(database_url: str, issuer: Issuer, **values: Any) -> AsyncIterator[str]:
    """The address of an API for the issuer's tokens, without `http:`."""
    plain = {"auth": AuthMode.JWT, "jwt_issuer": issuer.url, "jwt_audience": (AUDIENCE,)}
    async with port_of(create_app(settings(database_url, **plain | values))) as port:
        yield f"//127.0.0.1:{port}/graphql"


async def test_a_token_over_http(database_url: str, issuer: Issuer) -> None:
    async with api(database_url, issuer) as url, httpx.AsyncClient(timeout=30, verify=NO_TLS) as http:
        for headers, status in [
            ({}, 401),
            ({"authorization": "Bearer x.y.z"}, 401),
            ({"authorization": f"Bearer {issuer.token(aud='other')}"}, 401),
            ({"authorization": f"Bearer {issuer.token()}"}, 200),
        ]:
            answer = await http.post(f"http:{url}", json={"query": "{ agents { totalCount } }"}, headers=headers)
            assert answer.status_code == status, answer.text
            assert ("www-authenticate" in answer.headers) is (status == 401)
        assert answer.json()["data"] == {"agents": {"totalCount": 0}}


async def test_without_the_issuer_nobody_can_be_known(database_url: str, issuer: Issuer) -> None:
    issuer.down = True
    headers = {"authorization": f"Bearer {issuer.token()}"}
    async with api(database_url, issuer) as url, httpx.AsyncClient(timeout=30, verify=NO_TLS) as http:
        answer = await http.post(f"http:{url}", json={"query": "{ __typename }"}, headers=headers)
        assert answer.status_code == 503
        assert answer.json()["errors"][0]["extensions"] == {"code": "UNAVAILABLE"}
        ready = await http.get(f"http:{url}".replace("graphql", "healthz"))
        assert ready.status_code == 200


async def test_the_clients_of_browsers_are_turned_away(database_url: str, issuer: Issuer, npm_clients: Path) -> None:
    forged = f"Bearer {issuer.token(iss='https://evil.test')}"
    async with api(database_url, issuer) as url:
        over_socket = await run_node(npm_clients, "subscribe.mjs", "ws", f"ws:{url}", FIRES, forged)
        over_events = await run_node(npm_clients, "subscribe.mjs", "sse", f"http:{url}", FIRES, forged)
    reason = "Nobody is known by these credentials. The token is from another issuer."
    assert over_socket == {"results": [], "error": {"code": 4401, "reason": reason}}
    assert over_events["results"] == []
    assert "401" in over_events["error"]


async def test_the_clients_of_browsers_are_ended_at_expiry(
    database_url: str, issuer: Issuer, npm_clients: Path
) -> None:
    # given a token that the leeway keeps alive for a while
    until = int(time.time()) + EXPIRES_IN
    authorization = f"Bearer {issuer.token(exp=until - int(LEEWAY.total_seconds()))}"
    # when both are there by then
    async with api(database_url, issuer) as url:
        over_socket, over_events = await asyncio.gather(
            run_node(npm_clients, "subscribe.mjs", "ws", f"ws:{url}", FIRES, authorization),
            run_node(npm_clients, "subscribe.mjs", "sse", f"http:{url}", FIRES, authorization),
        )
    # then
    assert time.time() >= until
    assert (over_socket["results"], over_socket["error"]["code"]) == ([], 4401)
    assert over_events["error"] is None
    (last,) = over_events["results"]
    assert last["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}


JWT = {"auth": "jwt", "jwt_issuer": "https://issuer.test", "jwt_audience": "nextfire"}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"jwt_issuer": None}, "NEXTFIRE_JWT_ISSUER"),
        ({"jwt_issuer": "http://issuer.test"}, "NEXTFIRE_JWT_ISSUER"),
        ({"jwt_audience": ""}, "NEXTFIRE_JWT_AUDIENCE"),
        ({"jwt_jwks_url": "https://user:secret@issuer.test/keys"}, "NEXTFIRE_JWT_JWKS_URL"),
        ({"jwt_algorithms": "RS256,HS256"}, "NEXTFIRE_JWT_ALGORITHMS"),
        ({"jwt_algorithms": "none"}, "NEXTFIRE_JWT_ALGORITHMS"),
        ({"jwt_algorithms": ""}, "NEXTFIRE_JWT_ALGORITHMS"),
    ],
)
def test_what_the_mode_needs_is_named(values: dict[str, Any], named: str) -> None:
    wrong = Settings(database_url=SecretStr("postgresql://x"), **JWT | values)
    with pytest.raises(NotConfigured) as caught:
        checked_mode(wrong)
    assert named in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_environment_names_the_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    for name, value in {
        "DATABASE_URL": "postgresql://x",
        "NEXTFIRE_AUTH": "jwt",
        "NEXTFIRE_JWT_ISSUER": "https://issuer.test",
        "NEXTFIRE_JWT_AUDIENCE": "one, two",
        "NEXTFIRE_JWT_ALGORITHMS": "ES256,EdDSA",
        "NEXTFIRE_JWT_ACCOUNT_CLAIM": "org.id",
        "NEXTFIRE_JWT_SUBJECT_CLAIM": "email",
        "NEXTFIRE_JWT_TYPE_CLAIM": "gty",
        "NEXTFIRE_JWT_SERVICE_ACCOUNTS": "client-credentials",
        "NEXTFIRE_JWT_ROLE_CLAIM": "scope",
        "NEXTFIRE_JWT_ROLES": "https://x.test/?a=b=editor, ops=Operator",
        "NEXTFIRE_JWT_DEFAULT_ROLE": "viewer",
    }.items():
        monkeypatch.setenv(name, value)
    # when
    read = Settings()  # type: ignore[call-arg]
    # then
    assert checked_mode(read) is AuthMode.JWT
    assert token_rules(read) == TokenRules("https://issuer.test", ("one", "two"), ("ES256", "EdDSA"))
    assert claim_mapping(read) == ClaimMapping(
        account="org.id",
        subject="email",
        type="gty",
        service_accounts=("client-credentials",),
        role="scope",
        roles={"https://x.test/?a=b": Role.EDITOR, "ops": Role.OPERATOR},
        default_role=Role.VIEWER,
    )
    # and without a mapping, roles have their own names
    monkeypatch.delenv("NEXTFIRE_JWT_ROLES")
    assert claim_mapping(Settings()).roles["operator"] is Role.OPERATOR  # type: ignore[call-arg]
