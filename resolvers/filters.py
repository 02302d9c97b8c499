"""The texts of a filter: Postgres takes neither NUL nor half of a surrogate pair, be it only to compare with."""

from services import fields
from services.errors import InvalidInput, Issue

MAX_SEARCH = 200


def check(*texts: tuple[str | None, tuple[str, ...]]) -> None:
    """Raises `InvalidInput` with every text, each given with its path, that cannot be compared with anything."""
    issues: list[Issue] = []
    for text, path in texts:
        issues += fields.check_text(text, MAX_SEARCH, *path)
    if issues:
        raise InvalidInput(tuple(issues))
