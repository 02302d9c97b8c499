"""GraphQL over HTTP, as https://github.com/graphql/graphql-over-http has it (edition of September 2026).

Each function of this module does one step: method, content type, body, then the operation, then its answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import Any, NoReturn, cast

from graphql import OperationType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from nextfire.transport.admission import Admission, Ticket
from nextfire.transport.answers import JsonAnswer
from nextfire.transport.audiences import Payloads
from nextfire.transport.bounds import Bounds
from nextfire.transport.deadlines import Expired, within
from nextfire.transport.documents import Operation
from nextfire.transport.execution import Engine
from nextfire.transport.frames import Payload, only
from nextfire.transport.headers import headers_of
from nextfire.transport.masking import BAD_REQUEST, exception_errors
from nextfire.transport.negotiation import GRAPHQL_JSON, JSON, Answer, json_type, negotiate
from nextfire.transport.origins import Origins
from nextfire.transport.refusal import Misfit, Refusal, Refused
from nextfire.transport.requests import GraphQLRequest, request_of_body, request_of_query_string
from nextfire.transport.streaming import StreamedResponse, Watch
from services.errors import NextfireError

PARTIAL_SUCCESS = 294
"""Data and errors in one answer: section application/graphql-response+json of the specification."""

_STATUS_OF_CODE = {
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "RATE_LIMITED": 429,
    "UNAVAILABLE": 503,
    "PROVIDER_MISCONFIGURED": 503,
}

_CHALLENGE = {"www-authenticate": 'Bearer realm="nextfire"'}  # RFC 9110 section 15.5.2: a 401 has one


class HTTPHandler:
    """Answers the HTTP requests of one endpoint."""

    def __init__(
        self,
        engine: Engine,
        admission: Admission,
        context: Callable[[Any], Awaitable[Any]],
        bounds: Bounds,
        origins: Origins,
        watch: Callable[[Any], Awaitable[NoReturn]] | None = None,
    ) -> None:
        self._engine = engine
        self._admission = admission
        self._context = context
        self._bounds = bounds
        self._body_seconds = bounds.body_timeout.total_seconds()
        self._origins = origins
        self._watch = watch

    async def answer(self, request: Request, ticket: Ticket) -> ASGIApp:
        """The answer to one request, whatever comes in. `ticket` is held until it is sent."""
        accept = headers_of(request.scope).get("accept")
        try:
            return await self._answer(request, accept, ticket)
        except Refusal as refusal:
            return JsonAnswer({"errors": refusal.errors}, json_type(accept), refusal.status, refusal.headers)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except Exception as error:  # the last place where an error can still be masked
            errors = exception_errors(error, "graphql.http")
            status = _STATUS_OF_CODE.get(errors[0]["extensions"]["code"], 500)
            if isinstance(error, NextfireError) and status == 500:
                status = 400
            return JsonAnswer({"errors": errors}, json_type(accept), status, _CHALLENGE if status == 401 else None)

    async def _answer(self, request: Request, accept: str | None, ticket: Ticket) -> ASGIApp:
        self._origins.check(headers_of(request.scope))
        asked = await self._read(request)
        context = await self._context(request)
        try:
            operation = await self._admission.admit(ticket, asked, context, request)
        except Refusal:
            raise
        except Refused as refused:
            # Nobody knows whether a document that is none subscribes or defers.
            single = negotiate(accept, subscribes=False, defers=False).single
            return self._single({"errors": refused.errors}, single, refused.status)
        _check_method(request, operation)
        answer = negotiate(accept, subscribes=operation.subscribes, defers=operation.defers)
        try:
            if operation.subscribes:
                events = await self._engine.subscribe(operation, asked, context)
                watch = partial(self._watch, request) if self._watch is not None else None
                return self._stream(events, answer.single, watch)
            return await self._run(operation, asked, context, answer)
        except Misfit as misfit:
            told = await self._admission.told(misfit, context, request)
            return self._single({"errors": told.errors}, answer.single, told.status)
        except Refused as refused:
            return self._single({"errors": refused.errors}, answer.single, refused.status)

    async def _run(self, operation: Operation, asked: GraphQLRequest, context: Any, answer: Answer) -> ASGIApp:
        result = await self._engine.run(operation, asked, context, in_parts=answer.stream is not None)
        if isinstance(result, dict):
            status = PARTIAL_SUCCESS if "errors" in result else 200
            return self._single(result, answer.single, status)
        return StreamedResponse(result, cast("str", answer.stream), self._bounds.heartbeat, first=await anext(result))

    async def _read(self, request: Request) -> GraphQLRequest:
        if request.method == "GET":
            return request_of_query_string(request.scope["query_string"])
        if request.method != "POST":
            raise Refusal(405, BAD_REQUEST, "Send GraphQL requests by POST or GET.", headers={"allow": "GET, POST"})
        headers = headers_of(request.scope)
        if (refusal := _refused_type(headers.get("content-type", ""), headers.get("content-encoding"))) is not None:
            raise refusal.again()
        try:
            body = await within(self._body_seconds, self._body(request))
        except Expired:
            raise Refusal(408, BAD_REQUEST, "The body did not arrive in time.") from None
        return request_of_body(body)

    async def _body(self, request: Request) -> bytes:
        most = self._bounds.max_body_bytes
        length = headers_of(request.scope).get("content-length", "")
        if length.isdecimal() and int(length[:20]) > most:
            raise _too_large(most)
        body = bytearray()
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if len(body) > most:
                raise _too_large(most)
            more = message.get("more_body", False)
        return bytes(body)

    def _stream(self, payloads: Payloads, media_type: str, watch: Watch | None = None) -> ASGIApp:
        return StreamedResponse(payloads, media_type, self._bounds.heartbeat, watch)

    def _single(self, payload: Payload, media_type: str, status: int) -> ASGIApp:
        """One payload. Only application/graphql-response+json tells by the status what is in the body."""
        if media_type in (JSON, GRAPHQL_JSON):
            return JsonAnswer(payload, media_type, status if media_type == GRAPHQL_JSON else 200)
        return self._stream(only(payload), media_type)


@lru_cache(maxsize=64)
def _refused_type(content_type: str, encoding: str | None) -> Refusal | None:
    """Section POST. Any type but this one could be sent across sites by a form, without asking."""
    name, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if name != JSON:
        return Refusal(415, BAD_REQUEST, f"The Content-Type must be {JSON}.", headers={"accept-post": JSON})
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "charset" and value.strip().strip('"') not in ("utf-8", "utf8"):
            return Refusal(415, BAD_REQUEST, "The charset of the body must be UTF-8.")
    if encoding is not None and encoding.strip().lower() != "identity":
        return Refusal(415, BAD_REQUEST, "The body must not be compressed.")
    return None


def _check_method(request: Request, operation: Operation) -> None:
    if request.method == "GET" and operation.kind is OperationType.MUTATION:
        raise Refusal(405, BAD_REQUEST, "Send mutations by POST.", headers={"allow": "POST"})


def _too_large(most: int) -> Refusal:
    return Refusal(413, BAD_REQUEST, f"The body is larger than {most:,} bytes.")
