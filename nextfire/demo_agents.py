"""Two small agents to try Nextfire with, and an example of an agent that honours the idempotency key.

`sync_agent` answers each message at once, as a stream; `async_agent` takes tasks and events and says so. Both do
a request only once per key, however often it comes, so that at-least-once delivery has one effect. They are
ordinary ACP servers: `POST /api` takes JSON-RPC, `GET /healthz` says that they are up.
"""

import json
import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_KEYS = 10_000
EXCERPT = 60
# The headers that end a connection after an answer without having read all of the request.
GOODBYE = {"connection": "close"}

logger = logging.getLogger(__name__)


def sync_agent() -> Starlette:
    """An agent of protocol SYNC: echoes each message, as start, one delta a word, and done."""
    return _app("sync", ("message/send",))


def async_agent() -> Starlette:
    """An agent of protocol ASYNC: takes task/create, event/send and task/cancel."""
    return _app("async", ("task/create", "event/send", "task/cancel"))


@dataclass(frozen=True, slots=True)
class Call:
    """What the agents read of one JSON-RPC request; `key` is empty where the caller sent none."""

    id: str | int | None
    method: str
    key: str
    task: str
    text: str


class Seen:
    """The keys of what was done, the latest `MAX_KEYS` of them: an agent must bound what it remembers."""

    def __init__(self) -> None:
        self._keys: OrderedDict[tuple[str, str], None] = OrderedDict()

    def add(self, method: str, key: str) -> bool:
        """Whether this is the first time; always, where there is no key to go by."""
        if not key:
            return True
        first = (method, key) not in self._keys
        self._keys[method, key] = None
        self._keys.move_to_end((method, key))
        if len(self._keys) > MAX_KEYS:
            self._keys.popitem(last=False)
        return first


def _app(name: str, methods: tuple[str, ...]) -> Starlette:
    seen = Seen()

    async def api(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return Response(status_code=413, headers=GOODBYE)
        try:
            call = _call(json.loads(body), request.headers.get("x-idempotency-key", ""))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return _error(None, -32600, "This is not a JSON-RPC request of ACP.")
        if call.method not in methods:
            return _error(call.id, -32601, f"Method {_line(call.method)} not found")
        first = seen.add(call.method, call.key)
        logger.info("%s", _described(name, call, first))
        return _echo(call) if call.method == "message/send" else _result(call.id, {"status": "processing"})

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "healthy"})

    return Starlette(routes=[Route("/api", api, methods=["POST"]), Route("/healthz", healthz)])


async def _body(request: Request) -> bytes | None:
    """The whole body, or None where it is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _call(request: dict[str, Any], key: str) -> Call:
    params = request["params"]
    content = params.get("content") or (params.get("event") or {}).get("content") or {}
    return Call(
        id=request["id"],
        method=str(request["method"]),
        key=key or str(params.get("idempotency_key") or ""),
        task=str(params["task"].get("name") or params["task"]["id"]),
        text=str(content.get("content") or ""),
    )


def _echo(call: Call) -> Response:
    """The same request has the same answer, so an echo that came twice needs no memory of the first."""

    def updates() -> Iterator[dict[str, Any]]:
        content = {"type": "text", "author": "agent", "style": "static", "format": "plain", "content": ""}
        yield {"type": "start", "index": 0, "content": content}
        for part in ("You said:", *(f" {word}" for word in call.text.split(" "))):
            yield {"type": "delta", "index": 0, "delta": {"type": "text", "text_delta": part}}
        yield {"type": "done", "index": 0}

    lines = (json.dumps(_response(call.id, update)) + "\n" for update in updates())
    return StreamingResponse(lines, media_type="application/x-ndjson")


def _result(call_id: str | int | None, result: dict[str, Any]) -> Response:
    return JSONResponse(_response(call_id, result))


def _error(call_id: str | int | None, code: int, message: str) -> Response:
    return JSONResponse(_response(call_id, None, {"code": code, "message": message, "data": None}))


def _response(
    call_id: str | int | None, result: dict[str, Any] | None, error: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "result": result, "error": error, "id": call_id}


def _described(name: str, call: Call, first: bool) -> str:
    parts = [name, call.method, call.task, f"key={call.key or '-'}"]
    if call.text:
        parts.append(f'"{call.text if len(call.text) <= EXCERPT else call.text[:EXCERPT] + "…"}"')
    return _line("  ".join(parts if first else [*parts, "again: not done twice"]))


def _line(text: str) -> str:
    """The text on one line, whatever a caller put into it."""
    return "".join(character if character.isprintable() else " " for character in text)


@click.command()
@click.argument("kind", type=click.Choice(["sync", "async"]))
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="The port of 127.0.0.1 to serve.")
def main(kind: str, port: int) -> None:
    """Serve a demo agent until it is told to stop."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    logger.setLevel(logging.INFO)
    logger.info("%s agent on http://127.0.0.1:%d", kind, port)
    app = sync_agent() if kind == "sync" else async_agent()
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=False, timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main()
