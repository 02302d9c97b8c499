"""Results in parts, subscriptions over server-sent events, and deadlines."""

import asyncio
import gc
import json
import weakref
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.types import Message
from structlog.typing import EventDict

from nextfire.transport import Bounds, GraphQLEndpoint
from nextfire.transport.negotiation import GRAPHQL_JSON, JSON, MULTIPART, SSE
from tests.nextfire.transport.conftest import SCHEMA, Served, serving
from tests.nextfire.transport.toy import SECRET, Toy

DEFERRED = '{ leaf { name ... @defer(label: "later") { slow broken } } }'


def frames(response: httpx.Response) -> list[Any]:
    """The payloads of a streamed answer, whichever way they came."""
    if response.headers["content-type"].startswith(SSE):
        events = response.text.removesuffix("\n\n").split("\n\n")
        assert events[-1] == "event: complete\ndata:"
        assert "\r" not in response.text
        return [json.loads(event.removeprefix("event: next\ndata: ")) for event in events[:-1] if event != ":"]
    assert response.headers["content-type"] == 'multipart/mixed; boundary="-"'
    parts = response.text.split("\r\n---")
    assert parts[-1] == "--\r\n"
    head = "\r\nContent-Type: application/json; charset=utf-8\r\n\r\n"
    bodies = [part.removeprefix("---") for part in parts[:-1]]
    assert all(body.startswith(head) for body in bodies)
    return [json.loads(body.removeprefix(head)) for body in bodies]


class Sent:
    """The way to a client."""

    def __init__(self) -> None:
        self.body = b""

    async def __call__(self, message: Message) -> None:
        self.body += message.get("body", b"")


async def answer_in_parts(endpoint: GraphQLEndpoint, query: str, accept: str, sent: Sent) -> None:
    """Have the endpoint answer a client that stays until the end."""
    body = json.dumps({"query": query}).encode()
    asked: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return asked.pop() if asked else await asyncio.Future[Message]()

    named = {"content-type": JSON, "accept": accept}
    headers = [(name.encode(), value.encode()) for name, value in named.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers, "state": {}}
    await endpoint(scope, receive, sent)


@pytest.mark.parametrize("accept", [MULTIPART, SSE])
async def test_an_answer_in_parts_is_freed_when_it_has_ended(accept: str) -> None:
    # given a document whose plans are made, and nothing that looks for cycles
    toy = Toy()
    toy.context.release.set()
    endpoint = GraphQLEndpoint(SCHEMA, toy.make)
    query = "{ leaves(count: 3) { name ... @defer { heldTogether } } }"
    for _ in range(3):
        await answer_in_parts(endpoint, query, accept, Sent())
    gc.disable()
    try:
        # when
        sent = Sent()
        await answer_in_parts(endpoint, query, accept, sent)
        assert b"released 2" in sent.body
        # then nothing that is left of it leads to the client
        kept = weakref.ref(sent)
        del sent
        await asyncio.sleep(0)  # the loop lets go of the tasks that have ended
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("accept", [f"{MULTIPART}, {JSON}", f"{MULTIPART};deferSpec=20220824, {JSON}", SSE])
async def test_deferred_errors_are_masked(served: Served, logged: list[EventDict], accept: str) -> None:
    # when
    response = await served.post({"query": DEFERRED}, accept=accept, x_request_id="mine")

    # then
    first, second = frames(response)
    assert first == {
        "data": {"leaf": {"name": "leaf"}},
        "pending": [{"id": "0", "path": ["leaf"], "label": "later"}],
        "hasNext": True,
    }
    (part,) = second.pop("incremental")
    (error,) = part.pop("errors")
    assert second == {"hasNext": False, "completed": [{"id": "0"}]}
    assert part == {
        "id": "0", "path": ["leaf"], "label": "later", "data": {"slow": "slow leaf", "broken": None},
    }  # fmt: skip
    assert error["message"] == "Internal error"
    assert error["extensions"] == {"code": "INTERNAL", "requestId": "mine"}
    assert [str(entry["exc_info"]) for entry in logged] == [SECRET]
    assert "hunter2" not in response.text


