"""The values of the event log behind the subscriptions.

Tuples, since they come by the ten thousand: as dataclasses they take three times as long to make and to compare.
"""

import binascii
import struct
from base64 import urlsafe_b64encode
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from services.errors import InvalidInput

_PARTS = struct.Struct(">QQQ")
_TEXT_LENGTH = 32
"""24 bytes in base64: a multiple of three, so there is no padding and each cursor has one spelling."""

_LARGEST = 2**63 - 1
"""Of a bigint. An xid8 could be twice that, and is not within any cluster's life."""

_FROM_URL_SAFE = str.maketrans("-_+/", "+/..")


class EventKind(StrEnum):
    FIRE_STATUS = "FIRE_STATUS"
    SCHEDULE_CHANGED = "SCHEDULE_CHANGED"


class Cursor(NamedTuple):
    """A place in the event log: just after the event with this transaction id and event id.

    Only cursors of one epoch, which is one history of one database, can be compared.
    """

    epoch: int
    xid: int
    id: int

    def encode(self) -> str:
        """The opaque form that clients keep: 32 characters, safe in a URL."""
        return urlsafe_b64encode(_PARTS.pack(self.epoch, self.xid, self.id)).decode()

    @classmethod
    def decode(cls, text: object) -> "Cursor":
        """The cursor that `encode` made this text of. Raises `InvalidInput` for any other text."""
        if not isinstance(text, str) or len(text) != _TEXT_LENGTH:
            raise malformed_cursor()
        try:
            packed = binascii.a2b_base64(text.translate(_FROM_URL_SAFE), strict_mode=True)
            cursor = cls(*_PARTS.unpack(packed))
        except (ValueError, struct.error):
            raise malformed_cursor() from None
        if cursor.xid > _LARGEST or cursor.id > _LARGEST:
            raise malformed_cursor()
        return cursor


def malformed_cursor() -> InvalidInput:
    """The answer to a cursor that this server cannot have made."""
    return InvalidInput.of("This is no cursor of this server: pass one that you got from it, unchanged.", "after")


class Event(NamedTuple):
    """One event of the log.

    The payload of FIRE_STATUS holds `status`, `previous` (or None), `trigger` and `fireAt` (RFC 3339, UTC),
    that of SCHEDULE_CHANGED holds `version`: enough for every filter, so that no subscriber needs a query per
    event.
    """

    cursor: Cursor
    account_id: str
    kind: EventKind
    schedule_id: UUID | None
    run_id: UUID | None
    agent_id: UUID | None
    payload: dict[str, Any]
    at: datetime
