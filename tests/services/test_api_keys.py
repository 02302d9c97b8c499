"""API keys: their text, their rows, and who holds one."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from services.api_key import SECRET_LENGTH, ApiKey, _checksum, id_in, new_key, read_key
from services.api_keys import ApiKeys
from services.authentication import Authenticated
from services.database import Database
from services.errors import InvalidInput, NotFound, Unauthenticated, Unavailable
from services.key_authentication import KeyAuthenticator
from services.principals import Actor, Principal, PrincipalType, Role
from services.tables import api_keys

FORM = re.compile(r"nfk_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}")
AT_ONCE = timedelta(microseconds=1)
"""A key is looked up anew at each request."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=2)
    yield database
    await database.close()


@pytest.fixture
def keys(database: Database) -> ApiKeys:
    return ApiKeys(database)


def forgery(key_id: str) -> str:
    """A well-formed key with the id of another one."""
    body = f"nfk_{key_id}_{'A' * SECRET_LENGTH}"
    return body + _checksum(body)


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


async def refusal(authenticator: KeyAuthenticator, headers: dict[str, str]) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await authenticator.authenticate(headers)
    return caught.value.message


def test_a_key_is_read_back_and_no_two_are_alike() -> None:
    made = [new_key() for _ in range(200)]
    assert [read_key(key.text) for key in made] == made
    assert len({key.text for key in made} | {key.id for key in made}) == 400
    for key in made:
        assert FORM.fullmatch(key.text)
        assert id_in(key.text) == id_in(key.id) == id_in(f"nfk_{key.id}") == key.id
        assert key.text not in repr(key)


@given(st.integers(4, 54), st.sampled_from("0aZ_-é \n"))
def test_one_wrong_character_is_no_key(position: int, character: str) -> None:
    key = new_key().text
    wrong = key[:position] + character + key[position + 1 :]
    assert wrong == key or read_key(wrong) is None


@given(st.text())
def test_other_texts_are_no_keys(other: str) -> None:
    assert read_key(other) is None
    assert read_key(f"nfk_{other}") is None


async def test_the_holder_is_a_service_account(keys: ApiKeys) -> None:
    # given
    until = datetime.now(UTC) + timedelta(hours=1)
    key, text_ = await keys.create(account_id="acme", name="deploy", role=Role.EDITOR, expires_at=until)
    # when
    known = await KeyAuthenticator(keys).authenticate(bearer(text_.text))
    # then
    principal = Principal(PrincipalType.SERVICE_ACCOUNT, None, "deploy", "acme")
    assert known == Authenticated(Actor("acme", principal, Role.EDITOR), until)
    assert (key.id, key.account_id, key.name, key.role, key.expires_at) == (
        text_.id,
        "acme",
        "deploy",
        Role.EDITOR,
        until,
    )


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
async def test_the_scheme_is_read_as_http_says(keys: ApiKeys, scheme: str) -> None:
    _, key = await keys.create(account_id="acme", name="deploy", role=Role.VIEWER, expires_at=None)
    known = await KeyAuthenticator(keys).authenticate({"authorization": f"{scheme} {key.text} "})
    assert known.actor.role is Role.VIEWER


@pytest.mark.parametrize("sent", ["", "Bearer", "Bearer ", "Basic {key}", "{key}", "Bearer {key}, Bearer {key}"])
async def test_without_a_bearer_nobody_is_known(keys: ApiKeys, sent: str) -> None:
    _, key = await keys.create(account_id="acme", name="deploy", role=Role.VIEWER, expires_at=None)
    message = await refusal(KeyAuthenticator(keys), {"authorization": sent.format(key=key.text)})
    assert key.text not in message


async def test_an_unknown_key_and_a_wrong_secret_are_answered_alike(keys: ApiKeys) -> None:
    # given a key, and another text with its id
    _, key = await keys.create(account_id="acme", name="deploy", role=Role.VIEWER, expires_at=None)
    authenticator = KeyAuthenticator(keys)
    await authenticator.authenticate(bearer(key.text))
    forged = forgery(key.id)
    # when
    messages = {await refusal(authenticator, bearer(each)) for each in (forged, new_key().text)}
    # then
    assert messages == {"Nobody is known by these credentials. There is no such API key."}


async def test_a_revoked_key_is_refused_for_good(keys: ApiKeys) -> None:
    # given
    made, key = await keys.create(account_id="acme", name="deploy", role=Role.VIEWER, expires_at=None)
    authenticator = KeyAuthenticator(keys, kept_for=AT_ONCE)
    await authenticator.authenticate(bearer(key.text))
    # when
    revoked = await keys.revoke(made.id)
    again = await keys.revoke(key.text)
    # then
    assert revoked.revoked_at is not None
    assert again.revoked_at == revoked.revoked_at
    assert "was revoked" in await refusal(authenticator, bearer(key.text))
    with pytest.raises(NotFound):
        await keys.revoke(new_key().id)
    with pytest.raises(NotFound):
        await keys.revoke("'; DROP TABLE api_keys")


