"""Who is on the other end of a connection, over HTTP, WebSocket and server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.routing import Mount
from websockets.asyncio.client import connect

from nextfire.callers import Callers
from nextfire.transport import GraphQLEndpoint
from services.authentication import Authenticated
from services.errors import Unauthenticated, Unavailable
from services.principals import Actor
from tests.nextfire.serving import port_of
from tests.nextfire.transport.conftest import SCHEMA, Socket
from tests.nextfire.transport.toy import Toy
from tests.no_tls import NO_TLS
from tests.waiting import eventually

ADA = Authenticated(Actor("ada"))
SECRET = "s3cr3t-of-ada"
KNOWN = f"Bearer {SECRET}"
SOON = timedelta(milliseconds=50)
FOREVER = "subscription { forever }"
UNKNOWN = "Nobody is known by these credentials. Send others."
EXPIRED = "Nobody is known by these credentials. They have expired."
CONNECTION = HTTPConnection({"type": "http", "headers": [(b"authorization", KNOWN.encode())]})


@dataclass
class Scripted:
    """Knows Ada by one header, until it is told otherwise."""

    answer: Authenticated | Exception = ADA
    seen: list[dict[str, str]] = field(default_factory=list)

    async def authenticate(self, headers: Mapping[str, str]) -> Authenticated:
        self.seen.append(dict(headers))
        if headers.get("authorization") != KNOWN:
            raise Unauthenticated("Send others.")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class Served:
    port: int
    toy: Toy
    authenticator: Scripted

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/graphql/"

    async def post(self, query: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(timeout=20, verify=NO_TLS) as http:
            return await http.post(self.url, json={"query": query}, headers=headers)

    @asynccontextmanager
    async def socket(self, payload: Any = None, **headers: str) -> AsyncIterator[Socket]:
        """A socket that has sent connection_init."""
        async with connect(
            self.url.replace("http", "ws"),
            subprotocols=["graphql-transport-ws"],  # type: ignore[list-item]
            additional_headers=headers,
        ) as connection:
            socket = Socket(connection)
            await socket.say({"type": "connection_init", "payload": payload})
            yield socket

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of a subscription over server-sent events."""
        headers = {"accept": "text/event-stream", "authorization": KNOWN}
        async with (
            httpx.AsyncClient(timeout=20, verify=NO_TLS) as http,
            http.stream("POST", self.url, json={"query": FOREVER}, headers=headers) as response,
        ):
            assert response.status_code == 200
            yield response.aiter_lines()


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Served]:
    """The toy, for those whom the authenticator knows."""
    toy, authenticator = Toy(), Scripted()
    callers = Callers(authenticator, frozenset({"authorization"}), **{"ask_again_every": SOON, **options})

    async def context(connection: HTTPConnection) -> Any:
        await callers.identify(connection)
        return toy.context

    async def let_in(connection: HTTPConnection, _params: Mapping[str, Any]) -> None:
        await callers.identify(connection)

    endpoint = GraphQLEndpoint(SCHEMA, context, connect=let_in, refresh=toy.refresh, watch=callers.stay)
    async with port_of(Starlette(routes=[Mount("/graphql", endpoint)])) as port:
        yield Served(port, toy, authenticator)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as served:
        yield served


async def as_found(seen: list[dict[str, str]]) -> list[dict[str, str]] | None:
    return seen or None


async def next_event(lines: AsyncIterator[str]) -> tuple[str, Any]:
    """The name and the data of the next event; comments are passed over."""
    name = None
    async for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data:") and name:
            data = line.removeprefix("data:").strip()
            return name, json.loads(data) if data else None
    raise AssertionError("The stream ended.")


async def test_http_says_who_is_not_known(served: Served) -> None:
    for query, accept in [("{ hello }", "*/*"), (FOREVER, "text/event-stream"), ("{ nope", "application/json")]:
        # when
        answer = await served.post(query, accept=accept)
        # then
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="nextfire"'
        assert answer.json() == {"errors": [{"message": UNKNOWN, "extensions": {"code": "UNAUTHENTICATED"}}]}