async def test_a_part_that_fails_as_a_whole_is_masked(served: Served, logged: list[EventDict]) -> None:
    # when
    response = await served.post({"query": "{ leaf { ... @defer { brokenHard } } }"}, accept=MULTIPART)

    # then
    *_, last = frames(response)
    (completed,) = last["completed"]
    assert completed["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert len(logged) == 1


async def test_overlapping_parts_carry_their_whole_path(served: Served) -> None:
    # given: two parts share `leaf`, so that the shared fields come with a path below the announced one
    one, other = "leaf { slow name }", "leaf { slow leaf { slow } }"
    query = f'{{ leaf {{ ... @defer(label: "a") {{ {one} }} ... @defer(label: "b") {{ {other} }} }} }}'

    # when
    response = await served.post({"query": query}, accept=MULTIPART)

    # then: merging by `path` alone gives the whole result
    first, *others = frames(response)
    data = first["data"]
    parts = [part for frame in others for part in frame.get("incremental", [])]
    pending = {p["id"]: p["path"] for frame in [first, *others] for p in frame.get("pending", [])}
    for part in parts:
        assert part["path"] == [*pending[part["id"]], *part.get("subPath", [])]
        target = data
        for key in part["path"]:
            target = target[key]
        for key, value in part["data"].items():
            target[key] = {**target.get(key, {}), **value} if isinstance(value, dict) else value
    assert any("subPath" in part for part in parts)
    assert data == {
        "leaf": {"leaf": {"slow": "slow leaf.leaf", "name": "leaf.leaf", "leaf": {"slow": "slow leaf.leaf.leaf"}}}
    }
    assert all(frame.get("extensions", {}) is not None for frame in [first, *others])


@pytest.mark.parametrize("accept", [JSON, GRAPHQL_JSON, "*/*", f"{JSON}, {MULTIPART};q=0.1"])
async def test_defer_is_off_for_a_client_that_takes_no_parts(served: Served, accept: str) -> None:
    # when
    response = await served.post({"query": "{ leaf { name ... @defer { slow } } }"}, accept=accept)

    # then
    assert response.json() == {"data": {"leaf": {"name": "leaf", "slow": "slow leaf"}}}


async def test_defer_if_false_is_answered_in_one_piece(served: Served) -> None:
    # given
    body = {"query": "query($d: Boolean!) { leaf { ... @defer(if: $d) { name } } }", "variables": {"d": False}}

    # when
    either = await served.post(body, accept=f"{MULTIPART}, {JSON}")
    only = await served.post(body, accept=MULTIPART)

    # then
    assert either.json() == {"data": {"leaf": {"name": "leaf"}}}
    assert frames(only) == [{"data": {"leaf": {"name": "leaf"}}}]


async def test_stream_is_never_in_force(served: Served) -> None:
    # when
    response = await served.post(
        {"query": "{ leaves @stream(initialCount: 1) { name } }"}, accept=f"{MULTIPART}, {JSON}"
    )

    # then
    assert response.json() == {"data": {"leaves": [{"name": "0"}, {"name": "1"}]}}


async def test_a_subscription_over_server_sent_events(served: Served) -> None:
    # when
    response = await served.post({"query": "subscription { count(to: 2) }"}, accept=SSE)
    by_get = await served.http.get(
        served.url, params={"query": "subscription { count(to: 2) }"}, headers={"accept": SSE}
    )

    # then
    assert frames(response) == frames(by_get) == [{"data": {"count": 0}}, {"data": {"count": 1}}]
    assert response.headers["cache-control"] == "no-store, no-transform"
    assert response.headers["x-accel-buffering"] == "no"


async def test_a_subscription_that_fails_ends_with_its_error(served: Served, logged: list[EventDict]) -> None:
    # when
    expired = await served.post({"query": "subscription { expired }"}, accept=SSE)
    broken = await served.post({"query": "subscription { broken }"}, accept=SSE)

    # then
    assert [list(frame) for frame in frames(expired)] == [["data"], ["errors"]]
    assert frames(expired)[1]["errors"][0]["extensions"] == {"code": "CURSOR_EXPIRED"}
    assert frames(broken)[1]["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert "hunter2" not in broken.text
    assert len(logged) == 1


async def test_each_event_has_a_fresh_context(served: Served) -> None:
    # when
    response = await served.post({"query": "subscription { generations { number } }"}, accept=SSE)

    # then: each made from the subscription's own, and not from the one of the event before
    assert frames(response) == [{"data": {"generations": {"number": 1}}}] * 2
    assert served.toy.made == 1


@pytest.mark.parametrize("accept", [MULTIPART, SSE])
async def test_a_client_that_leaves_before_the_last_part_stops_the_work(served: Served, accept: str) -> None:
    # given an answer of which a part is still to come
    query = {"query": "{ leaf { name ... @defer { held } } }"}
    request = served.http.build_request("POST", served.url, json=query, headers={"accept": accept})
    response = await served.http.send(request, stream=True)
    chunks, read, context = response.aiter_bytes(), b"", served.toy.context
    while b"pending" not in read:
        read += await anext(chunks)
    await asyncio.wait_for(context.begun.wait(), 20)
    assert not context.closed.is_set()

    # when the client leaves
    await response.aclose()

    # then the resolver of that part is stopped, though nothing released it
    await asyncio.wait_for(context.closed.wait(), 20)
    assert not context.release.is_set()


@pytest.mark.parametrize("accept", [MULTIPART, SSE])
async def test_each_part_is_sent_when_it_is_there(served: Served, accept: str) -> None:
    # given
    query = {"query": "{ leaf { name ... @defer { held } ... @defer { slow } } }"}
    request = served.http.build_request("POST", served.url, json=query, headers={"accept": accept})
    response = await served.http.send(request, stream=True)
    read = b""

    # when a part is held back, then the others are there before it
    async for chunk in response.aiter_bytes():
        read += chunk
        if b"slow leaf" in read:
            served.toy.context.release.set()
    assert read.index(b'"name":"leaf"') < read.index(b"slow leaf") < read.index(b'"held":"released"')


async def test_a_quiet_stream_beats_and_closes_its_source_when_the_client_leaves() -> None:
    # given
    async with serving(Bounds(heartbeat=timedelta(milliseconds=10))) as served:
        request = served.http.build_request(
            "POST", served.url, json={"query": "subscription { forever }"}, headers={"accept": SSE}
        )
        response = await served.http.send(request, stream=True)
        lines = response.aiter_lines()

        # when
        heard = [await anext(lines) for _ in range(6)]
        await response.aclose()

        # then
        assert heard == ["event: next", 'data: {"data":{"forever":"started"}}', "", ":", "", ":"]
        await asyncio.wait_for(served.toy.context.closed.wait(), 20)


async def test_an_open_stream_does_not_outlive_the_server() -> None:
    # given
    async with serving() as served:
        request = served.http.build_request(
            "POST", served.url, json={"query": "subscription { forever }"}, headers={"accept": SSE}
        )
        response = await served.http.send(request, stream=True)
        context = served.toy.context
        await anext(response.aiter_lines())

    # then: the server has ended, and the source with it
    assert context.closed.is_set()


async def test_an_operation_past_its_deadline_is_stopped() -> None:
    # given
    async with serving(Bounds(deadline=timedelta(milliseconds=50))) as served:
        # when
        modern = await served.post({"query": "{ stuck }"}, accept=GRAPHQL_JSON)
        legacy = await served.post({"query": "{ hello stuck }"})
        parts = await served.post({"query": "{ leaf { name ... @defer { stuck } } }"}, accept=MULTIPART)
        context = await served.post({"query": "{ hello }"}, authorization="slow")

        # then
        assert (modern.status_code, legacy.status_code) == (504, 200)
        for errors in (modern.json()["errors"], legacy.json()["errors"], frames(parts)[1]["completed"][0]["errors"]):
            assert [error["extensions"] for error in errors] == [{"code": "TIMEOUT"}]
            assert "0.05 s" in errors[0]["message"]
        assert frames(parts)[1]["hasNext"] is False
        assert (context.status_code, context.json()["errors"][0]["extensions"]) == (504, {"code": "TIMEOUT"})