async def test_a_key_is_kept_for_a_moment_only(keys: ApiKeys, database: Database) -> None:
    # given one that was used just now
    made, key = await keys.create(account_id="acme", name="deploy", role=Role.VIEWER, expires_at=None)
    authenticator = KeyAuthenticator(keys, kept_for=timedelta(hours=1))
    await authenticator.authenticate(bearer(key.text))
    # when it is revoked
    await keys.revoke(made.id)
    # then it works no longer than it is kept
    await authenticator.authenticate(bearer(key.text))
    assert "was revoked" in await refusal(KeyAuthenticator(keys), bearer(key.text))


class CountedKeys(ApiKeys):
    """Keys that count how often one was looked up."""

    found = 0

    async def find(self, key_id: str) -> ApiKey | None:
        self.found += 1
        return await super().find(key_id)


async def test_a_crowd_with_one_key_looks_it_up_once(database: Database) -> None:
    # given
    keys = CountedKeys(database)
    _, key = await keys.create(account_id="acme", name="deploy", role=Role.VIEWER, expires_at=None)
    authenticator = KeyAuthenticator(keys)
    # when
    known = await asyncio.gather(*(authenticator.authenticate(bearer(key.text)) for _ in range(20)))
    # then
    assert keys.found == 1
    assert known == [known[0]] * 20


async def test_an_expired_key_is_refused_and_listed_as_ended_only(keys: ApiKeys, database: Database) -> None:
    # given
    soon = datetime.now(UTC) + timedelta(days=1)
    made, key = await keys.create(account_id="acme", name="deploy", role=Role.VIEWER, expires_at=soon)
    # when
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE api_keys SET created_at = now() - interval '2 h', expires_at = now() - interval '1 h'")
        )
    # then
    assert "has expired" in await refusal(KeyAuthenticator(keys), bearer(key.text))
    assert [each.id for each in await keys.all("acme", ended=True)] == [made.id]
    assert await keys.all("acme", ended=False) == []


async def test_use_is_noted_once_a_minute(keys: ApiKeys) -> None:
    # given
    made, key = await keys.create(account_id="acme", name="deploy", role=Role.VIEWER, expires_at=None)
    assert made.last_used_at is None
    authenticator = KeyAuthenticator(keys, kept_for=AT_ONCE)
    # when
    await authenticator.authenticate(bearer(key.text))
    (first,) = await keys.all(None, ended=False)
    await authenticator.authenticate(bearer(key.text))
    (second,) = await keys.all(None, ended=False)
    # then
    assert first.last_used_at is not None
    assert second == first


async def test_what_cannot_be_a_key_asks_nothing_and_what_can_needs_postgres() -> None:
    # given a database that is not there
    away = Database("postgresql://nobody@127.0.0.1:9/nothing", pool_size=1)
    authenticator = KeyAuthenticator(ApiKeys(away))
    # then
    assert "no API key" in await refusal(authenticator, bearer("nfk_mistyped"))
    with pytest.raises(Unavailable):
        await authenticator.authenticate(bearer(new_key().text))
    await away.close()


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"account_id": " "}, "account"),
        ({"account_id": "a\0b"}, "account"),
        ({"name": "Not A Name"}, "name"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "expiresAt"),
    ],
)
async def test_what_is_wrong_with_a_new_key_is_said(keys: ApiKeys, values: dict[str, object], path: str) -> None:
    wanted = {"account_id": "acme", "name": "deploy", "role": Role.VIEWER, "expires_at": None, **values}
    with pytest.raises(InvalidInput) as caught:
        await keys.create(**wanted)  # type: ignore[arg-type]
    assert [issue.path for issue in caught.value.issues] == [(path,)]


async def test_the_list_is_by_account_and_oldest_first(keys: ApiKeys) -> None:
    # given
    made = [
        (await keys.create(account_id=account, name=name, role=Role.VIEWER, expires_at=None))[0]
        for account, name in [("acme", "one"), ("other", "two"), ("acme", "three")]
    ]
    await keys.revoke(made[2].id)
    # then
    assert [key.name for key in await keys.all(None, ended=True)] == ["one", "two", "three"]
    assert [key.name for key in await keys.all(None, ended=False)] == ["one", "two"]
    assert [key.name for key in await keys.all("acme", ended=True)] == ["one", "three"]


@pytest.mark.parametrize(
    "wrong",
    [{"digest": b"short"}, {"id": "short"}, {"role": "KING"}, {"account_id": ""}, {"name": "-"}],
)
async def test_the_database_takes_no_malformed_row(database: Database, wrong: dict[str, object]) -> None:
    row = {"id": "0123456789ab", "account_id": "acme", "name": "deploy", "role": "VIEWER", "digest": bytes(32)}
    with pytest.raises(IntegrityError) as caught:
        async with database.transaction() as connection:
            await connection.execute(api_keys.insert().values(**row | wrong))
    assert f"api_keys_{next(iter(wrong))}_check" in str(caught.value)