async def test_http_says_when_it_cannot_be_found_out(served: Served) -> None:
    # given
    served.authenticator.answer = Unavailable("The directory")
    # when
    answer = await served.post("{ hello }", authorization=KNOWN)
    # then
    assert answer.status_code == 503
    assert "www-authenticate" not in answer.headers
    assert answer.json()["errors"][0]["extensions"] == {"code": "UNAVAILABLE"}


async def test_http_serves_who_is_known(served: Served) -> None:
    answer = await served.post("{ hello }", authorization=KNOWN)
    assert (answer.status_code, answer.json()) == (200, {"data": {"hello": "hello world"}})


async def test_headers_that_come_twice_are_joined(served: Served) -> None:
    async with httpx.AsyncClient(verify=NO_TLS) as http:
        answer = await http.post(
            served.url, json={"query": "{ hello }"}, headers=[("authorization", KNOWN), ("authorization", "Bearer x")]
        )
    assert answer.status_code == 401
    assert served.authenticator.seen[-1]["authorization"] == f"{KNOWN}, Bearer x"


@pytest.mark.parametrize(
    ("payload", "headers"),
    [
        ({"authorization": KNOWN}, {}),
        ({"Authorization": KNOWN}, {}),
        ({"headers": {"Authorization": KNOWN}}, {}),
        ({"authorization": KNOWN, "headers": {"authorization": "Bearer other"}}, {}),
        (None, {"authorization": KNOWN}),
        ({"other": 5, "headers": [1]}, {"authorization": KNOWN}),
        ({"authorization": KNOWN}, {"authorization": "Bearer other"}),
    ],
)
async def test_a_socket_is_let_in(served: Served, payload: Any, headers: dict[str, str]) -> None:
    async with served.socket(payload, **headers) as socket:
        assert await socket.hear() == {"type": "connection_ack"}
        await socket.subscribe("{ hello }")
        assert (await socket.hear())["payload"] == {"data": {"hello": "hello world"}}


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"authorization": "Bearer other"},
        {"authorization": 5},
        {"authorization": {"authorization": KNOWN}},
        {"authorization": f"{KNOWN}\r\nx-user: root"},
        {"token": KNOWN},
    ],
)
async def test_a_socket_is_turned_away(served: Served, payload: Any) -> None:
    async with served.socket(payload) as socket:
        assert await socket.closed() == (4401, UNKNOWN)


async def test_a_socket_is_told_to_come_back_when_it_cannot_be_found_out(served: Served) -> None:
    served.authenticator.answer = Unavailable("The directory")
    async with served.socket({"authorization": KNOWN}) as socket:
        assert (await socket.closed())[0] == 1013


async def test_the_payload_forges_no_other_header(served: Served) -> None:
    # given what a proxy would have set
    payload = {"authorization": KNOWN, "x-forwarded-user": "root", "headers": {"cookie": "a=b", "Host": "evil"}}
    # when
    async with served.socket(payload, **{"x-request-id": "mine"}) as socket:
        await socket.hear()
    # then
    (seen, *_) = served.authenticator.seen
    assert seen["authorization"] == KNOWN
    assert seen["host"] == f"127.0.0.1:{served.port}"
    assert seen["x-request-id"] == "mine"
    assert not {"x-forwarded-user", "cookie"} & seen.keys()


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        (Unauthenticated("It was revoked."), 4401, "Nobody is known by these credentials. It was revoked."),
        (
            Authenticated(Actor("eve")),
            4401,
            "Nobody is known by these credentials. They are someone else's by now: connect again.",
        ),
        (RuntimeError(SECRET), 4500, "Internal error, request {}"),
    ],
)
async def test_an_open_socket_ends_with_its_credentials(
    served: Served, answer: Authenticated | Exception, code: int, reason: str
) -> None:
    # given a socket with a subscription
    async with served.socket({"authorization": KNOWN}) as socket:
        await socket.hear()
        await socket.subscribe(FOREVER)
        await socket.hear()
        # when
        served.authenticator.answer = answer
        # then
        handshake = socket.connection.response
        assert handshake is not None
        assert await socket.closed() == (code, reason.format(handshake.headers["x-request-id"]))
        await asyncio.wait_for(served.toy.context.closed.wait(), 20)


