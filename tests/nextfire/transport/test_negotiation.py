"""Which media type answers, and with which status."""

import pytest

from nextfire.transport.negotiation import GRAPHQL_JSON, JSON, MULTIPART, SSE, Answer, negotiate
from nextfire.transport.refusal import Refusal
from tests.nextfire.transport.conftest import Served

URQL = f"{GRAPHQL_JSON}, application/graphql+json, {JSON}, {SSE}, {MULTIPART}"
APOLLO = f"{MULTIPART};incrementalSpec=v0.2,{GRAPHQL_JSON},{JSON};q=0.9"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
HELLO = {"query": "{ hello }"}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (BROWSER, JSON),
        (JSON, JSON),
        (GRAPHQL_JSON, GRAPHQL_JSON),
        (f"{GRAPHQL_JSON};q=0.5, {JSON}", JSON),
        (f"{GRAPHQL_JSON}, {JSON};q=0.9", GRAPHQL_JSON),
        (f"{JSON};q=0, */*", GRAPHQL_JSON),
        (f"*/*;q=0.1, {GRAPHQL_JSON};q=0.2", GRAPHQL_JSON),
        (f"{JSON};q=x, {GRAPHQL_JSON};q=0.1", GRAPHQL_JSON),
        (f" {GRAPHQL_JSON.upper()} ; charset=utf-8 ;Q=1", GRAPHQL_JSON),
        (URQL, GRAPHQL_JSON),
        (APOLLO, GRAPHQL_JSON),
        (SSE, SSE),
        (f"{SSE}, {JSON};q=0.9", SSE),
        (f"{JSON}, {SSE}", JSON),
        (MULTIPART, MULTIPART),
        (f"garbage, ,;, {JSON}", JSON),
    ],
)
def test_one_result(accept: str | None, expected: str) -> None:
    assert negotiate(accept, subscribes=False, defers=False) == Answer(expected)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, Answer(JSON)),
        ("*/*", Answer(JSON)),
        ("multipart/*", None),
        (JSON, Answer(JSON)),
        (URQL, Answer(GRAPHQL_JSON, SSE)),
        (APOLLO, Answer(GRAPHQL_JSON, MULTIPART)),
        (MULTIPART, Answer(MULTIPART, MULTIPART)),
        (SSE, Answer(SSE, SSE)),
        (f"{JSON}, {MULTIPART};q=0.5", Answer(JSON)),
        (f"{MULTIPART};q=0.5, {SSE};q=0.6, {JSON};q=0.5", Answer(JSON, SSE)),
        (f"{MULTIPART};subscriptionSpec=1.0, {JSON}", Answer(JSON)),
        (f"{MULTIPART};q=0, {JSON}", Answer(JSON)),
    ],
)
def test_a_result_in_parts(accept: str | None, expected: Answer | None) -> None:
    if expected is None:
        with pytest.raises(Refusal):
            negotiate(accept, subscribes=False, defers=True)
    else:
        assert negotiate(accept, subscribes=False, defers=True) == expected


async def test_a_type_that_is_not_offered_is_406(served: Served) -> None:
    # when
    response = await served.post({"query": 'mutation { record(call: "x") }'}, accept="text/html")

    # then: told in JSON all the same, and nothing ran
    assert (response.status_code, response.headers["content-type"]) == (406, "application/json; charset=utf-8")
    assert response.json()["errors"][0]["extensions"] == {"code": "BAD_REQUEST"}
    assert served.toy.context.calls == []


async def test_a_subscription_by_plain_post_says_how_to_get_it(served: Served) -> None:
    # when
    response = await served.post({"query": "subscription { count }"}, accept=JSON)

    # then
    assert response.status_code == 406
    assert list(response.json()) == ["errors"]
    assert "text/event-stream" in response.text
    assert "graphql-transport-ws" in response.text


@pytest.mark.parametrize(
    ("query", "variables", "status", "code"),
    [
        ("{", None, 400, "GRAPHQL_PARSE_FAILED"),
        ("{ nope }", None, 422, "GRAPHQL_VALIDATION_FAILED"),
        ("query($n: Int!) { leaves(count: $n) { name } }", {"n": None}, 422, "BAD_USER_INPUT"),
        ("query A { hello } query B { hello }", None, 422, "BAD_USER_INPUT"),
        ("{ " + "hello " * 2_000 + "}", None, 400, "OPERATION_TOO_COMPLEX"),
        ("{ " + "leaf { " * 11 + "name" + " }" * 12, None, 422, "OPERATION_TOO_COMPLEX"),
    ],
)
async def test_a_request_error_has_no_data_and_a_status(
    served: Served, query: str, variables: object, status: int, code: str
) -> None:
    # given
    body = {"query": query, "variables": variables}

    # when
    modern = await served.post(body, accept=GRAPHQL_JSON)
    legacy = await served.post(body, accept=JSON)

    # then: application/json answers 200 to everything that is a GraphQL request
    assert modern.status_code == status
    assert legacy.status_code == 200
    assert modern.json() == legacy.json()
    assert list(modern.json()) == ["errors"]
    assert modern.json()["errors"][0]["extensions"]["code"] == code


async def test_data_with_errors_is_a_partial_success(served: Served) -> None:
    # when
    modern = await served.post({"query": "{ hello unavailable }"}, accept=GRAPHQL_JSON)
    legacy = await served.post({"query": "{ hello unavailable }"}, accept=JSON)

    # then
    assert (modern.status_code, legacy.status_code) == (294, 200)
    assert modern.json() == legacy.json()
    assert modern.json()["data"] == {"hello": "hello world", "unavailable": None}


async def test_one_result_over_server_sent_events(served: Served) -> None:
    # when
    response = await served.post(HELLO, accept=SSE)

    # then
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.text == 'event: next\ndata: {"data":{"hello":"hello world"}}\n\nevent: complete\ndata:\n\n'


async def test_a_request_error_over_server_sent_events_is_an_event(served: Served) -> None:
    # when
    response = await served.post({"query": "{ nope }"}, accept=SSE)

    # then
    assert response.status_code == 200
    assert response.text.startswith('event: next\ndata: {"errors":[{"message":"Cannot query field')
    assert response.text.endswith("event: complete\ndata:\n\n")
