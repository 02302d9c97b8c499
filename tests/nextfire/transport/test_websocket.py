"""The protocol graphql-transport-ws, and what breaks it."""

import asyncio
import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from starlette.websockets import WebSocket
from structlog.typing import EventDict
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from nextfire.transport import Bounds
from services.errors import Forbidden
from tests.nextfire.transport.conftest import Served, serving
from tests.nextfire.transport.toy import SECRET, Unauthenticated


async def test_queries_mutations_and_subscriptions(served: Served) -> None:
    cases: list[tuple[str, list[Any]]] = [
        ("{ hello }", [{"hello": "hello world"}]),
        ('mutation { record(call: "x") }', [{"record": "x"}]),
        ("subscription { count(to: 2) }", [{"count": 0}, {"count": 1}]),
        ("{ leaf { name ... @defer { slow } } }", [{"leaf": {"name": "leaf", "slow": "slow leaf"}}]),
    ]
    async with served.socket() as socket:
        for query, expected in cases:
            # when
            await socket.subscribe(query)
            heard = [await socket.hear() for _ in range(len(expected) + 1)]

            # then: the id is free again, and @defer is off, since a `next` message cannot hold a part
            assert heard == [
                *({"id": "1", "type": "next", "payload": {"data": data}} for data in expected),
                {"id": "1", "type": "complete"},
            ]
        assert served.toy.made == 4


