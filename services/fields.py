"""The rules for single fields: each answers the issues that it finds, and none where the value is good."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson

from services.errors import Issue
from services.outbound import is_odd_literal

NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")
MAX_DESCRIPTION = 1_000
MAX_NOTE = 1_000
MAX_URL = 2_000
MAX_SECRET = 4_000
MAX_IDEMPOTENCY_KEY = 200
MAX_JSON_BYTES = 64 * 1024
MAX_JSON_DEPTH = 32
MAX_CONTENT_BYTES = 64 * 1024
MAX_LABELS = 32
MAX_LABEL_KEY = 63
MAX_LABEL_VALUE = 200


def check_name(name: str, *path: str) -> list[Issue]:
    if NAME_PATTERN.fullmatch(name):
        return []
    return [Issue(path, "Use 1 to 64 of the characters a-z, 0-9 and -, with no dash at either end: nightly-report.")]


def check_text(text: str | None, most: int, *path: str) -> list[Issue]:
    """A free text of at most `most` characters."""
    if text is None:
        return []
    issues = check_storable(text, *path)
    if len(text) > most:
        issues.append(Issue(path, f"At most {most:,} characters; this has {len(text):,}."))
    return issues


def check_storable(text: str, *path: str) -> list[Issue]:
    """Postgres keeps every character but NUL, and UTF-8 has no form for half of a surrogate pair."""
    if "\x00" in text:
        return [Issue(path, "Remove the NUL character (U+0000).")]
    if any("\ud800" <= character <= "\udfff" for character in text):
        return [Issue(path, "Remove the lone surrogate: the text is not valid Unicode.")]
    return []


def check_content(content: str, *path: str) -> list[Issue]:
    """The text that a run sends: not blank, at most 64 KiB as UTF-8."""
    if not content.strip():
        return [Issue(path, "Say what the agent is to do; this is blank.")]
    issues = check_storable(content, *path)
    if not issues and (size := len(content.encode())) > MAX_CONTENT_BYTES:
        issues.append(Issue(path, f"At most {MAX_CONTENT_BYTES:,} bytes as UTF-8; this has {size:,}."))
    return issues


def check_document(value: dict[str, Any] | None, *path: str) -> list[Issue]:
    """A JSON object of at most 64 KiB and 32 levels whose every text can be stored."""
    if value is None:
        return []
    if _deeper_than(value, MAX_JSON_DEPTH):
        return [Issue(path, f"At most {MAX_JSON_DEPTH} levels of nesting.")]
    try:
        serialised = orjson.dumps(value)
    except (TypeError, ValueError):
        return [Issue(path, "Numbers must fit in 64 bits, and texts must be valid Unicode.")]
    if b"\\u0000" in serialised and any("\x00" in text for text in _texts(value)):
        return [Issue(path, "Remove the NUL character (U+0000).")]
    if len(serialised) > MAX_JSON_BYTES:
        return [Issue(path, f"At most {MAX_JSON_BYTES:,} bytes serialised; this has {len(serialised):,}.")]
    return []


def check_labels(labels: tuple[tuple[str, str], ...], *path: str) -> list[Issue]:
    issues: list[Issue] = []
    if len(labels) > MAX_LABELS:
        issues.append(Issue(path, f"At most {MAX_LABELS} labels; these are {len(labels)}."))
    seen: set[str] = set()
    for index, (key, value) in enumerate(labels):
        here = (*path, str(index))
        if not key.strip():
            issues.append(Issue((*here, "key"), "A label needs a key."))
        if key in seen:
            issues.append(Issue((*here, "key"), f"The key {key!r} stands here twice; keep one."))
        seen.add(key)
        issues += check_text(key, MAX_LABEL_KEY, *here, "key")
        issues += check_text(value, MAX_LABEL_VALUE, *here, "value")
    return issues


def check_url(url: str, *path: str) -> list[Issue]:
    """The base URL of an agent: http or https, a host, no credentials, no query, no fragment."""
    example = "https://agents.example.com/reporter"
    if len(url) > MAX_URL:
        return [Issue(path, f"At most {MAX_URL:,} characters.")]
    if check_storable(url) or any(character.isspace() or ord(character) < 32 for character in url):
        return [Issue(path, "A URL holds no spaces or control characters.")]
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return [Issue(path, f"This is not a URL; one looks like {example}.")]
    if parts.scheme not in ("http", "https") or not host:
        return [Issue(path, f"Give an http or https URL with a host, such as {example}.")]
    if parts.username is not None or parts.password is not None:
        return [Issue(path, "Leave the credentials out of the URL; the agent's key goes into apiKey.")]
    if parts.query or parts.fragment:
        return [Issue(path, f"Leave out what follows ? or #; a base URL looks like {example}.")]
    if is_odd_literal(host):
        return [Issue(path, "Write an IPv4 address as four decimal numbers, and an IPv6 address without a zone.")]
    return []


def check_range(value: timedelta, least: timedelta, most: timedelta, *path: str) -> list[Issue]:
    if least <= value <= most:
        return []
    low, high = int(least.total_seconds()), int(most.total_seconds())
    return [Issue(path, f"From {low:,} to {high:,} seconds; this is {int(value.total_seconds()):,}.")]


def check_idempotency_key(key: str | None, *path: str) -> list[Issue]:
    if key is None:
        return []
    if not key.strip():
        return [Issue(path, "Leave the key out, or give one that is not blank.")]
    return check_text(key, MAX_IDEMPOTENCY_KEY, *path)


def _deeper_than(value: object, levels: int) -> bool:
    layer: list[object] = [value]
    for _ in range(levels):
        layer = [child for parent in layer for child in _children(parent)]
        if not layer:
            return False
    return True


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    texts = [text for child in _children(value) for text in _texts(child)]
    return texts + [key for key in value if isinstance(key, str)] if isinstance(value, dict) else texts
