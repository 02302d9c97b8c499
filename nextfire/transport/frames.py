"""The payloads of an operation, and those of one whose result comes in parts.

The format of the parts is that of graphql-js 17 (`pending`, `incremental` with `id` and `subPath`, `completed`). Each
also carries its whole `path` and its `label`, which is what clients of the older format merge by.
"""

import json
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from typing import Any

import orjson
from graphql import GraphQLError
from graphql.execution import (
    IncrementalDeferResult,
    InitialIncrementalExecutionResult,
    SubsequentIncrementalExecutionResult,
)
from graphql.execution.types import CompletedResult, FormattedPendingResult, IncrementalResult, PendingResult

from nextfire.transport.masking import JsonError, field_errors
from schema.scalars import show_time

Payload = dict[str, Any]
"""One response object, ready to be written as JSON. Times in UTC may stand in it as they are."""


class Encoded:
    """A response object that is JSON already, for all who are sent the same, with the frames that it was sent in."""

    __slots__ = ("_made", "_text", "json")

    def __init__(self, payload: Payload) -> None:
        self.json = encode_json(payload)
        self._made: dict[Callable[[bytes], bytes], bytes] = {}
        self._text: str | None = None

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = self.json.decode()
        return self._text

    def framed(self, frame: Callable[[bytes], bytes]) -> bytes:
        """The JSON in a frame, which is made once for all with the same."""
        made = self._made.get(frame)
        if made is None:
            made = self._made[frame] = frame(self.json)
        return made


def encode_json(payload: Payload) -> bytes:
    """A payload as JSON, its times as `DateTime` shows them. Integers beyond 64 bits, which orjson refuses, are written
    too."""
    try:
        return orjson.dumps(payload, option=orjson.OPT_UTC_Z)
    except orjson.JSONEncodeError:
        text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_shown)
        return text.encode()


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return show_time(value)
    raise TypeError(f"No JSON is made of {type(value).__name__}.")


def result_payload(data: Any, errors: list[GraphQLError] | None) -> Payload:
    """The response object of an operation that ran: https://spec.graphql.org/draft/#sec-Response-Format."""
    payload: Payload = {"errors": field_errors(errors)} if errors else {}
    return payload | {"data": data}


async def only(payload: Payload) -> AsyncGenerator[Payload, None]:
    """The one payload of an operation, where others have several."""
    yield payload


class IncrementalFrames:
    """Writes the parts of one result, and remembers which are still to come."""

    def __init__(self) -> None:
        self._pending: dict[str, FormattedPendingResult] = {}

    def initial(self, result: InitialIncrementalExecutionResult) -> Payload:
        """The first part."""
        payload = result_payload(result.data, result.errors)
        return payload | {"pending": self._announce(result.pending), "hasNext": result.has_next}

    def subsequent(self, result: SubsequentIncrementalExecutionResult) -> Payload:
        """A later part."""
        payload: Payload = {"hasNext": result.has_next}
        # A part may belong to an announcement of its own frame.
        pending = self._announce(result.pending or [])
        if pending:
            payload["pending"] = pending
        if result.incremental:
            payload["incremental"] = [self._part(part) for part in result.incremental]
        if result.completed:
            payload["completed"] = [self._completion(done) for done in result.completed]
        return payload

    def broken_off(self, errors: list[JsonError]) -> Payload:
        """The last part, when what is pending will not come."""
        completed = [{"id": name, "errors": errors} for name in self._pending]
        self._pending.clear()
        return {"hasNext": False, "completed": completed}

    def _announce(self, pending: list[PendingResult]) -> list[FormattedPendingResult]:
        announced = [each.formatted for each in pending]
        self._pending.update({each["id"]: each for each in announced})
        return announced

    def _part(self, part: IncrementalResult) -> Payload:
        announced = self._pending[part.id]
        payload: Payload = {"id": part.id, "path": announced["path"]}
        if part.sub_path:
            payload["path"] = [*announced["path"], *part.sub_path]
            payload["subPath"] = part.sub_path
        if "label" in announced:
            payload["label"] = announced["label"]
        if part.errors:
            payload["errors"] = field_errors(part.errors)
        if isinstance(part, IncrementalDeferResult):
            payload["data"] = part.data
        else:
            payload["items"] = part.items
        return payload

    def _completion(self, done: CompletedResult) -> Payload:
        self._pending.pop(done.id, None)
        return {"id": done.id, "errors": field_errors(done.errors)} if done.errors else {"id": done.id}
