"""The mode `provider` of the whole API, over a real authorization provider."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from websockets.asyncio.client import connect

from nextfire.app import create_app
from tests.agents.scripted import status
from tests.nextfire.serving import port_of
from tests.nextfire.transport.conftest import Socket
from tests.no_tls import NO_TLS
from tests.provider.scripted import AUTHN, ScriptedProvider, principal
from tests.stack import provided_by, settings

AGENTS = "{ agents { totalCount } }"


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as server:
        server.tokens["ada's"] = principal("ada")
        yield server


@pytest.fixture
async def url(database_url: str, provider: ScriptedProvider) -> AsyncIterator[str]:
    async with port_of(create_app(settings(database_url, **provided_by(provider.url)))) as port:
        yield f"//127.0.0.1:{port}/graphql"


async def ask(url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30, trust_env=False, verify=NO_TLS) as http:
        return await http.post(f"http:{url}", json={"query": AGENTS}, headers=headers)


@asynccontextmanager
async def socket(url: str, token: str) -> AsyncIterator[Socket]:
    """A socket that has sent connection_init."""
    async with connect(f"ws:{url}", subprotocols=["graphql-transport-ws"]) as connection:  # type: ignore[list-item]
        opened = Socket(connection)
        await opened.say({"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}})
        yield opened


async def test_whoever_the_provider_knows_is_let_in(url: str, provider: ScriptedProvider) -> None:
    assert (await ask(url)).status_code == 401
    assert (await ask(url, authorization="Bearer eve's")).status_code == 401
    known = await ask(url, authorization="Bearer ada's")
    assert (known.status_code, known.json()["data"]) == (200, {"agents": {"totalCount": 0}})
    assert provider.of_path(AUTHN)[-1].headers["authorization"] == "Bearer ada's"


@pytest.mark.parametrize(("answered", "code"), [(500, "UNAVAILABLE"), (404, "PROVIDER_MISCONFIGURED")])
async def test_without_the_provider_nobody_is_let_in(
    url: str, provider: ScriptedProvider, answered: int, code: str
) -> None:
    provider.broken[AUTHN] = status(answered)
    refused = await ask(url, authorization="Bearer ada's")
    assert refused.status_code == 503
    assert refused.json()["errors"][0]["extensions"]["code"] == code
    async with socket(url, "ada's") as refused_socket:
        assert (await refused_socket.closed())[0] == 1013


@pytest.mark.parametrize(("token", "closed"), [("ada's", None), ("eve's", 4401)])
async def test_a_socket_is_asked_about_as_well(url: str, token: str, closed: int | None) -> None:
    async with socket(url, token) as opened:
        if closed is not None:
            assert (await opened.closed())[0] == closed
            return
        assert await opened.hear() == {"type": "connection_ack"}
        await opened.subscribe(AGENTS)
        assert (await opened.hear())["payload"]["data"] == {"agents": {"totalCount": 0}}
