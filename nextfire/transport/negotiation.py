"""Which media type answers a request.

RFC 9110 section 12.5.1: the most specific range that matches a type gives its quality. Of equal qualities the one
that the client named first wins, which the RFC leaves open and clients rely on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from nextfire.transport.masking import BAD_REQUEST
from nextfire.transport.refusal import Refusal

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
SSE = "text/event-stream"
MULTIPART = "multipart/mixed"
_ONE_RESULT = (JSON, GRAPHQL_JSON)
_STREAMS = (MULTIPART, SSE)


class Range(NamedTuple):
    """One entry of an Accept header."""

    media_type: str
    quality: float
    position: int


@dataclass(frozen=True)
class Answer:
    """What to answer with: `single` for one result, `stream` for several, or None if they cannot be had."""

    single: str
    stream: str | None = None


def parse_accept(header: str | None) -> list[Range]:
    """The ranges of an Accept header; without one, anything goes. Entries that are no media range are dropped."""
    if header is None or not header.strip():
        return [Range("*/*", 1.0, 0)]
    ranges = []
    for position, entry in enumerate(header.split(",")):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        # Apollo's own protocol for subscriptions over multipart is another one than incremental delivery.
        if "/" in name and not any(p.startswith("subscriptionspec=") for p in parameters):
            ranges.append(Range(name, _quality(parameters), position))
    return ranges


def _quality(parameters: Sequence[str]) -> float:
    given = next((p[2:] for p in parameters if p.startswith("q=")), "1")
    try:
        return min(max(float(given), 0.0), 1.0)
    except ValueError:
        return 0.0


def _match(ranges: Sequence[Range], media_type: str) -> Range | None:
    """The range that speaks for the type. A stream is only given to a client that names it."""
    named = (media_type,) if media_type in _STREAMS else (media_type, f"{media_type.split('/')[0]}/*", "*/*")
    for name in named:
        found = [r for r in ranges if r.media_type == name]
        if found:
            return found[0] if found[0].quality > 0 else None
    return None


def _best(ranges: Sequence[Range], offers: Sequence[str]) -> tuple[str, Range] | None:
    found = [(offer, match) for offer in offers if (match := _match(ranges, offer)) is not None]
    return min(found, key=lambda pair: (-pair[1].quality, pair[1].position), default=None)


def json_type(header: str | None) -> str:
    """The type for an error that ends the request early: JSON, even for a client that takes none."""
    best = _best(parse_accept(header), _ONE_RESULT)
    return best[0] if best else JSON


@lru_cache(maxsize=128)
def negotiate(header: str | None, *, subscribes: bool, defers: bool) -> Answer:
    """What to answer an operation with. Refused with 406 when the client takes nothing that could hold it."""
    ranges = parse_accept(header)
    if subscribes:
        if _match(ranges, SSE) is None:
            raise Refusal(
                406,
                BAD_REQUEST,
                "A subscription needs 'Accept: text/event-stream', or a WebSocket with the subprotocol "
                "graphql-transport-ws.",
            )
        return Answer(SSE, SSE)
    one = _best(ranges, _ONE_RESULT)
    many = _best(ranges, _STREAMS)
    if defers and many and (one is None or many[1].quality >= one[1].quality):
        return Answer(one[0] if one else many[0], many[0])
    single = _best(ranges, (*_ONE_RESULT, SSE)) or many
    if single is None:
        raise Refusal(406, BAD_REQUEST, f"Accept one of {GRAPHQL_JSON}, {JSON}, {SSE}; {MULTIPART} for @defer.")
    return Answer(single[0])
