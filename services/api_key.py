"""An API key: what its text is made of, and what is kept of it.

`nfk_{id}_{secret}{checksum}`, in base 62. The id is public and names the key; the secret holds 190 random bits and is
kept as a SHA-256 only; the checksum is the CRC-32 of all before it, so that a scanner for leaked secrets can tell a key
from what only looks like one, and a mistyped key is refused without a query.
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from datetime import datetime

from services.principals import Role

ID_LENGTH = 12
SECRET_LENGTH = 32
CHECKSUM_LENGTH = 6
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_FORM = re.compile(rf"nfk_([0-9A-Za-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}")
_ID = re.compile(rf"(?:nfk_)?([0-9A-Za-z]{{{ID_LENGTH}}})(?:_.*)?")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A row of `api_keys`. `name` is the service account that the key's holder acts as; several keys may share it."""

    id: str
    account_id: str
    name: str
    role: Role
    digest: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    """To the minute."""
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyText:
    """A key as its holder has it; it is shown once and stored nowhere."""

    id: str
    text: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        return digest_of(self.text)


def digest_of(text: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(text.encode()).digest()


def new_key() -> KeyText:
    identifier = _random(ID_LENGTH)
    body = f"nfk_{identifier}_{_random(SECRET_LENGTH)}"
    return KeyText(identifier, body + _checksum(body))


def read_key(text: str) -> KeyText | None:
    """None where the text cannot be a key, by its form or its checksum."""
    form = _FORM.fullmatch(text)
    if form is None or text[-CHECKSUM_LENGTH:] != _checksum(text[:-CHECKSUM_LENGTH]):
        return None
    return KeyText(form[1], text)


def id_in(text: str) -> str | None:
    """The id in what somebody has of a key: the id itself, with `nfk_` in front, or the whole text."""
    found = _ID.fullmatch(text)
    return found[1] if found else None


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(text: str) -> str:
    value, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
