"""The id of the request that is being served: known wherever something is logged, with no web server loaded for it."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_NONE = "none"
_current: ContextVar[str] = ContextVar("request_id", default=_NONE)


def request_id() -> str:
    """The id of the request that is being served here, or `none` outside of one."""
    return _current.get()


@contextmanager
def serving(identifier: str) -> Iterator[None]:
    """For the block, this is the request that is being served."""
    token = _current.set(identifier)
    try:
        yield
    finally:
        _current.reset(token)


def with_request_id(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog: names the request in what is logged while it is served."""
    identifier = _current.get()
    if identifier != _NONE:
        event.setdefault("request_id", identifier)
    return event
