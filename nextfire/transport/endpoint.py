"""The GraphQL endpoint: one ASGI application for HTTP and WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, NoReturn

import strawberry
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from nextfire.transport.admission import Admission, Allowances, MayIntrospect
from nextfire.transport.bounds import DEFAULT_BOUNDS, Bounds
from nextfire.transport.correlation import RequestIdMiddleware
from nextfire.transport.deadlines import Expired, within
from nextfire.transport.execution import Engine, Refresh
from nextfire.transport.http import HTTPHandler
from nextfire.transport.lobby import Lobby
from nextfire.transport.masking import TIMEOUT
from nextfire.transport.origins import Origins
from nextfire.transport.rates import RateLimit
from nextfire.transport.refusal import Refusal
from nextfire.transport.store import Store
from nextfire.transport.websocket import UNACCEPTABLE_SUBPROTOCOL, SocketAdapter, SocketHandler
from schema.limits import DEFAULT_LIMITS, Limits

MakeContext = Callable[[Request | WebSocket], Coroutine[Any, Any, Any]]
"""Makes the context of one operation. What it raises of Nextfire's errors is answered; all else is masked."""

Watch = Callable[[Request | WebSocket], Awaitable[NoReturn]]
"""Runs beside an open socket or event stream, and raises one of Nextfire's errors when that must end."""

Connect = Callable[[WebSocket, Mapping[str, Any]], Awaitable[Mapping[str, Any] | None]]
"""Lets a socket in: takes the payload of connection_init, gives that of connection_ack, or raises."""


DEFAULT_ALLOWANCES = Allowances()


class GraphQLEndpoint(GraphQL[Any, None]):
    """Serves a schema over HTTP (one result, parts, server-sent events) and over graphql-transport-ws.

    `context` is called for each operation, on a socket too, so that what its loaders keep does not outlive the
    operation; `websocket.state.connection_params` then holds the payload of connection_init. `refresh` makes the
    context of each event of a subscription from that of the subscription. `watch` ends sockets and event streams
    whose credentials no longer hold. Web pages of other origins than its own and `allowed_origins` may use neither
    HTTP nor WebSocket.

    `context` and `connect` may name the caller in `connection.state.caller`: under that name, or else under the
    address, `allowances` and `rate_limit` are counted; with a `store`, together with all processes that share it, as
    long as `admission.tend` runs. With `trusted`, texts by their SHA-256, no other documents are
    run. `may_introspect` is asked about each operation that reads the schema itself. With `reports_cost` the
    answers to queries and mutations tell what they cost.
    """

    def __init__(
        self,
        schema: strawberry.Schema,
        context: MakeContext,
        *,
        connect: Connect | None = None,
        refresh: Refresh | None = None,
        watch: Watch | None = None,
        limits: Limits = DEFAULT_LIMITS,
        bounds: Bounds = DEFAULT_BOUNDS,
        allowances: Allowances = DEFAULT_ALLOWANCES,
        rate_limit: RateLimit | None = None,
        store: Store | None = None,
        may_introspect: MayIntrospect | None = None,
        trusted: Mapping[str, str] | None = None,
        reports_cost: bool = False,
        allowed_origins: Sequence[str] = (),
    ) -> None:
        super().__init__(
            schema,
            graphql_ide=None,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=bounds.connection_init_timeout,
            max_subscriptions_per_connection=None,
            allowed_origins=allowed_origins,
        )
        self.bounds = bounds
        self.engine = Engine(schema, limits, bounds.deadline, refresh, trusted=trusted, reports_cost=reports_cost)
        self.admission = Admission(self.engine, allowances, rate_limit, may_introspect, store)
        self._lobby = Lobby(bounds.max_silent_sockets)
        self._context = context
        self.watch = watch
        self._connect = connect
        self._http = HTTPHandler(self.engine, self.admission, self.context, bounds, Origins(allowed_origins), watch)
        self._with_request_id = RequestIdMiddleware(self._serve)

    websocket_adapter_class = SocketAdapter
    graphql_transport_ws_handler_class = SocketHandler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._with_request_id(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            with self.admission.ticket() as ticket:
                response = await self._http.answer(Request(scope, receive), ticket)
                await response(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._serve_socket(WebSocket(scope, receive, send))

    async def _serve_socket(self, websocket: WebSocket) -> None:
        if GRAPHQL_TRANSPORT_WS_PROTOCOL in websocket.scope["subprotocols"]:
            async with self._lobby.place() as websocket.state.place:
                with self.admission.ticket() as websocket.state.ticket:
                    await self.run(websocket)
            return
        # Closed after it was accepted, since a browser hides the reason of a handshake that fails.
        await websocket.accept()
        await websocket.close(
            UNACCEPTABLE_SUBPROTOCOL,
            "Use the subprotocol graphql-transport-ws (npm graphql-ws); the older graphql-ws is not offered.",
        )

    async def context(self, request: Request | WebSocket) -> Any:
        """The context of one operation, made within its deadline."""
        try:
            return await within(self.bounds.deadline.total_seconds(), self._context(request))
        except Expired:
            raise Refusal(504, TIMEOUT, "Nextfire could not tell in time who is asking.") from None

    async def get_context(self, request: Request | WebSocket, response: Any) -> dict[str, Any]:
        """What `on_ws_connect` is given. Operations get theirs from `context`."""
        return {"websocket": request}

    async def on_ws_connect(self, context: dict[str, Any]) -> Any:
        """Keep the payload of connection_init, and ask `connect`."""
        websocket: WebSocket = context["websocket"]
        params: Mapping[str, Any] = context["connection_params"]
        websocket.state.connection_params = params
        acknowledgement = None if self._connect is None else await self._connect(websocket, params)
        await self.admission.admit_socket(websocket.state.ticket, websocket)
        self._lobby.leave(websocket.state.place)
        return strawberry.UNSET if acknowledgement is None else dict(acknowledgement)
