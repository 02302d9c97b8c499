"""GraphQL over WebSocket: the subprotocol graphql-transport-ws and no other.

The rules are those of https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md: what is no message of the
protocol closes the socket with 4400, what is wrong with one operation answers an `error` message for its id alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected as SocketGone
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
)
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import Operation as Slot

from nextfire.request_ids import request_id
from nextfire.transport.admission import RATE_LIMITED, RateLimited, Ticket
from nextfire.transport.audiences import Member, Payloads
from nextfire.transport.direct import Line, line_of, text_frame
from nextfire.transport.frames import Encoded, Payload, encode_json, only
from nextfire.transport.masking import JsonError, error_of, exception_errors
from nextfire.transport.refusal import Misfit, Refusal, Refused
from nextfire.transport.requests import parse_json, request_of_value
from nextfire.transport.stepping import begun
from services.errors import NextfireError, Unauthenticated

if TYPE_CHECKING:
    from nextfire.transport.endpoint import GraphQLEndpoint, Watch

INVALID_MESSAGE = 4400
UNACCEPTABLE_SUBPROTOCOL = 4406
UNAUTHORIZED = 4401
FORBIDDEN = 4403
INTERNAL_ERROR = 4500
TOO_MANY_SOCKETS = 4429
TRY_AGAIN_LATER = 1013
TOO_BIG = 1009
_CLOSE_CODES = {
    "UNAUTHENTICATED": UNAUTHORIZED,
    "UNAVAILABLE": TRY_AGAIN_LATER,
    "PROVIDER_MISCONFIGURED": TRY_AGAIN_LATER,
}
_MOST_REASON_BYTES = 123  # RFC 6455 section 5.5: a control frame holds 125 bytes, two of them the code


class SocketAdapter(ASGIWebSocketAdapter):
    """Reads and writes the messages of one socket."""

    view: GraphQLEndpoint
    ws: WebSocket

    async def iter_json(self, *, ignore_parsing_errors: bool = False) -> AsyncGenerator[object, None]:
        """The messages until the socket closes. One that is too big, binary or no JSON closes it."""
        with suppress(WebSocketDisconnect, WebSocketDisconnected):
            while self.ws.application_state is not WebSocketState.DISCONNECTED:
                received = await self.ws.receive()
                if received["type"] == "websocket.disconnect":
                    return
                text = received.get("text")
                if text is None:
                    await self.close(INVALID_MESSAGE, "A message must be text.")
                elif len(text.encode("utf-8", "replace")) > self.view.bounds.max_message_bytes:
                    await self.close(TOO_BIG, "The message is too big.")
                else:
                    try:
                        message = parse_json(text, "The message")
                    except Refusal as refusal:
                        await self.close(INVALID_MESSAGE, str(refusal))
                    else:
                        yield message

    async def send_json(self, message: Any) -> None:
        """Write a message. Raises SocketGone, which ends the handler, when nobody is there to read it."""
        await self.send_text(encode_json(message).decode())

    async def send_text(self, message: str) -> None:
        """The same for a message that is JSON already."""
        try:
            await self.ws.send_text(message)
        except (WebSocketDisconnect, WebSocketDisconnected) as error:
            raise SocketGone from error

    async def close(self, code: int, reason: str) -> None:
        """Close the socket, unless it is closed."""
        with suppress(WebSocketDisconnect, WebSocketDisconnected):
            cut = reason.encode()[:_MOST_REASON_BYTES].decode(errors="ignore")
            await self.ws.close(code=code, reason=cut)


class SocketHandler(BaseGraphQLTransportWSHandler[Any, None]):
    """Speaks the protocol with one client."""

    view: GraphQLEndpoint
    websocket: SocketAdapter
    _watching: asyncio.Task[None] | None = None

    async def handle_message(self, message: object) -> None:
        """Check the shape of a message before acting on it."""
        fault = _fault(message)
        if fault:
            await self.websocket.close(INVALID_MESSAGE, fault)
            return
        await super().handle_message(cast("Any", message))

    async def handle_connection_init(self, message: Any) -> None:
        """Ask the application who connects, after the checks of the protocol."""
        try:
            message["payload"] = message.get("payload") or {}
            await super().handle_connection_init(message)
            if self.connection_acknowledged and self.view.watch is not None and self._watching is None:
                self._watching = asyncio.create_task(self._watched(self.view.watch))
        except NextfireError as error:
            await self._turn_away(error)
        except RateLimited as error:
            await self.websocket.close(TOO_MANY_SOCKETS, str(error))
        except SocketGone:
            raise
        except Exception as error:  # an application's bug must not show as a traceback
            await self._break_off(error, "graphql.connect")

    async def _watched(self, watch: Watch) -> None:
        """Close the socket when its caller may no longer be here, and deliver nothing more."""
        try:
            await watch(self.websocket.ws)
        except NextfireError as error:
            await self._turn_away(error)
        except Exception as error:  # as for connection_init
            await self._break_off(error, "graphql.watch")

    async def _turn_away(self, error: NextfireError) -> None:
        for identifier in [*self.operations]:
            await self.cleanup_operation(identifier)
        await self.websocket.close(_CLOSE_CODES.get(error.code, FORBIDDEN), error.message)

    async def _break_off(self, error: Exception, action: str) -> None:
        """Close the socket with what may be told of the error, and the id to ask about."""
        told = exception_errors(error, action)[0]
        await self.websocket.close(INTERNAL_ERROR, f"{told['message']}, request {request_id()}")

    async def shutdown(self) -> None:
        """End everything that runs for the socket."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        await super().shutdown()

    async def handle_subscribe(self, message: Any) -> None:
        """Start an operation. Its slot carries the payload whole, since what is wrong with it ends that one only."""
        most = self.view.bounds.max_operations_per_socket
        if self.connection_acknowledged and message["id"] not in self.operations and len(self.operations) >= most:
            error = error_of(f"A socket may run {most} operations at a time.", RATE_LIMITED)
            await self.send_message(cast("Any", {"id": message["id"], "type": "error", "payload": [error]}))
            return
        payload = {"query": "", "variables": message["payload"]}
        await super().handle_subscribe(cast("Any", {**message, "payload": payload}))

    async def run_operation(self, operation: Slot[Any, None]) -> None:
        """Run one operation to its end, in its own task."""
        try:
            with self.view.admission.ticket() as ticket:
                async with aclosing(await self._payloads(operation, ticket)) as payloads:
                    if isinstance(payloads, Member):
                        before, line = _before_payload(operation.id), line_of(self.websocket.ws.scope)
                        payloads.write_by(partial(self._begin_next, before.encode(), line))
                    async for payload in payloads:
                        await self._send_next(operation, payload)
                        del payload  # the next one may take days
            await self._send(operation, {"type": "complete"})
        except SocketGone:
            return
        except Refused as refused:
            await self._send_error(operation, refused.errors)
        except Unauthenticated as error:
            await self.websocket.close(UNAUTHORIZED, error.message)
        except Exception as error:  # the last place where an error can still be masked
            await self._send_error(operation, exception_errors(error, "graphql.websocket"))

    async def _payloads(self, slot: Slot[Any, None], ticket: Ticket) -> Payloads:
        """What the operation answers. Nothing of the request is kept, for a subscription can last for days."""
        request, slot.variables = request_of_value(slot.variables), None
        engine, websocket = self.view.engine, self.websocket.ws
        context = await self.view.context(websocket)
        operation = await self.view.admission.admit(ticket, request, context, websocket)
        try:
            if operation.subscribes:
                return await engine.subscribe(operation, request, context)
            return only(cast("Payload", await engine.run(operation, request, context)))
        except Misfit as misfit:
            raise await self.view.admission.told(misfit, context, websocket) from None

    async def _send_next(self, operation: Slot[Any, None], payload: Payload | Encoded) -> None:
        if isinstance(payload, Encoded):
            await self.websocket.send_text(f"{_before_payload(operation.id)}{payload.text}}}")
        else:
            await self._send(operation, {"type": "next", "payload": payload})

    def _begin_next(self, before: bytes, line: Line | None, payload: Encoded) -> Coroutine[Any, Any, None] | None:
        """What is left to be awaited, if anything is."""
        if line is not None and line(text_frame(before, payload.json, b"}")):
            return None
        return begun(self.websocket.send_text(f"{before.decode()}{payload.text}}}"))

    async def _send_error(self, operation: Slot[Any, None], errors: list[JsonError]) -> None:
        with suppress(SocketGone):
            await self._send(operation, {"type": "error", "payload": errors})

    async def _send(self, operation: Slot[Any, None], message: dict[str, Any]) -> None:
        await operation.send_operation_message(cast("Any", {"id": operation.id, **message}))


def _before_payload(identifier: str) -> str:
    """The `next` message of an operation up to its payload, after which it only has to be closed."""
    return f'{{"id":{json.dumps(identifier)},"type":"next","payload":'


def _fault(message: object) -> str | None:
    """What keeps a JSON value from being a message of the protocol."""
    if not isinstance(message, dict):
        return "A message must be an object."
    kind, payload = message.get("type"), message.get("payload")
    if not isinstance(kind, str):
        return "A message must have a type."
    if kind not in ("connection_init", "ping", "pong", "subscribe", "complete"):
        return f"There is no message type {json.dumps(kind[:40])}."
    if not isinstance(payload, dict | None):
        return "A payload must be an object."
    if kind in ("subscribe", "complete") and not (isinstance(message.get("id"), str) and message["id"]):
        return "The id must be a string that is not empty."
    return "A subscribe message must have a payload." if kind == "subscribe" and payload is None else None
