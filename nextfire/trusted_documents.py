"""The manifest of trusted documents: the file that a frontend's build writes, read and checked.

Two forms are known: an object of texts by their SHA-256, as graphql-codegen and Relay write it, and Apollo's manifest
of operations, each with `id` and `body`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import strawberry
from graphql import OperationDefinitionNode, parse

from nextfire.transport.documents import Documents
from nextfire.transport.refusal import Refused
from nextfire.transport.trusted import PREFIX
from schema.limits import DEFAULT_LIMITS, Limits

APOLLO_FORMAT = "apollo-persisted-query-manifest"


class ManifestNotRight(Exception):
    """The manifest cannot be used; the message names each document that is wrong, and says why."""


@dataclass(frozen=True)
class TrustedDocument:
    """One document of a manifest. `least_cost` is without what its variables may add."""

    identifier: str
    name: str
    least_cost: int


def read_manifest(path: Path) -> dict[str, str]:
    """The texts by their SHA-256. Raises `ManifestNotRight`."""
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ManifestNotRight(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise ManifestNotRight(f"{path} is not JSON.") from None
    entries = [*_entries(manifest)]
    if not entries:
        raise ManifestNotRight(
            f"{path} holds no documents. It must be an object of texts by their SHA-256, or Apollo's manifest."
        )
    wrong = [issue for key, text in entries if (issue := _issue(key, text))]
    if wrong:
        raise ManifestNotRight(_told(path, wrong))
    return {key.removeprefix(PREFIX): text for key, text in entries}


def checked_documents(
    path: Path, texts: Mapping[str, str], schema: strawberry.Schema, limits: Limits = DEFAULT_LIMITS
) -> list[TrustedDocument]:
    """The documents, each valid and within the limits. Raises `ManifestNotRight` with all that are not."""
    documents = Documents(schema, limits, size=len(texts))
    good, wrong = [], []
    for key, text in texts.items():
        try:
            operations = documents.operations(text)
        except Refused as refused:
            wrong.append(f"{_label(key, text)}: {' '.join(error['message'] for error in refused.errors)}")
            continue
        least = max((operation.cost.least for operation in operations), default=0)
        if least > limits.max_cost:
            wrong.append(f"{_label(key, text)}: it costs {least:,}, and at most {limits.max_cost:,} is allowed.")
        elif not operations:
            wrong.append(f"{_label(key, text)}: it holds no operation.")
        else:
            good.append(TrustedDocument(key, _name(text), least))
    if wrong:
        raise ManifestNotRight(_told(path, wrong))
    return good


def _entries(manifest: Any) -> Iterator[tuple[Any, Any]]:
    if not isinstance(manifest, dict):
        return
    if manifest.get("format") != APOLLO_FORMAT:
        yield from manifest.items()
        return
    operations = manifest.get("operations")
    for operation in operations if isinstance(operations, list) else ():
        yield (operation.get("id"), operation.get("body")) if isinstance(operation, dict) else (None, None)


def _issue(key: Any, text: Any) -> str | None:
    if not isinstance(key, str) or not isinstance(text, str):
        return f"{json.dumps(key)[:80]}: it is no document; there must be a text for each identifier."
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    if key.removeprefix(PREFIX) == digest:
        return None
    return f"{_label(key, text)}: its identifier is not its SHA-256, which is {digest}."


def _told(path: Path, wrong: list[str]) -> str:
    return "\n".join([f"{path}:", *(f"  {each}" for each in wrong)])


def _label(key: str, text: str) -> str:
    name = _name(text)
    return f"{key[:80]} ({name})" if name else key[:80]


def _name(text: str) -> str:
    """The names of its operations."""
    try:
        definitions = parse(text, max_tokens=DEFAULT_LIMITS.max_tokens).definitions
    except Exception:  # what is wrong with it is told by what checks it
        return ""
    return ", ".join(d.name.value for d in definitions if isinstance(d, OperationDefinitionNode) and d.name)
