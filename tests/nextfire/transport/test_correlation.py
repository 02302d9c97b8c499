"""One id for everything that a request causes."""

import re

import pytest
from starlette.types import Message, Receive, Scope, Send

from nextfire.request_ids import request_id, with_request_id
from nextfire.transport import RequestIdMiddleware
from tests.nextfire.transport.conftest import Served

MADE = re.compile(r"[0-9a-f]{32}")


@pytest.mark.parametrize("given", ["abc", "A.b_c-1", "x" * 128])
async def test_a_sane_id_is_kept(served: Served, given: str) -> None:
    assert (await served.post({"query": "{ hello }"}, x_request_id=given)).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\tb", "<script>", "a,b", "é".encode().decode("latin-1")])
async def test_any_other_id_is_replaced(served: Served, given: str) -> None:
    # when
    response = await served.http.post(
        served.url,
        json={"query": "{ broken }"},
        headers={b"x-request-id": given.encode("latin-1")},
    )

    # then: the id of the answer is that of its error
    made = response.headers["x-request-id"]
    assert MADE.fullmatch(made)
    assert response.json()["errors"][0]["extensions"]["requestId"] == made


async def test_every_answer_has_an_id(served: Served) -> None:
    # given: an answer that comes before its body, so that the next request starts inside of the first
    responses = [
        await served.post(b"x" * 200_000),
        await served.post({"query": "{ hello }"}),
        await served.http.put(served.url),
        await served.post({"query": "subscription { count }"}, accept="text/event-stream"),
    ]

    # then
    assert len({response.headers["x-request-id"] for response in responses}) == len(responses)


async def test_a_socket_has_an_id(served: Served) -> None:
    async with served.socket() as socket:
        # when
        await socket.subscribe("{ broken }")

        # then
        assert socket.connection.response is not None
        made = socket.connection.response.headers["x-request-id"]
        assert (await socket.hear())["payload"]["errors"][0]["extensions"]["requestId"] == made


async def test_the_id_stands_in_the_log_and_is_given_once() -> None:
    # given
    seen: list[tuple[str, object]] = []
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((request_id(), with_request_id(None, "info", {})))
        await send({"type": "http.response.start", "status": 200})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    # when: one inside of another, as the application and the endpoint both bring one
    scope = {"type": "http", "headers": [(b"x-request-id", b"mine")]}
    await RequestIdMiddleware(RequestIdMiddleware(app))(scope, receive, send)

    # then
    assert seen == [("mine", {"request_id": "mine"})]
    assert sent[0]["headers"] == [(b"x-request-id", b"mine")]
    assert request_id() == "none"
    assert with_request_id(None, "info", {}) == {}