@pytest.mark.parametrize(
    ("query", "payload", "code"),
    [
        ("{", {}, "GRAPHQL_PARSE_FAILED"),
        ("{ nope }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("{ " + "hello " * 2_000 + "}", {}, "OPERATION_TOO_COMPLEX"),
        ("query($v: Int!) { leaves(count: $v) { name } }", {"variables": {"v": "x"}}, "BAD_USER_INPUT"),
        ("query A { hello } query B { hello }", {}, "BAD_USER_INPUT"),
        ("{ hello }", {"operationName": "Nope"}, "BAD_USER_INPUT"),
        ("{ hello }", {"operationName": 5}, "BAD_REQUEST"),
        ("{ hello }", {"variables": [5]}, "BAD_REQUEST"),
        (None, {}, "BAD_REQUEST"),
        ({"a": 1}, {}, "BAD_REQUEST"),
        ('{ hello(name: "\\u0000") }', {}, "BAD_USER_INPUT"),
    ],
)  # fmt: skip
async def test_a_wrong_operation_ends_alone(served: Served, query: Any, payload: Any, code: str) -> None:
    # given: a sibling
    async with served.socket() as socket:
        await socket.subscribe("subscription { forever }", "sibling")
        assert (await socket.hear())["payload"] == {"data": {"forever": "started"}}

        # when
        await socket.subscribe(query, "wrong", **payload)
        answer = await socket.hear()

        # then
        assert (answer["id"], answer["type"], len(answer["payload"])) == ("wrong", "error", 1)
        assert answer["payload"][0]["extensions"]["code"] == code
        served.toy.context.release.set()
        assert await socket.hear() == {"id": "sibling", "type": "next", "payload": {"data": {"forever": "released"}}}


@pytest.mark.parametrize(
    "message",
    [
        "[]", "123", "null", '"x"', "{}", "{", "NaN", "[" * 100_000, '{"type": 5}', '{"type": "nope"}', '{"type": []}',
        '{"type": "ping", "payload": 5}', '{"type": "connection_init", "payload": 5}',
        '{"type": "subscribe"}', '{"type": "subscribe", "id": "1"}', '{"type": "subscribe", "id": "1", "payload": 5}',
        '{"type": "subscribe", "payload": {"query": "{ hello }"}}', '{"type": "subscribe", "id": 1, "payload": {}}',
        '{"type": "subscribe", "id": "", "payload": {}}', '{"type": "subscribe", "id": [], "payload": {}}',
        '{"type": "complete"}', '{"type": "complete", "id": {}}',
        r'{"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "variables": {"a": "\u0000"}}}',
        r'{"type": "subscribe", "id": "\ud800", "payload": {"query": "{ hello }"}}',
        b'{"type": "ping"}', b"\xff",
    ],
)  # fmt: skip
async def test_what_is_no_message_closes_the_socket(
    served: Served, logged: list[EventDict], caplog: pytest.LogCaptureFixture, message: str | bytes
) -> None:
    async with served.socket() as socket:
        # when
        await socket.say(message)

        # then
        code, reason = await socket.closed()
        assert code == 4400
        assert reason
    assert logged == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_message_before_the_connection_is_acknowledged(served: Served) -> None:
    async with served.socket(init=False) as socket:
        await socket.subscribe("{ hello }")
        assert (await socket.closed())[0] == 4401


async def test_of_too_many_silent_sockets_the_oldest_makes_room() -> None:
    async with (
        serving(Bounds(max_silent_sockets=3)) as served,
        served.socket() as greeted,
        served.socket(init=False) as oldest,
        served.socket(init=False) as older,
        served.socket(init=False) as silent,
        # when
        served.socket(init=False) as late,
        served.socket() as latest,
    ):
        # then they are gone without a word, so that nothing of them stays
        assert await oldest.closed() == (1006, "")
        assert await older.closed() == (1006, "")

        # and whoever says who it is stays, for good
        for socket in (silent, late):
            await socket.say({"type": "connection_init"})
            assert (await socket.hear())["type"] == "connection_ack"
        for socket in (greeted, silent, late, latest):
            await socket.subscribe("{ hello }")
            assert (await socket.hear())["payload"] == {"data": {"hello": "hello world"}}


async def test_a_connection_that_is_never_initialised() -> None:
    bounds = Bounds(connection_init_timeout=timedelta(milliseconds=50))
    async with serving(bounds) as served, served.socket(init=False) as socket:
        assert await socket.closed() == (4408, "Connection initialisation timeout")


async def test_a_second_initialisation(served: Served) -> None:
    async with served.socket() as socket:
        await socket.say({"type": "connection_init"})
        assert await socket.closed() == (4429, "Too many initialisation requests")


async def test_an_id_that_is_in_use(served: Served) -> None:
    async with served.socket() as socket:
        # given
        await socket.subscribe("subscription { forever }", "twice" * 50)
        await socket.hear()

        # when
        await socket.subscribe("{ hello }", "twice" * 50)

        # then: the source is closed with the socket
        assert (await socket.closed())[0] == 4409
        await asyncio.wait_for(served.toy.context.closed.wait(), 20)


async def test_complete_stops_one_operation(served: Served) -> None:
    async with served.socket() as socket:
        # given
        await socket.subscribe("subscription { forever }")
        await socket.hear()

        # when
        await socket.say({"type": "complete", "id": "1"})
        await socket.say({"type": "complete", "id": "unknown"})

        # then: its source is closed, and the socket serves on
        await asyncio.wait_for(served.toy.context.closed.wait(), 20)
        await socket.say({"type": "ping", "payload": {"a": 1}})
        assert await socket.hear() == {"type": "pong"}


async def test_a_client_that_vanishes_closes_its_sources(served: Served) -> None:
    # given
    async with served.socket() as socket:
        await socket.subscribe("subscription { forever }")
        await socket.hear()

        # when
        socket.connection.transport.abort()

        # then
        await asyncio.wait_for(served.toy.context.closed.wait(), 20)


async def test_errors_are_masked_on_a_socket(served: Served, logged: list[EventDict]) -> None:
    async with served.socket(payload={"authorization": "someone"}) as socket:
        # when
        await socket.subscribe("{ broken }", "field")
        field = [await socket.hear(), await socket.hear()]
        await socket.subscribe("subscription { broken }", "source")
        source = [await socket.hear(), await socket.hear()]
        await socket.subscribe("subscription { expired }", "own")
        own = [await socket.hear(), await socket.hear()]

        # then
        assert field[0]["payload"]["errors"][0]["extensions"]["code"] == "INTERNAL"
        assert (source[1]["type"], source[1]["payload"][0]["extensions"]["code"]) == ("error", "INTERNAL")
        assert (own[1]["type"], own[1]["payload"][0]["extensions"]) == ("error", {"code": "CURSOR_EXPIRED"})
        assert "hunter2" not in json.dumps([field, source, own])
        assert [str(entry["exc_info"]) for entry in logged] == [SECRET, SECRET]


@pytest.mark.parametrize(("who", "code"), [("nobody", "UNAUTHENTICATED"), ("crash", "INTERNAL")])
async def test_the_context_sees_the_payload_of_the_connection(served: Served, who: str, code: str) -> None:
    async with served.socket(payload={"authorization": who}) as socket:
        # when
        await socket.subscribe("{ hello }")
        answer = await socket.hear()

        # then
        assert (answer["type"], answer["payload"][0]["extensions"]["code"]) == ("error", code)


async def test_connect_lets_in_or_closes(logged: list[EventDict]) -> None:
    # given
    async def let_in(_: WebSocket, params: Mapping[str, Any]) -> Mapping[str, Any] | None:
        match params.get("who"):
            case "nobody":
                raise Unauthenticated
            case "stranger":
                raise Forbidden("open", "socket")
            case "crash":
                raise RuntimeError(SECRET)
            case who:
                return {"hello": who} if who else None

    async with serving(connect=let_in) as served:
        for who, expected in [
            ("nobody", (4401, "Sign in first.")),
            ("stranger", (4403, "You may not open this socket.")),
            ("crash", (4500, "Internal error, request {}")),
        ]:
            async with served.socket(init=False) as socket:
                # when
                await socket.say({"type": "connection_init", "payload": {"who": who}})

                # then
                handshake = socket.connection.response
                assert handshake is not None
                named = handshake.headers["x-request-id"]
                assert await socket.closed() == (expected[0], expected[1].format(named))
        async with served.socket(init=False) as socket:
            await socket.say({"type": "connection_init", "payload": {"who": "friend"}})
            assert await socket.hear() == {"type": "connection_ack", "payload": {"hello": "friend"}}
    assert [str(entry["exc_info"]) for entry in logged] == [SECRET]


async def test_a_message_that_is_too_big() -> None:
    # given
    async with serving(Bounds(max_message_bytes=200)) as served, served.socket() as socket:
        # when
        await socket.subscribe("{ hello }" + " " * 200)

        # then
        assert (await socket.closed())[0] == 1009


async def test_the_endpoint_keeps_the_size_where_the_server_does_not() -> None:
    # given: a server with a limit of its own that is higher
    bounds = Bounds(max_message_bytes=200)
    raised = {"ws_max_size": 10_000}
    async with serving(bounds, server_options=raised) as served, served.socket() as socket:
        # when
        await socket.subscribe("{ hello }" + " " * 200)

        # then
        assert await socket.closed() == (1009, "The message is too big.")


async def test_a_socket_runs_so_many_operations_at_a_time() -> None:
    # given
    async with serving(Bounds(max_operations_per_socket=1)) as served, served.socket() as socket:
        await socket.subscribe("subscription { forever }", "one")
        await socket.hear()

        # when
        await socket.subscribe("{ hello }", "two")

        # then
        answer = await socket.hear()
        assert (answer["id"], answer["type"]) == ("two", "error")
        assert answer["payload"][0]["extensions"] == {"code": "RATE_LIMITED"}


async def test_an_operation_past_its_deadline_is_stopped() -> None:
    async with serving(Bounds(deadline=timedelta(milliseconds=50))) as served, served.socket() as socket:
        # when
        await socket.subscribe("{ stuck }")

        # then
        answer = await socket.hear()
        assert (answer["type"], answer["payload"][0]["extensions"]) == ("error", {"code": "TIMEOUT"})


@pytest.mark.parametrize("subprotocols", [None, ["graphql-ws"]])
async def test_another_subprotocol_is_told_which_one_to_use(served: Served, subprotocols: Any) -> None:
    async with connect(served.socket_url, subprotocols=subprotocols) as connection:
        # when
        await asyncio.wait_for(connection.wait_closed(), 20)

        # then
        assert connection.close_code == 4406
        assert "graphql-transport-ws" in (connection.close_reason or "")


async def test_a_page_of_another_site_may_not_open_a_socket(served: Served) -> None:
    # given
    protocol: Any = ["graphql-transport-ws"]

    # when
    with pytest.raises(InvalidStatus) as refused:
        await connect(served.socket_url, subprotocols=protocol, origin="https://evil.example")  # type: ignore[arg-type]
    async with connect(
        served.socket_url,
        subprotocols=protocol,
        origin=f"http://127.0.0.1:{served.port}",  # type: ignore[arg-type]
    ) as same:
        # then
        assert same.subprotocol == "graphql-transport-ws"
    assert refused.value.response.status_code == 403
