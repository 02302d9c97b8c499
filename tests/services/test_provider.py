"""The provider's HTTP contract against a real server, which also answers in every wrong way."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from services.authorization import Operation, Resource, ResourceType
from services.errors import NextfireError, ProviderMisconfigured, Unauthenticated, Unavailable
from services.provider import Denied, Provider, http_client
from tests.agents.scripted import Answer, drop, hang, status
from tests.provider.scripted import (
    AUTHN,
    CHECK,
    DEREGISTER,
    GRANT,
    REGISTER,
    REVOKE,
    SEARCH,
    ScriptedProvider,
    answer,
    principal,
)

ADA = principal("ada", quota=12345678901234567890123, tags=["é", "\ud800"])
SCHEDULE = Resource(ResourceType.SCHEDULE, "run-schedule::A::S")
AGENT = Resource(ResourceType.AGENT, "A")

CALLS: dict[str, Callable[[Provider], Awaitable[Any]]] = {
    AUTHN: lambda provider: provider.authenticate({"authorization": "Bearer ada"}),
    CHECK: lambda provider: provider.check(ADA, SCHEDULE, Operation.UPDATE),
    GRANT: lambda provider: provider.grant(ADA, SCHEDULE),
    REVOKE: lambda provider: provider.revoke(ADA, SCHEDULE),
    REGISTER: lambda provider: provider.register(ADA, SCHEDULE, AGENT),
    DEREGISTER: lambda provider: provider.deregister(ADA, SCHEDULE),
    SEARCH: lambda provider: provider.search(ADA, ResourceType.SCHEDULE, Operation.READ),
}
YES = {AUTHN: ADA, CHECK: True, GRANT: None, REVOKE: None, REGISTER: None, DEREGISTER: None, SEARCH: frozenset()}

NO_ANSWER: dict[str, Answer] = {
    "200 without a body": Answer(),
    "200 with HTML": Answer(body=b"<html>Sign in</html>"),
    "200 with half of JSON": Answer(body=b'{"items": ["run-sched'),
    "200 with NaN": Answer(body=b"NaN"),
    "200 with JSON that is too deep": Answer(body=b"[" * 100_000),
    "200 in another encoding": Answer(body=b"\xff\xfe{"),
    "200 with what is no gzip": Answer(body=b"{}", headers=(("content-encoding", "gzip"),)),
    "200 with a huge body": Answer(pieces=(b'{"items": ["', *([b"x" * 1_048_576] * 17), b'"]}')),
    "200 with a body that unpacks hugely": Answer(
        body=gzip.compress(b'["' + b"x" * 20_000_000 + b'"]'), headers=(("content-encoding", "gzip"),)
    ),
    "200 with a body that is cut": Answer(body=b'{"items": []}', cut=True),
    "201": answer({}, 201),
    "202": answer({}, 202),
    "204": status(204),
    "302": Answer(status=302, headers=(("location", "/v1/elsewhere"),)),
    "400": answer({}, 400),
    "404": answer({}, 404),
    "409": answer({}, 409),
    "418": answer({}, 418),
    "422": answer({}, 422),
    "429": status(429, "1"),
    "500": answer({}, 500),
    "503": status(503, "1"),
    "a closed connection": drop(effect=False),
    "a reset": drop(effect=False, reset=True),
    "no HTTP": Answer(raw=b"220 smtp.example.com ESMTP\r\n"),
    "no end": hang(),
}


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider(tokens={"ada": ADA}) as server:
        yield server


@pytest.fixture
async def provider(scripted: ScriptedProvider) -> AsyncIterator[Provider]:
    async with http_client() as http:
        yield Provider(http, scripted.url + "/")


@pytest.mark.parametrize("path", CALLS)
async def test_each_call_says_what_the_contract_says(path: str, scripted: ScriptedProvider, provider: Provider) -> None:
    assert await CALLS[path](provider) == YES[path]
    (asked,) = scripted.asked
    assert asked.path == path
    resource, parent = {"type": "schedule", "selector": "run-schedule::A::S"}, {"type": "agent", "selector": "A"}
    bodies: dict[str, Any] = {
        CHECK: {"principal": ADA, "resource": resource, "operation": "update"},
        GRANT: {"principal": ADA, "resource": resource, "operation": "create"},
        REVOKE: {"principal": ADA, "resource": resource, "operation": "delete"},
        REGISTER: {"principal": ADA, "resource": resource, "parent": parent},
        DEREGISTER: {"principal": ADA, "resource": resource},
        SEARCH: {"principal": ADA, "filter_resource": "schedule", "filter_operation": "read"},
    }
    if path == AUTHN:
        assert asked.body == b""
    else:
        assert asked.json == bodies[path]
        assert asked.headers["content-type"] == "application/json"


async def test_what_has_no_parent_says_so(scripted: ScriptedProvider, provider: Provider) -> None:
    await provider.register(ADA, AGENT, None)
    assert scripted.asked[0].json["parent"] is None


@pytest.mark.parametrize("name", NO_ANSWER)
async def test_what_is_no_answer_is_neither_a_yes_nor_a_no(name: str, scripted: ScriptedProvider) -> None:
    patience = timedelta(milliseconds=300) if name == "no end" else timedelta(seconds=30)
    async with http_client() as http:
        provider = Provider(http, scripted.url, patience)
        for path, call in CALLS.items():
            scripted.broken[path] = NO_ANSWER[name]
            with pytest.raises(Unavailable) as refused:
                await call(provider)
            assert isinstance(refused.value, ProviderMisconfigured) == (name in ("404", "422"))
    assert [asked.path for asked in scripted.asked] == [*CALLS]


async def test_a_provider_that_is_away_is_unavailable(scripted: ScriptedProvider, provider: Provider) -> None:
    await scripted.refuse()
    for call in CALLS.values():
        with pytest.raises(Unavailable):
            await call(provider)


async def test_an_answer_that_drips_ends_with_the_patience(scripted: ScriptedProvider) -> None:
    scripted.broken[CHECK] = Answer(pieces=(b"{", asyncio.Event(), b"}"))
    async with http_client() as http:
        with pytest.raises(Unavailable):
            await Provider(http, scripted.url, timedelta(milliseconds=300)).check(ADA, AGENT, Operation.READ)


@pytest.mark.parametrize("path", CALLS)
async def test_401_is_nobody(path: str, scripted: ScriptedProvider, provider: Provider) -> None:
    scripted.broken[path] = answer({"detail": "expired"}, 401)
    with pytest.raises(Unauthenticated):
        await CALLS[path](provider)


@pytest.mark.parametrize("path", CALLS)
async def test_403_is_a_no_whatever_its_body(path: str, scripted: ScriptedProvider, provider: Provider) -> None:
    scripted.broken[path] = status(403)
    refusals: dict[str, type[Exception]] = {AUTHN: Unauthenticated, CHECK: NextfireError, SEARCH: NextfireError}
    if path == CHECK:
        assert await CALLS[path](provider) is False
    elif path == SEARCH:
        assert await CALLS[path](provider) == frozenset()
    else:
        with pytest.raises(refusals.get(path, Denied)):
            await CALLS[path](provider)


@pytest.mark.parametrize("body", [None, {}, [], "yes", 1])
async def test_a_check_is_allowed_by_200_and_any_json(
    body: object, scripted: ScriptedProvider, provider: Provider
) -> None:
    scripted.broken[CHECK] = answer(body)
    assert await provider.check(ADA, AGENT, Operation.READ)


@pytest.mark.parametrize("body", [None, [], "ada", 1, True])
async def test_a_principal_is_an_object(body: object, scripted: ScriptedProvider, provider: Provider) -> None:
    scripted.broken[AUTHN] = answer(body)
    with pytest.raises(Unavailable):
        await provider.authenticate({"authorization": "Bearer ada"})


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"items": ["a", "b"]}, frozenset({"a", "b"})),
        ({"items": []}, frozenset()),
        ({"items": ["a"], "unscoped": False}, frozenset({"a"})),
        ({"unscoped": True}, None),
    ],
)
async def test_a_search_finds_items_or_everything(
    body: object, found: frozenset[str] | None, scripted: ScriptedProvider, provider: Provider
) -> None:
    scripted.broken[SEARCH] = answer(body)
    assert await provider.search(ADA, ResourceType.AGENT, Operation.READ) == found


@pytest.mark.parametrize(
    "body",
    [
        {},
        None,
        [],
        ["a"],
        "a",
        {"unscoped": "true"},
        {"unscoped": 1},
        {"unscoped": False},
        {"items": None},
        {"items": "a"},
        {"items": {"a": 1}},
        {"items": ["a", 1]},
        {"results": ["a"]},
    ],
)
async def test_a_search_of_another_form_fails_closed(
    body: object, scripted: ScriptedProvider, provider: Provider
) -> None:
    scripted.broken[SEARCH] = answer(body)
    with pytest.raises(Unavailable):
        await provider.search(ADA, ResourceType.AGENT, Operation.READ)


async def test_headers_are_forwarded_but_for_those_of_the_connection(
    scripted: ScriptedProvider, provider: Provider
) -> None:
    # given a request with headers of all kinds
    sent = {
        "Authorization": "Bearer ada",
        "Cookie": "session=1; other=é",
        "X-Account": "acme",
        "Accept": "text/event-stream",
        "User-Agent": "browser",
        "Content-Type": "application/json",
        "Content-Length": "1234",
        "Host": "nextfire.example.com",
        "Connection": "upgrade",
        "Upgrade": "websocket",
        "Transfer-Encoding": "chunked",
        "Expect": "100-continue",
    }
    # when the provider is asked who that is
    assert await provider.authenticate(sent) == ADA
    # then it is told all of them but those, and nothing of our own but what makes a request
    (asked,) = scripted.asked
    assert asked.body == b""
    assert asked.headers == {
        "authorization": "Bearer ada",
        "cookie": "session=1; other=é",
        "x-account": "acme",
        "accept": "text/event-stream",
        "user-agent": "browser",
        "content-type": "application/json",
        "content-length": "0",
        "host": scripted.url.removeprefix("http://"),
    }


@pytest.mark.parametrize("value", ["Bearer ada\r\nx-admin: 1", "Bearer \N{SNOWMAN}", "Bearer \x00"])
async def test_a_header_that_is_none_is_nobodys(value: str, scripted: ScriptedProvider, provider: Provider) -> None:
    with pytest.raises(Unauthenticated):
        await provider.authenticate({"authorization": value})
    assert scripted.asked == []


async def test_cookies_of_the_provider_are_not_kept(scripted: ScriptedProvider, provider: Provider) -> None:
    scripted.broken[AUTHN] = answer(ADA).but(headers=(("set-cookie", "session=someone"),))
    await provider.authenticate({"authorization": "Bearer ada"})
    await provider.authenticate({"authorization": "Bearer ada"})
    assert [asked.headers.get("cookie") for asked in scripted.asked] == [None, None]


async def test_the_principal_goes_back_as_it_came(scripted: ScriptedProvider, provider: Provider) -> None:
    scripted.broken[AUTHN] = Answer(body=json.dumps(ADA).encode())
    await provider.check(await provider.authenticate({}), AGENT, Operation.READ)
    assert scripted.asked[1].json["principal"] == ADA
