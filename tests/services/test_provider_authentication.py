"""Who asks, by the provider: what is remembered, for how long, and what of a principal can be used."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from services.authentication import Authenticated
from services.errors import Unauthenticated, Unavailable
from services.principals import Actor, Principal, PrincipalType
from services.provider import Provider, http_client
from services.provider_authentication import REMEMBERED, ProviderAuthenticator, actor_of
from tests.provider.scripted import AUTHN, ScriptedProvider, answer, principal

ADA = principal("ada", secret="planted")
BOB = principal("bob")


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider(tokens={"ada": ADA, "bob": BOB}) as server:
        yield server


@pytest.fixture
async def provider(scripted: ScriptedProvider) -> AsyncIterator[Provider]:
    async with http_client() as http:
        yield Provider(http, scripted.url)


def bearer(token: str, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", **more}


async def test_the_actor_is_the_provider_s_principal(provider: Provider) -> None:
    known = await ProviderAuthenticator(provider).authenticate(bearer("ada"))
    assert known == Authenticated(Actor("acme", Principal(PrincipalType.USER, "ada", None, "acme")))
    assert known.actor.presented == ADA
    assert known.actor.to_json() == {
        "principal_type": "user",
        "user_id": "ada",
        "service_account_id": None,
        "account_id": "acme",
    }


async def test_a_principal_is_remembered_for_its_credentials_alone(
    scripted: ScriptedProvider, provider: Provider
) -> None:
    authenticator = ProviderAuthenticator(provider)
    first = await authenticator.authenticate(bearer("ada", **{"x-request-id": "1"}))
    # what changes from request to request asks nothing anew
    assert await authenticator.authenticate(bearer("ada", **{"x-request-id": "2"})) is first
    assert len(scripted.asked) == 1
    # but whatever the provider may look at does
    others = [bearer("bob"), bearer("ada", cookie="account=other"), bearer("ada", **{"x-account": "other"}), {}]
    for headers in others[:-1]:
        await authenticator.authenticate(headers)
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(others[-1])
    assert len(scripted.asked) == 1 + len(others)


async def test_a_principal_is_asked_for_again_after_a_while(scripted: ScriptedProvider, provider: Provider) -> None:
    authenticator = ProviderAuthenticator(provider, remembered_for=timedelta(0))
    await authenticator.authenticate(bearer("ada"))
    del scripted.tokens["ada"]
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(bearer("ada"))


async def test_what_is_no_answer_is_not_remembered(scripted: ScriptedProvider, provider: Provider) -> None:
    authenticator = ProviderAuthenticator(provider)
    for broken in (answer({}, 500), answer({}, 401), answer({"user_id": "ada"})):
        scripted.broken[AUTHN] = broken
        with pytest.raises((Unavailable, Unauthenticated)):
            await authenticator.authenticate(bearer("ada"))
    scripted.broken.clear()
    assert (await authenticator.authenticate(bearer("ada"))).actor.presented == ADA


async def test_what_is_remembered_is_bounded_and_holds_no_credentials(provider: Provider) -> None:
    authenticator = ProviderAuthenticator(provider)
    for number in range(REMEMBERED + 10):
        headers = bearer("ada", cookie=f"planted-{number}")
        authenticator._known[authenticator._digest(headers)] = Authenticated(actor_of(ADA))
    assert len(authenticator._known) == REMEMBERED
    assert "planted-" not in repr(list(authenticator._known))


@pytest.mark.parametrize(
    ("presented", "type", "id"),
    [
        ({"user_id": "ada", "account_id": "a"}, PrincipalType.USER, "ada"),
        ({"service_account_id": "bot", "account_id": "a"}, PrincipalType.SERVICE_ACCOUNT, "bot"),
        ({"principal_type": "USER", "user_id": "ada", "account_id": "a"}, PrincipalType.USER, "ada"),
        (
            {"principal_type": "service_account", "user_id": "", "service_account_id": "bot", "account_id": "a"},
            PrincipalType.SERVICE_ACCOUNT,
            "bot",
        ),
    ],
)
def test_what_is_left_out_of_a_principal_follows_from_the_rest(
    presented: dict[str, Any], type: PrincipalType, id: str
) -> None:
    principal = actor_of(presented).principal
    assert principal is not None
    assert (principal.type, principal.user_id or principal.service_account_id) == (type, id)


@pytest.mark.parametrize(
    "presented",
    [
        {},
        {"user_id": "ada"},
        {"account_id": "a"},
        {"user_id": "", "account_id": "a"},
        {"user_id": "ada", "account_id": ""},
        {"user_id": "ada", "account_id": 7},
        {"user_id": ["ada"], "account_id": "a"},
        {"user_id": "a\x00b", "account_id": "a"},
        {"user_id": "\ud800", "account_id": "a"},
        {"user_id": "a" * 257, "account_id": "a"},
        {"user_id": "ada", "account_id": "a", "principal_type": "robot"},
        {"user_id": "ada", "account_id": "a", "principal_type": {}},
    ],
)
def test_a_principal_of_another_form_fails_closed(presented: dict[str, Any]) -> None:
    with pytest.raises(Unavailable):
        actor_of(presented)
