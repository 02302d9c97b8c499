"""Global ids: readable, `Schedule:0197...`, one spelling each."""

import re
from enum import StrEnum
from uuid import UUID

NOBODY = UUID(int=0)
"""The id that no row has: what a malformed id stands for, so that it is not found like any unknown one."""


class Kind(StrEnum):
    AGENT = "Agent"
    SCHEDULE = "Schedule"
    RUN = "Run"
    TASK = "Task"
    MESSAGE = "Message"


_KINDS = {each.value: each for each in Kind}
_KEY = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def encode(kind: Kind, key: UUID) -> str:
    return f"{kind.value}:{key}"


def decode(text: str) -> tuple[Kind, UUID] | None:
    """The kind and the key; None for anything that `encode` did not make."""
    prefix, _, key = text.partition(":")
    if prefix not in _KINDS or not _KEY.fullmatch(key):
        return None
    return _KINDS[prefix], UUID(key)


def key_of(kind: Kind, text: str) -> UUID:
    """The key in an id of this kind; `NOBODY` where it is malformed or of another kind."""
    decoded = decode(text)
    return decoded[1] if decoded is not None and decoded[0] is kind else NOBODY