async def test_an_operation_of_an_open_socket_is_not_served_before_the_next_look() -> None:
    # given a socket that is looked at again in an hour
    async with serving(ask_again_every=timedelta(hours=1)) as served, served.socket({"authorization": KNOWN}) as socket:
        await socket.hear()
        # when
        served.authenticator.answer = Unauthenticated("It was revoked.")
        await socket.subscribe('mutation { record(call: "x") }')
        # then
        assert (await socket.closed())[0] == 4401
        assert served.toy.context.calls == []


async def test_a_socket_and_a_stream_end_when_their_credentials_expire(served: Served) -> None:
    async with served.socket({"authorization": KNOWN}) as socket, served.stream() as lines:
        assert await socket.hear() == {"type": "connection_ack"}
        assert await next_event(lines) == ("next", {"data": {"forever": "started"}})
        # when
        until = datetime.now(UTC) + timedelta(milliseconds=300)
        served.authenticator.answer = Authenticated(ADA.actor, until)
        # then
        assert await socket.closed() == (4401, EXPIRED)
        name, payload = await next_event(lines)
        assert (name, payload["errors"][0]["extensions"]) == ("next", {"code": "UNAUTHENTICATED"})
        assert datetime.now(UTC) >= until
    # and nobody comes in with them
    assert (await served.post("{ hello }", authorization=KNOWN)).json()["errors"][0]["message"] == EXPIRED


@pytest.mark.parametrize("later", [ADA, Unavailable("The directory")])
async def test_credentials_end_at_the_moment_they_expire(later: Authenticated | Exception) -> None:
    # given a caller who is looked at again in an hour only, and an outage by then
    until = datetime.now(UTC) + timedelta(milliseconds=300)
    authenticator = Scripted(Authenticated(ADA.actor, until))
    callers = Callers(authenticator, frozenset(), ask_again_every=timedelta(hours=1))
    staying = asyncio.create_task(callers.stay(CONNECTION))
    await eventually(lambda: as_found(authenticator.seen))
    authenticator.answer = later if isinstance(later, Exception) else authenticator.answer
    # then
    async with asyncio.timeout(30):
        with pytest.raises(Unauthenticated, match="expired"):
            await staying
    assert datetime.now(UTC) >= until


async def test_an_event_stream_ends_with_its_credentials(served: Served) -> None:
    async with served.stream() as lines:
        assert await next_event(lines) == ("next", {"data": {"forever": "started"}})
        # when
        served.authenticator.answer = Unauthenticated("It was revoked.")
        # then
        message = "Nobody is known by these credentials. It was revoked."
        error = {"message": message, "extensions": {"code": "UNAUTHENTICATED"}}
        assert await next_event(lines) == ("next", {"errors": [error]})
        assert await next_event(lines) == ("complete", None)
        assert [line async for line in lines if line] == []
    await asyncio.wait_for(served.toy.context.closed.wait(), 20)


async def test_an_outage_is_borne_for_a_while(served: Served) -> None:
    async with served.socket({"authorization": KNOWN}) as socket:
        await socket.hear()
        # given an outage that has been noticed
        served.authenticator.answer = Unavailable("The directory")
        seen = served.authenticator.seen
        before = len(seen)
        await eventually(lambda: as_found(seen[before + 2 :]))
        # when it passes
        served.authenticator.answer = ADA
        # then the socket has stayed
        await socket.subscribe("{ hello }")
        assert (await socket.hear())["payload"] == {"data": {"hello": "hello world"}}


async def test_a_long_outage_ends_sockets_and_streams() -> None:
    async with (
        serving(outage_borne=timedelta(0)) as served,
        served.socket({"authorization": KNOWN}) as socket,
        served.stream() as lines,
    ):
        await socket.hear()
        assert (await next_event(lines))[0] == "next"
        # when
        served.authenticator.answer = Unavailable("The directory")
        # then
        assert (await socket.closed())[0] == 1013
        _, payload = await next_event(lines)
        assert payload["errors"][0]["extensions"] == {"code": "UNAVAILABLE"}
