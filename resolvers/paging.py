"""Pages by keyset: the bounds of `first` and `last`, and cursors that hold a place in one order of one list."""

from base64 import urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any, Generic, TypeVar
from uuid import UUID

from services import fields, keyset
from services.errors import InvalidInput, Issue

DEFAULT_SIZE = 20
MAX_SIZE = 100
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
LARGEST_NUMBER = 2**31 - 1
MAX_CURSOR = 300

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Slice:
    """What a caller asked for, unchecked."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None


class Sorted(Enum):
    """What the key of an order is."""

    BY_TIME = auto()
    BY_NAME = auto()
    BY_NUMBER = auto()


@dataclass(frozen=True, slots=True)
class Order:
    """One order of one list. `column` is the name of the sorted column, which is the attribute of its values too."""

    list: str
    column: str
    by: Sorted
    descending: bool = False

    @property
    def name(self) -> str:
        """What stands in its cursors, so that one of another order is told from a place in this one."""
        return f"{self.list}.{self.column}{'-' if self.descending else '+'}"

    def cursor(self, key: keyset.Key) -> str:
        """The opaque text for a place: URL-safe, without padding, one spelling for each place."""
        return _cursors(self, [key])[0]

    def key(self, cursor: str) -> keyset.Key:
        """The place that `cursor` made this text of. Raises `ValueError` with a message for the caller."""
        name, _, rest = _opened(cursor).partition(" ")
        if rest and name != self.name and name.partition(".")[0] == self.list:
            raise ValueError("This cursor is of another order: begin without it, or ask for the order that it is of.")
        text, _, row_id = rest.partition(" ")
        try:
            key = (self._value(text), UUID(hex=row_id))
            if self.cursor(key) == cursor:
                return key
        except (ValueError, OverflowError):
            pass
        raise ValueError("This is no cursor of this list: pass one that you got from it, unchanged.")

    def _value(self, text: str) -> Any:
        if self.by is Sorted.BY_TIME:
            return EPOCH + int(text) * MICROSECOND
        if self.by is Sorted.BY_NUMBER and 0 <= int(text) <= LARGEST_NUMBER:
            return int(text)
        if self.by is Sorted.BY_NAME and fields.NAME_PATTERN.fullmatch(text):
            return text
        raise ValueError


def _cursors(order: Order, keys: Iterable[keyset.Key]) -> list[str]:
    """URL-safe by themselves: no character of a cursor's text makes a + or a / of base64."""
    name, by_time = order.name, order.by is Sorted.BY_TIME
    made = []
    for value, row_id in keys:
        place = (value - EPOCH) // MICROSECOND if by_time else value
        text = f"{name} {place} {row_id.hex}".encode()
        made.append(b2a_base64(text, newline=False).rstrip(b"=").decode())
    return made


def _opened(cursor: str) -> str:
    if len(cursor) > MAX_CURSOR:
        return ""
    try:
        return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page with a cursor for each item; `count` asks Postgres for the size of the whole list."""

    items: list[T]
    cursors: list[str]
    has_next: bool
    has_previous: bool
    count: Callable[[], Awaitable[int]]
    total: int | None = None
    """The size of the whole list where the page was read with it."""


def listing(
    page: keyset.Page[T],
    order: Order,
    key: Callable[[T], keyset.Key],
    count: Callable[[], Awaitable[int]],
    total: int | None = None,
) -> Listing[T]:
    cursors = _cursors(order, map(key, page.items))
    return Listing(page.items, cursors, page.has_next, page.has_previous, count, total)


def window(asked: Slice, order: Order, *path: str) -> keyset.Window:
    """The rows that were asked for. Raises `InvalidInput` with all that is wrong with the four arguments."""
    issues: list[Issue] = []
    limit = DEFAULT_SIZE
    if asked.first is not None and asked.last is not None:
        issues.append(Issue((*path, "last"), "Give first or last, not both."))
    for name, size in (("first", asked.first), ("last", asked.last)):
        if size is None:
            continue
        limit = size
        if not 1 <= size <= MAX_SIZE:
            issues.append(Issue((*path, name), f"From 1 to {MAX_SIZE}; this is {size}."))
    after = _key(order, asked.after, issues, (*path, "after"))
    before = _key(order, asked.before, issues, (*path, "before"))
    if issues:
        raise InvalidInput(tuple(issues))
    return keyset.Window(limit, after, before, backwards=asked.last is not None, descending=order.descending)


def _key(order: Order, cursor: str | None, issues: list[Issue], path: tuple[str, ...]) -> keyset.Key | None:
    if cursor is None:
        return None
    try:
        return order.key(cursor)
    except ValueError as error:
        issues.append(Issue(path, str(error)))
        return None
