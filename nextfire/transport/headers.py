"""The headers of a request or a socket, read once."""

from collections.abc import Mapping

from starlette.types import Scope

_SCOPE_KEY = "nextfire.headers"


def headers_of(scope: Scope) -> Mapping[str, str]:
    """By their names in lower case; of several of one name the first."""
    found: dict[str, str] | None = scope.get(_SCOPE_KEY)
    if found is None:
        pairs = reversed(scope["headers"])
        found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}
        scope[_SCOPE_KEY] = found
    return found


def joined_headers_of(scope: Scope) -> Mapping[str, str]:
    """The same with all of one name, in their order with commas between: RFC 9110 section 5.3."""
    first = headers_of(scope)
    if len(first) == len(scope["headers"]):
        return first
    joined: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined
