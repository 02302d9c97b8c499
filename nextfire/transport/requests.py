"""A GraphQL request as it comes in: its JSON, its shape and its text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from nextfire.transport.masking import BAD_REQUEST, BAD_USER_INPUT
from nextfire.transport.refusal import Refusal

# Text can only hold these by an escape, which makes the walk through all strings rare.
_SUSPECT_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


@dataclass(frozen=True)
class GraphQLRequest:
    """The parameters of a request: GraphQL over HTTP, section Request Parameters.

    `document_id` names a document that the server keeps; `query` may then be empty.
    """

    query: str
    operation_name: str | None = None
    variables: dict[str, Any] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)
    document_id: str | None = None


def parse_json(text: str | bytes, what: str) -> Any:
    """The JSON value of a text, refused with 400 if it is none, or holds text that Postgres cannot hold."""
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8")
    except UnicodeDecodeError:
        raise _bad(f"{what} is not valid UTF-8.") from None
    try:
        value = _DECODER.decode(decoded)
    except RecursionError:
        raise _bad(f"{what} is nested too deeply.") from None
    except ValueError:
        raise _bad(f"{what} is not valid JSON.") from None
    if _SUSPECT_ESCAPE.search(decoded):
        _check_all_text(value)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _check_all_text(value: Any) -> None:
    waiting: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, str):
            check_text(item, *path)
        elif isinstance(item, list):
            waiting.extend(((*path, str(index)), each) for index, each in enumerate(item))
        elif isinstance(item, dict):
            for key, each in item.items():
                # At once, for it may become part of the path that a message tells.
                check_text(key, *path)
                waiting.append(((*path, key), each))


def check_text(text: str, *path: str) -> None:
    """Refuse what no text column of Postgres can hold: NUL, and surrogates without their other half."""
    where = ".".join(path) or "The request"
    if "\0" in text:
        raise Refusal(400, BAD_USER_INPUT, f"{where} holds a NUL character (U+0000): remove it.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Refusal(400, BAD_USER_INPUT, f"{where} holds half of a surrogate pair: remove it.") from None


def request_of_body(body: bytes) -> GraphQLRequest:
    """The request in the body of a POST: GraphQL over HTTP, section POST."""
    return request_of_value(parse_json(body, "The body"))


def request_of_query_string(query_string: bytes) -> GraphQLRequest:
    """The request in the query string of a GET: GraphQL over HTTP, section GET."""
    try:
        text = query_string.decode("ascii")
        given: dict[str, Any] = dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100))
    except ValueError:
        raise _bad("The query string is not valid UTF-8, percent-encoded.") from None
    for value in given.values():
        check_text(value)
    for name in ("variables", "extensions"):
        if given.get(name):
            given[name] = parse_json(given[name], f"The parameter {name}")
        else:
            given.pop(name, None)
    return request_of_value(given)


def request_of_value(value: Any) -> GraphQLRequest:
    """The request that a JSON value holds. Members that it does not know are ignored."""
    if isinstance(value, list):
        raise _bad("Batching is not offered: send one operation in a request.")
    if not isinstance(value, dict):
        raise _bad("A request is a JSON object with the member 'query'.")
    extensions = _map(value, "extensions")
    document_id = _document_id(value, extensions)
    query = value.get("query", None if document_id is None else "")
    if not isinstance(query, str) or (document_id is None and not query.strip()):
        raise _bad("'query' must be a string that holds a GraphQL document.")
    operation_name = value.get("operationName")
    if not isinstance(operation_name, str | None):
        raise _bad("'operationName' must be a string or null.")
    return GraphQLRequest(query, operation_name or None, _map(value, "variables"), extensions, document_id)


def _document_id(value: dict[str, Any], extensions: dict[str, Any]) -> str | None:
    identifier = value.get("documentId")
    if identifier is None and isinstance(persisted := extensions.get("persistedQuery"), dict):
        identifier = persisted.get("sha256Hash")
    if not isinstance(identifier, str | None):
        raise _bad("'documentId' must be a string or null.")
    return identifier


def _map(value: dict[str, Any], name: str) -> dict[str, Any]:
    given = value.get(name)
    if not isinstance(given, dict | None):
        raise _bad(f"'{name}' must be an object or null.")
    return given or {}


def _bad(message: str) -> Refusal:
    return Refusal(400, BAD_REQUEST, message)
