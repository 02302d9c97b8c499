"""An endpoint that is locked to trusted documents, and one that is not."""

from collections.abc import AsyncGenerator
from hashlib import sha256
from typing import Any

import pytest

from schema.limits import Limits
from tests.nextfire.transport.conftest import GRAPHQL_JSON, Served, serving


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


HELLO = "query Hello($name: String!) { hello(name: $name) }"
COUNT = "subscription Count { count(to: 1) }"
SEVERAL = "query A { hello } query B { leaf { name } }"
DEAR = "{ leaves { leaf { name slow held } } }"
TEXTS = {digest(text): text for text in (HELLO, COUNT, SEVERAL, DEAR)}
SSE = "text/event-stream"


@pytest.fixture(scope="module")
async def locked() -> AsyncGenerator[Served, None]:
    async with serving(trusted=TEXTS, limits=Limits(max_cost=20)) as served:
        yield served


def code(answer: Any) -> str:
    (error,) = answer["errors"]
    return str(error["extensions"]["code"])


@pytest.mark.parametrize(
    "named",
    [
        {"documentId": digest(HELLO)},
        {"documentId": f"sha256:{digest(HELLO)}"},
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest(HELLO)}}},
        {"documentId": digest(HELLO), "query": ""},
        # what is sent beside the identifier counts for nothing
        {"documentId": digest(HELLO), "query": "{ big }"},
    ],
)
async def test_a_trusted_document_is_run_by_its_hash(locked: Served, named: dict[str, Any]) -> None:
    # when
    posted = await locked.post({**named, "variables": {"name": "you"}})
    async with locked.socket() as socket:
        await socket.say({"type": "subscribe", "id": "1", "payload": {**named, "variables": {"name": "you"}}})
        heard = await socket.hear()

    # then
    assert posted.json() == heard["payload"] == {"data": {"hello": "hello you"}}


async def test_by_get_by_event_stream_and_by_name(locked: Served) -> None:
    # when
    got = await locked.http.get(locked.url, params={"documentId": digest(HELLO), "variables": '{"name": "you"}'})
    streamed = await locked.post({"documentId": digest(COUNT)}, accept=SSE)
    named = await locked.post({"documentId": digest(SEVERAL), "operationName": "B"})

    # then
    assert got.json() == {"data": {"hello": "hello you"}}
    assert '{"data":{"count":0}}' in streamed.text
    assert named.json() == {"data": {"leaf": {"name": "leaf"}}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"query": "{ hello }"}, "TRUSTED_DOCUMENTS_ONLY"),
        ({"query": COUNT}, "TRUSTED_DOCUMENTS_ONLY"),
        ({"query": "{ __schema { queryType { name } } }"}, "TRUSTED_DOCUMENTS_ONLY"),
        ({"documentId": digest("{ hello }"), "query": "{ hello }"}, "PERSISTED_QUERY_NOT_FOUND"),
        ({"documentId": ""}, "PERSISTED_QUERY_NOT_FOUND"),
        ({"documentId": f"md5:{digest(HELLO)}"}, "PERSISTED_QUERY_NOT_FOUND"),
        ({"documentId": digest(HELLO).upper()}, "PERSISTED_QUERY_NOT_FOUND"),
        ({"documentId": 5}, "BAD_REQUEST"),
        ({"documentId": None}, "BAD_REQUEST"),
        ({"extensions": {"persistedQuery": {"sha256Hash": []}}}, "BAD_REQUEST"),
        ({"extensions": {"persistedQuery": 5}}, "BAD_REQUEST"),
        ({"query": None, "documentId": digest(HELLO)}, "BAD_REQUEST"),
        # the limits hold for trusted documents as well
        ({"documentId": digest(DEAR)}, "OPERATION_TOO_COMPLEX"),
    ],
)
async def test_nothing_else_is_run_on_any_transport(locked: Served, body: dict[str, Any], expected: str) -> None:
    # when
    answers = [await locked.post(body, accept=accept) for accept in ("application/json", GRAPHQL_JSON)]
    streamed = await locked.post(body, accept=SSE)
    async with locked.socket() as socket:
        await socket.say({"type": "subscribe", "id": "1", "payload": body})
        heard = await socket.hear()

    # then
    assert [code(answer.json()) for answer in answers] == [expected] * 2
    assert f'"code":"{expected}"' in streamed.text
    assert heard["type"] == "error"
    assert heard["payload"][0]["extensions"]["code"] == expected


async def test_an_endpoint_that_is_not_locked_says_that_it_keeps_no_documents(served: Served) -> None:
    # when
    by_identifier = await served.post({"documentId": digest(HELLO)})
    with_text = await served.post({"query": "{ hello }", "extensions": {"persistedQuery": {"sha256Hash": "x"}}})

    # then: Apollo's clients send the text when they read this code
    assert code(by_identifier.json()) == "PERSISTED_QUERY_NOT_SUPPORTED"
    assert with_text.json() == {"data": {"hello": "hello world"}}
