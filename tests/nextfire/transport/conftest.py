"""A real uvicorn with the toy schema, on a port of the kernel's choice."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount
from structlog.typing import EventDict
from websockets.asyncio.client import ClientConnection, connect

from nextfire.transport import Bounds, GraphQLEndpoint, Perimeter, internal_error, uvicorn_options
from tests.nextfire.transport.node import install_clients
from tests.nextfire.transport.toy import Toy, toy_schema
from tests.no_tls import NO_TLS
from tests.waiting import PATIENCE

SCHEMA = toy_schema()
GRAPHQL_JSON = "application/graphql-response+json"


class Socket:
    """A client of graphql-transport-ws, one message at a time."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, message: Any) -> None:
        """Send a message; strings and bytes go as they are."""
        await self.connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def hear(self) -> Any:
        """The next message."""
        return json.loads(await asyncio.wait_for(self.connection.recv(), 20))

    async def subscribe(self, query: Any, identifier: str = "1", **payload: Any) -> None:
        """Start an operation."""
        await self.say({"type": "subscribe", "id": identifier, "payload": {"query": query, **payload}})

    async def closed(self) -> tuple[int | None, str | None]:
        """The code and reason that the server closed the socket with."""
        await asyncio.wait_for(self.connection.wait_closed(), 20)
        return self.connection.close_code, self.connection.close_reason


@dataclass
class Served:
    """A running endpoint."""

    port: int
    toy: Toy
    http: httpx.AsyncClient

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/graphql/"

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/graphql/"

    async def post(self, body: Any, **headers: str) -> httpx.Response:
        """A request by POST; bytes and strings go as they are."""
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"content-type": "application/json", **named}
        return await self.http.post(self.url, content=content, headers=headers)

    @asynccontextmanager
    async def socket(self, *, init: bool = True, payload: Any = None) -> AsyncIterator[Socket]:
        """A socket, with the connection acknowledged."""
        async with connect(self.socket_url, subprotocols=["graphql-transport-ws"]) as connection:  # type: ignore[list-item]
            socket = Socket(connection)
            if init:
                await socket.say({"type": "connection_init", "payload": payload})
                assert (await socket.hear())["type"] == "connection_ack"
            yield socket


class _Server(uvicorn.Server):
    """A server that says when it is up, and leaves the signals to pytest."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.up.set()


@asynccontextmanager
async def serving(
    bounds: Bounds | None = None,
    *,
    perimeter: Perimeter | None = None,
    routes: Sequence[BaseRoute] = (),
    trusted_proxies: Sequence[str] = (),
    around: Callable[[Any], Any] = lambda app: app,
    server_options: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Served]:
    """The toy behind uvicorn, with the options that `nextfire serve` gives it."""
    toy = Toy()
    bounds = bounds or Bounds()
    endpoint = GraphQLEndpoint(SCHEMA, toy.make, refresh=toy.refresh, bounds=bounds, **options)
    app = Starlette(
        routes=[*routes, Mount("/graphql", endpoint)],
        middleware=perimeter.middleware() if perimeter else [],
        exception_handlers={Exception: internal_error},
    )
    settings = uvicorn_options(bounds, graceful_shutdown=timedelta(seconds=1), trusted_proxies=trusted_proxies) | {
        "loop": "none",
        **(server_options or {}),
    }
    server = _Server(uvicorn.Config(around(app), host="127.0.0.1", port=0, **settings))
    task = asyncio.create_task(server._serve())
    await asyncio.wait_for(server.up.wait(), 20)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(timeout=PATIENCE, verify=NO_TLS) as client:
        try:
            yield Served(port, toy, client)
        finally:
            server.should_exit = True
            await task


@pytest.fixture(scope="session")
async def shared() -> AsyncGenerator[Served, None]:
    """One server for all tests that change none of its bounds."""
    async with serving() as served:
        yield served


@pytest.fixture
def served(shared: Served) -> Served:
    """The shared server with a fresh context."""
    shared.toy.reset()
    return shared


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """The log entries of the test."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture(scope="session")
def npm_clients() -> Path:
    """The folder of the npm clients, with what they need."""
    return install_clients()
