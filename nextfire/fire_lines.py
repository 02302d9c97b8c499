"""Follows the fires through the public subscription, from a thread; one line for each that ended."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from nextfire.demo import Api
from nextfire.processes import StackError

FINISHED = {"DELIVERED", "SKIPPED", "MISSED", "CANCELLED", "FAILED", "UNKNOWN"}
CURSOR = "query Cursor { eventCursor }"
SUBSCRIPTION = """
subscription Fires($after: String) {
  fireStatus(after: $after) {
    cursor at status
    run { id latencyMs skipReason error { message } schedule { name } agent { name } }
  }
}"""


class CursorExpiredError(Exception):
    """The server has no events as old as the cursor any more."""


class FireLines:
    """Shows each fire that ends, once and in order, over any loss of the connection."""

    def __init__(self, api: Api, websocket_url: str, show: Callable[[str, str, str], None]) -> None:
        self._api = api
        self._url = websocket_url
        self._show = show
        self._stopping = threading.Event()
        self._cursor: str | None = None

    def start(self) -> None:
        """Follow from now on.

        Raises:
            StackError: the API did not say where now is.
        """
        self._cursor = self._api.ask(CURSOR)["eventCursor"]
        # A daemon, so that a thread in the middle of a read never holds up the end of the process.
        threading.Thread(target=self._follow, name="fires", daemon=True).start()

    def stop(self) -> None:
        """Show no more."""
        self._stopping.set()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                with open_socket(self._url) as socket:
                    for event in events(socket, self._cursor):
                        self._handle(event)
            except CursorExpiredError:
                self._cursor = None
            except (OSError, WebSocketException, StackError):
                self._stopping.wait(1)

    def _handle(self, event: Mapping[str, Any]) -> None:
        self._cursor = event["cursor"]
        if event["status"] in FINISHED and not self._stopping.is_set():
            at = datetime.fromisoformat(event["at"]).astimezone().strftime("%H:%M:%S")
            self._show(at, event["status"], describe(event["run"]))


def open_socket(url: str) -> ClientConnection:
    """A socket that is ready to subscribe."""
    socket = connect(url, subprotocols=[Subprotocol("graphql-transport-ws")], proxy=None, open_timeout=10)
    socket.send(json.dumps({"type": "connection_init"}))
    return socket


def events(socket: ClientConnection, cursor: str | None) -> Iterator[Mapping[str, Any]]:
    """The events after `cursor`, until the server or the connection ends it.

    Raises:
        CursorExpiredError: the server asks for a new beginning.
    """
    subscribe = {"query": SUBSCRIPTION, "variables": {"after": cursor}}
    for text in socket:
        message = json.loads(text)
        match message["type"]:
            case "connection_ack":
                socket.send(json.dumps({"type": "subscribe", "id": "fires", "payload": subscribe}))
            case "ping":
                socket.send(json.dumps({"type": "pong"}))
            case "next":
                yield from data_of(message["payload"])["fireStatus"]
            case "error":
                data_of({"errors": message["payload"]})
            case "complete":
                return


def data_of(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The data of a result, which has no errors."""
    errors = payload.get("errors") or []
    if any(error.get("extensions", {}).get("code") == "CURSOR_EXPIRED" for error in errors):
        raise CursorExpiredError
    if errors:
        raise StackError(f"The subscription ended: {errors}")
    data: Mapping[str, Any] = payload["data"]
    return data


def describe(run: Mapping[str, Any]) -> str:
    """What fired, at which agent, and how it went."""
    schedule = (run.get("schedule") or {}).get("name", "-")
    outcome = (run["error"] or {}).get("message") or run["skipReason"] or f"{run['latencyMs']} ms"
    return f"{schedule} -> {run['agent']['name']}  {outcome}"
