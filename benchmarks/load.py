"""The clients: HTTP/1.1 over kept connections, as light as Python can be, so that they are not what is measured."""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import httptools
import orjson

GRAPHQL = {"content-type": "application/json", "accept": "application/graphql-response+json"}
TIMEOUT_SECONDS = 60


def post(path: str, body: object, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole request, ready to be written."""
    return _request("POST", path, orjson.dumps(body), {**GRAPHQL, **(headers or {})})


def get(path: str, headers: Mapping[str, str] | None = None) -> bytes:
    return _request("GET", path, b"", headers or {})


def _request(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Answer:
    """What came back; `first_seconds` is when the first part of the body was there."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    first_seconds: float = 0
    seconds: float = 0

    def json(self) -> object:
        return orjson.loads(self.body)


class Connection(asyncio.Protocol):
    """One connection with one request at a time. `done` is called with each answer."""

    def __init__(self) -> None:
        self.done: Callable[[Answer], None] = _ignore
        self.failed: Callable[[Exception], None] = _ignore

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes) -> None:
        self._answer = Answer()
        self._chunks: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        self._sent = time.perf_counter()
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.failed(error or ConnectionError("The server closed the connection."))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.decode().lower()] = value.decode()

    def on_body(self, chunk: bytes) -> None:
        if not self._chunks:
            self._answer.first_seconds = time.perf_counter() - self._sent
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        answer = self._answer
        answer.status = self._parser.get_status_code()
        answer.body = b"".join(self._chunks)
        answer.seconds = time.perf_counter() - self._sent
        self.done(answer)


def _ignore(_: object) -> None:
    pass


@dataclass(frozen=True)
class Load:
    """What many clients saw within a while."""

    count: int
    seconds: float
    latencies: list[float]
    firsts: list[float]

    @property
    def per_second(self) -> float:
        return self.count / self.seconds


class Refused(Exception):
    """An answer that is none: the benchmark cannot go on."""


async def ask(port: int, request: bytes) -> Answer:
    """One answer, on a connection of its own."""
    answers: list[Answer] = []
    await drive(port, lambda: request if not answers else None, clients=1, seen=answers.append)
    return answers[0]


async def drive(
    port: int,
    requests: Callable[[], bytes | None],
    *,
    clients: int,
    seconds: float | None = None,
    seen: Callable[[Answer], None] = _ignore,
) -> Load:
    """Each client sends the next request as soon as it has its answer, until time is up or there is none left."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Connection, "127.0.0.1", port) for _ in range(clients)]
    connections = [connection for _, connection in made]
    latencies: list[float] = []
    firsts: list[float] = []
    begun = time.perf_counter()
    until = begun + seconds if seconds is not None else float("inf")

    def client(connection: Connection) -> asyncio.Future[None]:
        ended: asyncio.Future[None] = loop.create_future()

        def go_on() -> None:
            request = requests() if time.perf_counter() < until else None
            if request is None:
                ended.set_result(None)
            else:
                connection.send(request)

        def done(answer: Answer) -> None:
            if answer.status != 200:
                ended.set_exception(Refused(f"{answer.status}: {answer.body[:2000]!r}"))
                return
            latencies.append(answer.seconds)
            firsts.append(answer.first_seconds)
            seen(answer)
            go_on()

        def failed(error: Exception) -> None:
            if not ended.done():
                ended.set_exception(error)

        connection.done, connection.failed = done, failed
        go_on()
        return ended

    try:
        allowed = TIMEOUT_SECONDS + (seconds or 0)
        await asyncio.wait_for(asyncio.gather(*map(client, connections)), allowed)
    finally:
        for connection in connections:
            connection.failed = _ignore
            connection.close()
    return Load(len(latencies), time.perf_counter() - begun, latencies, firsts)


def endlessly(requests: Sequence[bytes]) -> Callable[[], bytes | None]:
    """The requests, again and again."""
    return itertools.cycle(requests).__next__


def once(requests: Sequence[bytes]) -> Callable[[], bytes | None]:
    """Each request once."""
    left = iter(requests)
    return lambda: next(left, None)
