"""An agent whose every answer is scripted: a real HTTP server that can also break HTTP on purpose.

It speaks HTTP through h11 on an asyncio server, since an ASGI server does not let an application reset a
connection, cut a body, or say nothing at all.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Self

import h11

from tests.waiting import PATIENCE


@dataclass(frozen=True)
class Received:
    """One request as it arrived; `headers` in lower case, `body` to the byte."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def request(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def method(self) -> str:
        return str(self.request["method"])

    @property
    def params(self) -> dict[str, Any]:
        params: dict[str, Any] = self.request["params"]
        return params

    @property
    def key(self) -> str:
        return self.headers.get("x-idempotency-key", "")

    @property
    def request_id(self) -> str:
        return self.headers.get("x-request-id", "")


Payload = bytes | Callable[[Received], bytes]
Piece = Payload | asyncio.Event


@dataclass(frozen=True)
class Answer:
    """How one request is answered.

    `pieces` are sent as chunks, each as soon as the one before is out; an Event among them is waited for. `cut`
    ends the body in the middle, `reset` sends a TCP reset instead of a close, `silent` sends nothing, and `raw`
    is sent in place of HTTP. `gate` holds the whole answer back, after the effect. `effect` says whether the
    agent did the work.
    """

    status: int = 200
    body: Payload = b""
    pieces: tuple[Piece, ...] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    gate: asyncio.Event | None = None
    delay_seconds: float = 0
    effect: bool = False
    cut: bool = False
    reset: bool = False
    silent: bool = False
    raw: bytes | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the caller gets all of it."""
        return self.status == 200 and not (self.cut or self.reset or self.silent or self.raw is not None)

    def but(self, **changes: Any) -> "Answer":
        """The same answer with some of it changed."""
        return replace(self, **changes)


def line(result: object, error: object = None) -> Callable[[Received], bytes]:
    """One JSON-RPC response with the id of the request, ended by a newline."""

    def payload(received: Received) -> bytes:
        response = {"jsonrpc": "2.0", "result": result, "error": error, "id": received.request["id"]}
        return json.dumps(response).encode() + b"\n"

    return payload


def result(value: object) -> Answer:
    """A JSON-RPC result: the work is done."""
    return Answer(body=line(value), headers=(("content-type", "application/json"),), effect=True)


def error(code: int, message: str) -> Answer:
    """A JSON-RPC error in a 200: the agent's own no."""
    return Answer(
        body=line(None, {"code": code, "message": message, "data": None}),
        headers=(("content-type", "application/json"),),
    )


def stream(*updates: object, ended: bool = True) -> Answer:
    """A stream of updates, each a line and a chunk of its own; cut off after them unless `ended`."""
    pieces = tuple(line(update) for update in updates)
    return Answer(pieces=pieces, headers=(("content-type", "application/x-ndjson"),), effect=True, cut=not ended)


def status(code: int, retry_after: str | None = None) -> Answer:
    """An HTTP status without a body, and no work done."""
    headers = () if retry_after is None else (("retry-after", retry_after),)
    return Answer(status=code, headers=headers)


def drop(*, effect: bool, reset: bool = False) -> Answer:
    """The connection is closed once the request was read, with or without the work done."""
    return Answer(silent=True, effect=effect, reset=reset)


def hang(*, effect: bool = True) -> Answer:
    """No answer, until the agent is stopped or its caller goes away."""
    return Answer(gate=asyncio.Event(), effect=effect)


def full(text: str, index: int = 0, **more: object) -> dict[str, object]:
    """The update that is a whole text message."""
    content = {"type": "text", "author": "agent", "style": "static", "format": "plain", "content": text}
    return {"type": "full", "index": index, "content": {**content, **more}}


def start(index: int = 0, **content: object) -> dict[str, object]:
    """The update that begins a message."""
    return {
        "type": "start",
        "index": index,
        "content": {"type": "text", "author": "agent", "content": "", **content},
    }


def delta(text: str, index: int = 0) -> dict[str, object]:
    """The update that adds to a text message."""
    return {"type": "delta", "index": index, "delta": {"type": "text", "text_delta": text}}


def done(index: int = 0) -> dict[str, object]:
    """The update that ends a message."""
    return {"type": "done", "index": index}


OK: dict[str, Answer] = {
    "message/send": stream(full("ok")),
    "event/send": result({"status": "processing"}),
    "task/create": result(None),
    "task/cancel": result({"status": "processing"}),
}


