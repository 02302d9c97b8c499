"""Whether two servers answer the same, byte for byte once the keys are in order.

What a peer cannot help but say otherwise is brought into the product's form first, by the peer's `normal`.
"""

import orjson


class Differs(Exception):
    """A peer does not answer what the product answers, so that its speed says nothing."""


def canonical(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def require_same(name: str, expected: object, found: object) -> None:
    """Raises `Differs` with the place where they part."""
    ours, theirs = canonical(expected), canonical(found)
    if ours == theirs:
        return
    at = next((at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    begin = max(0, at - 80)
    raise Differs(f"{name} differs:\n  {ours[begin : at + 80]!r}\n  {theirs[begin : at + 80]!r}")
