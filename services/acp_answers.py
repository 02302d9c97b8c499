"""What an agent answers: the reading of JSON-RPC responses, and of streams of them.

Nothing here does I/O: bytes come in, an outcome goes out. The shapes are those of ACP as Agentex speaks it.
"""

import json
from io import StringIO
from typing import Any

from services.acp_outcomes import Accepted, Failure, Outcome, Refused, Reply, Unknown, storable
from services.acp_requests import AcpAuthor

MAX_LINE_BYTES = 4 * 1024 * 1024
MAX_REPLY_BYTES = 4 * 1024 * 1024
MAX_REPLIES = 1_000
# Each line costs time however short it is, and the loop that reads it serves everyone else too.
MAX_LINES = 500_000


def read_response(body: bytes, request_id: str) -> Outcome:
    """The outcome of one whole JSON-RPC response; any result, null too, is a success."""
    response = _response(body, request_id)
    return response if isinstance(response, Refused | Unknown) else Accepted()


class ReplyStream:
    """Collects the updates of one message/send: `full` wins, else the deltas of an index are put together."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._messages: dict[int, _Message] = {}
        self._bytes = 0

    def feed(self, line: bytes) -> Failure | None:
        """Takes one line, blank ones too. A failure is final: the rest of the stream says nothing more."""
        if not line.strip():
            return None
        response = _response(line, self._request_id)
        if isinstance(response, Refused | Unknown):
            return response
        return None if response["result"] is None else self._update(response["result"])

    def finish(self) -> Outcome:
        """The outcome, once the stream has ended cleanly."""
        if any(not message.whole for message in self._messages.values()):
            return Unknown("UNFINISHED", "The agent's stream ended in the middle of a message.")
        replies = (message.reply(index) for index, message in sorted(self._messages.items()))
        return Accepted(tuple(reply for reply in replies if reply is not None))

    def _update(self, update: Any) -> Failure | None:
        if not isinstance(update, dict) or update.get("type") not in ("start", "delta", "full", "done"):
            return Refused("MALFORMED", "The agent streamed something that is not an update of a message.")
        index = 0 if update.get("index") is None else update["index"]
        if type(index) is not int:
            return Refused("MALFORMED", "The agent streamed an update whose index is not a number.")
        message = self._messages.setdefault(index, _Message())
        if len(self._messages) > MAX_REPLIES:
            return Refused("TOO_LARGE", f"The agent answered more than {MAX_REPLIES:,} messages.")
        if update["type"] == "done":
            message.done = True
            return None
        return self._take(message, update)

    def _take(self, message: "_Message", update: dict[str, Any]) -> Failure | None:
        kind = update["type"]
        part = update.get("delta" if kind == "delta" else "content")
        if part is None and kind == "delta":
            return None
        if not isinstance(part, dict) or (kind != "delta" and not _is_content(part)):
            return Refused("MALFORMED", f"The agent streamed a {kind} without the content that it is to have.")
        self._bytes += message.take(kind, part)
        if self._bytes > MAX_REPLY_BYTES:
            return Refused("TOO_LARGE", f"The agent answered more than {MAX_REPLY_BYTES:,} bytes.")
        return None


class _Message:
    """One message while it is being streamed."""

    def __init__(self) -> None:
        self.done = False
        self._start: dict[str, Any] | None = None
        self._full: dict[str, Any] | None = None
        self._delta: dict[str, Any] = {}
        self._texts: dict[str, StringIO] = {}

    @property
    def whole(self) -> bool:
        return self.done or self._full is not None

    def take(self, kind: str, part: dict[str, Any]) -> int:
        """Takes the content of a start or a full, or a delta; answers the bytes that it added."""
        if kind == "full":
            self._full = part
            return _size(json.dumps(part, ensure_ascii=False))
        self.done = False
        if kind == "delta":
            return self._append(part)
        self._start = part
        return _size(json.dumps(part, ensure_ascii=False))

    def _append(self, delta: dict[str, Any]) -> int:
        """Puts what ends in `_delta` after what came before, and keeps the first of everything else."""
        grown = 0
        for name, value in delta.items():
            if name.endswith("_delta") and isinstance(value, str):
                self._texts.setdefault(name, StringIO()).write(value)
                grown += _size(value)
            elif value is not None and name not in self._delta:
                self._delta[name] = value
                grown += _size(json.dumps(value, ensure_ascii=False))
        return grown

    def reply(self, index: int) -> Reply | None:
        content = self._full or (None if self._texts else self._start)
        if content is not None:
            return _reply(index, content, content)
        if not self._texts:
            return None
        texts = {name: text.getvalue() for name, text in self._texts.items()}
        if set(texts) == {"text_delta"} and self._delta.get("type", "text") == "text":
            return _reply(index, {"type": "text", "content": texts["text_delta"]}, self._start or {})
        return _reply(index, self._delta | texts, self._start or {})


class Lines:
    """Cuts chunks of bytes into lines at each newline. Raises `TooLargeError` for too long, or too many."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._count = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        self._count += chunk.count(b"\n")
        if self._count > MAX_LINES:
            raise TooLargeError
        *ended, rest = chunk.split(b"\n")
        if ended:
            ended[0] = bytes(self._rest) + ended[0]
            self._rest = bytearray(rest)
        else:
            self._rest += rest
        if len(self._rest) > MAX_LINE_BYTES or any(len(line) > MAX_LINE_BYTES for line in ended):
            raise TooLargeError
        return ended

    @property
    def rest(self) -> bytes:
        """What stands after the last newline."""
        return bytes(self._rest)


class TooLargeError(Exception):
    """An answer goes beyond what is kept of one."""


def _response(line: bytes, request_id: str) -> dict[str, Any] | Failure:
    try:
        response = json.loads(line.decode(), parse_constant=_not_json)
    except (ValueError, RecursionError):
        return Unknown("NOT_JSON", "The agent answered something that is not JSON, or it was cut off.")
    if not isinstance(response, dict):
        return Refused("MALFORMED", "The agent answered JSON that is not a JSON-RPC response.")
    error, answered = response.get("error"), response.get("id")
    # JSON-RPC 2.0, section 5: the id of an error is null where the agent could not read the request.
    if error and answered in (request_id, None):
        return _application_error(error)
    if answered != request_id:
        return Refused("WRONG_ID", "The agent answered with the id of another request.")
    if "result" not in response:
        return Refused("MALFORMED", "The agent answered neither a result nor an error.")
    return response


def _application_error(error: Any) -> Refused:
    code = error.get("code") if isinstance(error, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return Refused(
        f"RPC_{code}" if type(code) is int and abs(code) < 2**31 else "RPC_ERROR",
        message if isinstance(message, str) and message else "The agent answered an error without a message.",
    )


def _is_content(part: dict[str, Any]) -> bool:
    return part.get("type") != "text" or isinstance(part.get("content"), str)


def _reply(index: int, content: dict[str, Any], about: dict[str, Any]) -> Reply:
    """`about` names the author: a delta does not, the start before it does."""
    author = AcpAuthor.USER if about.get("author") == AcpAuthor.USER else AcpAuthor.AGENT
    kind = content.get("type")
    if kind == "text":
        return Reply(index, author, "text", storable(content["content"]))
    text = storable(json.dumps(content, ensure_ascii=False, separators=(",", ":")))
    return Reply(index, author, storable(kind)[:64] if isinstance(kind, str) else "unknown", text)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _not_json(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
