"""What is sent to an agent: the entities of ACP, and every request as the bytes that are frozen beforehand.

The bytes depend on the values alone: keys are sorted, nothing is drawn at random, no clock is read. So every
copy of a request is the same, whoever builds it. The idempotency key stands in `params.idempotency_key`:
agentex-sdk ignores a parameter that it does not know, while it overwrites `params.request` with the headers
that it forwards. The shapes are those of ACP as Agentex speaks it.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

MESSAGE_SEND = "message/send"
EVENT_SEND = "event/send"
TASK_CREATE = "task/create"
TASK_CANCEL = "task/cancel"

# The key travels as a header too, so it must survive as one: no blank, nothing outside ASCII.
_KEY = re.compile(r"[\x21-\x7e]{1,512}")


class Protocol(StrEnum):
    """How an agent takes its input, as ACP writes it; `agentic` is an older name of `async`."""

    SYNC = "sync"
    ASYNC = "async"
    AGENTIC = "agentic"


class AcpAuthor(StrEnum):
    """Who says a message, as ACP writes it."""

    USER = "user"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class AcpAgent:
    """The agent as it is told about itself; `url` is its base URL, without `/api`."""

    id: UUID
    name: str
    description: str
    protocol: Protocol
    url: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class AcpTask:
    """One conversation; `params` and `metadata` are JSON objects or absent."""

    id: UUID
    name: str
    created_at: datetime
    updated_at: datetime
    params: dict[str, Any] | None
    metadata: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class AcpContent:
    """A plain text and who says it."""

    author: AcpAuthor
    content: str


@dataclass(frozen=True, slots=True)
class AcpEvent:
    """One event of a task; `sequence_id` counts them, from 1."""

    id: UUID
    sequence_id: int
    created_at: datetime
    content: AcpContent


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the sender has to know of a frozen request: its method, and the id that the answer must carry."""

    method: str
    id: str

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream of updates instead of one response."""
        return self.method == MESSAGE_SEND


def task_create_body(agent: AcpAgent, task: AcpTask, key: str) -> bytes:
    """`task/create`. Raises ValueError for a key that no header can carry, and for a time without a zone."""
    return _body(TASK_CREATE, key, agent, task, {"params": task.params})


def event_send_body(agent: AcpAgent, task: AcpTask, event: AcpEvent, key: str) -> bytes:
    """`event/send`. Raises ValueError as `task_create_body` does."""
    sent = {
        "id": str(event.id),
        "sequence_id": event.sequence_id,
        "task_id": str(task.id),
        "agent_id": str(agent.id),
        "created_at": _time(event.created_at),
        "content": _content(event.content),
    }
    return _body(EVENT_SEND, key, agent, task, {"event": sent, "request": None})


def message_send_body(agent: AcpAgent, task: AcpTask, content: AcpContent, key: str) -> bytes:
    """`message/send`, always streamed. Raises ValueError as `task_create_body` does."""
    return _body(MESSAGE_SEND, key, agent, task, {"content": _content(content), "stream": True})


def task_cancel_body(agent: AcpAgent, task: AcpTask, key: str) -> bytes:
    """`task/cancel`. Raises ValueError as `task_create_body` does."""
    return _body(TASK_CANCEL, key, agent, task, {})


def read_envelope(body: bytes) -> Envelope:
    """The method and id of a request built here. Raises ValueError, KeyError or TypeError for others."""
    request = json.loads(body)
    return Envelope(method=str(request["method"]), id=str(request["id"]))


def _body(method: str, key: str, agent: AcpAgent, task: AcpTask, params: dict[str, Any]) -> bytes:
    if not _KEY.fullmatch(key):
        raise ValueError("An idempotency key is 1 to 512 visible ASCII characters.")
    request = {
        "jsonrpc": "2.0",
        "method": method,
        "id": f"{method}:{key}",
        "params": {"agent": _agent(agent), "task": _task(task), "idempotency_key": key, **params},
    }
    text = json.dumps(request, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
    return text.encode()


def _agent(agent: AcpAgent) -> dict[str, Any]:
    return {
        "id": str(agent.id),
        "name": agent.name,
        "description": agent.description,
        "acp_type": agent.protocol.value,
        "status": "Ready",
        "acp_url": agent.url,
        "created_at": _time(agent.created_at),
        "updated_at": _time(agent.updated_at),
    }


def _task(task: AcpTask) -> dict[str, Any]:
    return {
        "id": str(task.id),
        "name": task.name,
        "status": "RUNNING",
        "created_at": _time(task.created_at),
        "updated_at": _time(task.updated_at),
        "params": task.params,
        "task_metadata": task.metadata,
    }


def _content(content: AcpContent) -> dict[str, Any]:
    return {
        "type": "text",
        "author": content.author.value,
        "style": "static",
        "format": "plain",
        "content": content.content,
        "attachments": None,
    }


def _time(moment: datetime) -> str:
    """RFC 3339 in UTC, ending in Z."""
    if moment.tzinfo is None:
        raise ValueError("A time that is sent to an agent needs a zone.")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