@dataclass
class ScriptedAgent:
    """A server on a free port of 127.0.0.1, and the record of all that it got.

    With `dedupe` the work of one method and key is done once, without it each time; `acknowledged` holds method and key
    of each request that got a whole answer of work done. Answers are taken from the
    script of the request's method, then from the script for all, then from `OK`; probes of its health are not
    recorded and get `health`. It is an async context manager.
    """

    dedupe: bool = True
    health: Answer = Answer(body=b'{"status":"healthy"}')
    requests: list[Received] = field(default_factory=list)
    effects: list[tuple[str, str]] = field(default_factory=list)
    acknowledged: list[tuple[str, str]] = field(default_factory=list)
    refused_connections: int = 0
    port: int = 0
    _scripts: dict[str | None, list[Answer]] = field(default_factory=dict)
    _always: dict[str | None, Answer] = field(default_factory=dict)
    _drop_next: int = 0
    _open: set[asyncio.Task[None]] = field(default_factory=set)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def script(self, *answers: Answer, method: str | None = None) -> Self:
        """The next requests, or the next of one method, are answered with these, in this order."""
        self._scripts.setdefault(method, []).extend(answers)
        return self

    def always(self, answer: Answer, method: str | None = None) -> Self:
        """What is answered once a script has run out, in place of `OK`."""
        self._always[method] = answer
        return self

    def drop_connections(self, count: int) -> Self:
        """The next connections are reset before anything is read from them."""
        self._drop_next = count
        return self

    def effects_of(self, method: str) -> list[str]:
        """The keys of the work done by a method, in order, one for each time."""
        return [key for done_by, key in self.effects if done_by == method]

    def of(self, method: str) -> list[Received]:
        """The requests of one method, in order."""
        return [received for received in self.requests if received.method == method]

    async def received(self, count: int, method: str | None = None) -> list[Received]:
        """The requests, or those of one method, once there are `count`. Raises TimeoutError."""

        def so_far() -> list[Received]:
            return self.requests if method is None else self.of(method)

        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(so_far()) >= count)
        return list(so_far())

    async def idle(self) -> None:
        """Waits until no connection is open. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: not self._open)

    async def listen(self) -> None:
        """Takes connections, on the same port as before where there was one."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Refuses new connections, and ends the open ones, until `listen` is called."""
        if self._server is None:
            return
        self._server.close()
        ending = list(self._open)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if self._drop_next:
                self._drop_next -= 1
                self.refused_connections += 1
                _reset(writer)
            else:
                await self._exchange(reader, writer)
        except (ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
            # The caller went away, or the agent is being stopped; asyncio logs a cancelled handler as an error.
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
            self._open.discard(task)
            async with self._changed:
                self._changed.notify_all()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = await _read(reader)
        if received is None:
            return
        answer = self.health if received.path.endswith("/healthz") else await self._taken(received)
        gone = asyncio.ensure_future(reader.read(1))
        speaking = asyncio.ensure_future(_answer(writer, received, answer))
        try:
            await asyncio.wait({gone, speaking}, return_when=asyncio.FIRST_COMPLETED)
            if speaking.done():
                speaking.result()
                if answer.effect and answer.is_whole:
                    self.acknowledged.append((received.method, received.key))
        finally:
            gone.cancel()
            speaking.cancel()
            await asyncio.gather(gone, speaking, return_exceptions=True)

    async def _taken(self, received: Received) -> Answer:
        """Records the request, and its effect, before a word is answered."""
        async with self._changed:
            self.requests.append(received)
            answer = self._next(received.method)
            work = (received.method, received.key)
            if answer.effect and not (self.dedupe and work in self.effects):
                self.effects.append(work)
            self._changed.notify_all()
        return answer

    def _next(self, method: str) -> Answer:
        for name in (method, None):
            if self._scripts.get(name):
                return self._scripts[name].pop(0)
        return self._always.get(method) or self._always.get(None) or OK[method]


async def _read(reader: asyncio.StreamReader) -> Received | None:
    """The whole request, or None where the caller went away without one."""
    connection = h11.Connection(h11.SERVER)
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(64 * 1024))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
            return Received(head.target.decode(), headers, bytes(body))
        else:
            return None


async def _answer(writer: asyncio.StreamWriter, received: Received, answer: Answer) -> None:
    if answer.delay_seconds:
        await asyncio.sleep(answer.delay_seconds)
    if answer.gate is not None:
        await answer.gate.wait()
    if not answer.silent:
        await _write(writer, received, answer)
    if answer.reset:
        _reset(writer)


async def _write(writer: asyncio.StreamWriter, received: Received, answer: Answer) -> None:
    if answer.raw is not None:
        writer.write(answer.raw)
        await writer.drain()
        return
    body = _payload(answer.body, received)
    framing = f"content-length: {len(body)}" if answer.pieces is None else "transfer-encoding: chunked"
    headers = [f"{name}: {value}" for name, value in answer.headers] + [framing, "connection: close"]
    phrase = HTTPStatus(answer.status).phrase
    writer.write("\r\n".join([f"HTTP/1.1 {answer.status} {phrase}", *headers, "", ""]).encode("latin-1"))
    writer.write(body[: len(body) // 2] if answer.cut else body)
    for piece in answer.pieces or ():
        if isinstance(piece, asyncio.Event):
            await piece.wait()
        else:
            chunk = _payload(piece, received)
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        await writer.drain()
    if answer.pieces is not None and not answer.cut:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


def _payload(payload: Payload, received: Received) -> bytes:
    return payload if isinstance(payload, bytes) else payload(received)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends the connection with a TCP reset: a close with a linger of zero."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
