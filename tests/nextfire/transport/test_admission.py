"""What one caller may ask: the cost of an operation, what it may spend in a time, and how much may run at a time."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.websockets import WebSocket

from nextfire.transport import Allowances, RateLimit
from schema.limits import Limits
from tests.nextfire.transport.conftest import GRAPHQL_JSON, Served, Socket, serving
from tests.waiting import PATIENCE, eventually

HELLO = {"query": "{ hello }"}
LEAVES = {"query": "{ leaves { name } }"}
HELD = {"query": "{ leaf { held } }"}
FOREVER = {"query": "subscription { forever }"}
SSE = "text/event-stream"
SPENT = "Your operations of the last 60 s cost more than 10, which is what you may spend in that time."


async def connect(socket: WebSocket, params: Mapping[str, Any]) -> None:
    """The caller by name, as the context of the toy has it."""
    if who := params.get("authorization"):
        socket.state.caller = who


def refusal(response: httpx.Response) -> dict[str, Any]:
    """The extensions of the only error."""
    (error,) = response.json()["errors"]
    found: dict[str, Any] = error["extensions"]
    return found


async def refused(socket: Socket, query: str, identifier: str) -> dict[str, Any]:
    """The extensions of the error that an operation is answered with."""
    await socket.subscribe(query, identifier)
    answer = await socket.hear()
    assert (answer["id"], answer["type"]) == (identifier, "error")
    found: dict[str, Any] = answer["payload"][0]["extensions"]
    return found


@asynccontextmanager
async def held(served: Served, body: Mapping[str, Any], **headers: str) -> AsyncIterator[None]:
    """A request that is being answered for as long as the block."""
    task = asyncio.create_task(served.post(body, **headers))
    try:
        await asyncio.wait_for(served.toy.context.begun.wait(), PATIENCE)
        yield
    finally:
        served.toy.context.release.set()
        await task


async def test_an_operation_that_costs_too_much_is_told_what_to_do() -> None:
    async with serving(limits=Limits(max_cost=14)) as served, served.socket() as socket:
        # when
        posted = await served.post(LEAVES, accept=GRAPHQL_JSON)
        heard = await refused(socket, "{ leaves { name } }", "dear")

        # then
        (error,) = posted.json()["errors"]
        assert posted.status_code == 422
        assert error["message"] == (
            "The operation costs 15, and at most 14 is allowed: "
            "ask for smaller pages, select less in them, or ask in several operations."
        )
        assert error["extensions"] == {"code": "OPERATION_TOO_COMPLEX", "cost": {"requested": 15, "limit": 14}}
        assert heard == error["extensions"]
        assert (await served.post(HELLO)).json() == {"data": {"hello": "hello world"}}


async def test_answers_tell_what_they_cost_where_that_is_wanted() -> None:
    async with serving(reports_cost=True) as served, served.socket() as socket:
        # when
        plain = (await served.post(LEAVES)).json()
        failed = (await served.post({"query": "{ broken }"})).json()
        parts = (await served.post({"query": "{ leaf { name ... @defer { slow } } }"}, accept="multipart/mixed")).text
        await socket.subscribe("{ hello }")
        heard = await socket.hear()
        assert (await socket.hear())["type"] == "complete"
        await socket.subscribe("subscription { count(to: 1) }")

        # then: the first part alone, and no events
        assert plain["extensions"] == {"cost": {"requested": 15, "limit": 5_000}}
        assert failed["extensions"] == {"cost": {"requested": 1, "limit": 5_000}}
        assert parts.count('"extensions":{"cost":{"requested":4,"limit":5000}}') == parts.count("extensions") == 1
        assert heard["payload"] == {
            "data": {"hello": "hello world"},
            "extensions": {"cost": {"requested": 1, "limit": 5_000}},
        }
        assert (await socket.hear())["payload"] == {"data": {"count": 0}}


async def test_who_has_spent_the_budget_waits_and_nobody_else() -> None:
    async with serving(rate_limit=RateLimit(10)) as served, served.socket(payload={"authorization": "a"}) as socket:
        # given: a sibling on the socket
        await socket.subscribe("subscription { forever }", "sibling")
        await socket.hear()

        # when
        answers = [await served.post(HELLO, authorization="a") for _ in range(12)]
        streamed = await served.post({"query": "subscription { count }"}, authorization="a", accept=SSE)
        heard = await refused(socket, "{ hello }", "late")

        # then: the subscription was the first of ten
        assert [answer.status_code for answer in answers] == [200] * 9 + [429] * 3
        for response in (answers[-1], streamed):
            assert response.status_code == 429
            (error,) = response.json()["errors"]
            wait = int(response.headers["retry-after"])
            assert 0 < wait <= 60
            assert error["message"].startswith(SPENT)
            assert error["extensions"] == {"code": "RATE_LIMITED", "retryAfterSeconds": wait}
        assert heard["code"] == "RATE_LIMITED"
        assert 0 < heard["retryAfterSeconds"] <= 60
        assert (await served.post(HELLO, authorization="b")).status_code == 200
        served.toy.context.release.set()
        assert (await socket.hear())["id"] == "sibling"


async def test_a_new_window_is_a_new_budget() -> None:
    async with serving(rate_limit=RateLimit(1, timedelta(seconds=1))) as served:
        # given
        answers = [await served.post(HELLO, authorization="a") for _ in range(2)]

        # when
        async def answered() -> bool | None:
            return True if (await served.post(HELLO, authorization="a")).status_code == 200 else None

        # then
        assert answers[0].status_code == 200
        assert await eventually(answered)


async def test_wrong_documents_spend_too() -> None:
    async with serving(rate_limit=RateLimit(350)) as served:
        # when
        answers = [await served.post({"query": f"{{ nope{n} }}"}, accept=GRAPHQL_JSON) for n in range(5)]

        # then
        assert [answer.status_code for answer in answers] == [422, 422, 422, 422, 429]


async def test_callers_without_a_name_are_known_by_their_address() -> None:
    async with serving(rate_limit=RateLimit(1)) as served:
        assert (await served.post(HELLO)).status_code == 200
        assert (await served.post(HELLO)).status_code == 429
        assert (await served.post(HELLO, authorization="a")).status_code == 200


async def test_so_many_operations_at_a_time_over_all_transports() -> None:
    async with (
        serving(allowances=Allowances(operations=1)) as served,
        served.socket(payload={"authorization": "a"}) as socket,
    ):
        async with held(served, HELD, authorization="a"):
            # when
            posted = await served.post(HELLO, authorization="a")
            heard = await refused(socket, "{ hello }", "second")

            # then
            assert (posted.status_code, posted.headers["retry-after"]) == (429, "1")
            assert refusal(posted) == heard == {"code": "RATE_LIMITED", "retryAfterSeconds": 1}
            assert "at most" not in posted.text
            assert (await served.post(HELLO, authorization="b")).status_code == 200
        # and it is free again, also after one that fails
        assert (await served.post({"query": "{ broken }"}, authorization="a")).status_code == 200
        assert (await served.post(HELLO, authorization="a")).status_code == 200


async def test_an_answer_in_parts_is_one_operation_until_its_last_part() -> None:
    async with serving(allowances=Allowances(operations=1)) as served:
        # given
        body = {"query": "{ leaf { name ... @defer { held } } }"}
        async with held(served, body, authorization="a", accept="multipart/mixed"):
            # then
            assert (await served.post(HELLO, authorization="a")).status_code == 429
        assert (await served.post(HELLO, authorization="a")).status_code == 200


async def test_so_many_subscriptions_at_a_time_over_sockets_and_streams() -> None:
    async with (
        serving(allowances=Allowances(subscriptions=2)) as served,
        served.socket(payload={"authorization": "a"}) as socket,
    ):
        # given: one each
        headers = {"content-type": "application/json", "accept": SSE, "authorization": "a"}
        async with served.http.stream("POST", served.url, json=FOREVER, headers=headers) as stream:
            lines = stream.aiter_lines()  # the stream ends with it
            assert await anext(lines)
            await socket.subscribe("subscription { forever }", "first")
            assert (await socket.hear())["type"] == "next"

            # when
            heard = await refused(socket, "subscription { forever }", "second")
            posted = await served.post(FOREVER, authorization="a", accept=SSE)

            # then: queries go on
            assert heard["code"] == refusal(posted)["code"] == "RATE_LIMITED"
            assert (await served.post(HELLO, authorization="a")).status_code == 200

        # and when the stream has gone, there is room
        async def subscribed() -> bool | None:
            await socket.subscribe("subscription { forever }", "third")
            return True if (await socket.hear())["type"] == "next" else None

        assert await eventually(subscribed)


async def test_so_many_sockets_at_a_time() -> None:
    async with serving(allowances=Allowances(sockets=2), connect=connect) as served:
        mine = {"authorization": "a"}
        async with served.socket(payload=mine), served.socket(payload={"authorization": "b"}):
            async with served.socket(payload=mine), served.socket(init=False) as third:
                # when
                await third.say({"type": "connection_init", "payload": mine})

                # then
                assert await third.closed() == (
                    4429,
                    "You may have 2 sockets at a time, and have them: end one, or wait for one to end.",
                )

            # and one that was closed makes room
            async def connected() -> bool | None:
                async with served.socket(init=False) as socket:
                    await socket.say({"type": "connection_init", "payload": mine})
                    try:
                        return True if (await socket.hear())["type"] == "connection_ack" else None
                    except Exception:
                        return None

            assert await eventually(connected)


@pytest.mark.parametrize(
    "query",
    [
        "{ __schema { queryType { name } } }",
        '{ hello x: __type(name: "Leaf") { name } }',
        "{ ...F } fragment F on Query { ... { __schema { types { name } } } }",
    ],
)
async def test_introspection_is_for_those_who_may(query: str) -> None:
    # given
    async def may_introspect(context: Any) -> bool:
        return bool(context.generation)

    async with serving(may_introspect=may_introspect) as served, served.socket() as socket:
        # when
        posted = await served.post({"query": query}, accept=GRAPHQL_JSON)
        got = await served.http.get(served.url, params={"query": query})
        heard = await refused(socket, query, "curious")

        # then
        assert posted.status_code == 403
        assert refusal(posted) == refusal(got) == heard == {"code": "INTROSPECTION_DISABLED"}
        assert (await served.post({"query": "{ __typename }"})).json() == {"data": {"__typename": "Query"}}
        served.toy.context.generation = 1
        assert "errors" not in (await served.post({"query": query})).json()
