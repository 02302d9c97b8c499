"""Keyset pagination: a page is the rows beyond a key, in the order of (column, id)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Row,
    Select,
    Uuid,
    any_,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")
R = TypeVar("R")
Key = tuple[Any, Any]
"""The values of the order's column and of the id in the row where a page begins or ends."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows of a list: at most `limit` after `after` and before `before`, from the end if `backwards`."""

    limit: int
    after: Key | None = None
    before: Key | None = None
    backwards: bool = False
    descending: bool = False


USUAL_SIZES = frozenset({1, 10, 20, 25, 50, 100})
"""Sizes that stand in the text: where Postgres knows how few rows it is to find, it plans a statement once for all."""

FORM_KEY: Key = (None, None)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: list[T]
    has_next: bool
    has_previous: bool


async def page(
    connection: AsyncConnection,
    query: Select[Any],
    order: tuple[ColumnElement[Any], ColumnElement[Any]],
    window: Window,
    make: Callable[[Row[Any]], T],
) -> Page[T]:
    """One statement for one page; one row more than asked for tells whether there is another page."""
    statement = bounded(query, order, window)
    return paged((await connection.execute(statement, bounds(window))).all(), window, make)


async def count(connection: AsyncConnection, query: Select[Any]) -> int:
    counted: FromClause = query.order_by(None).subquery()
    return int((await connection.execute(select(func.count()).select_from(counted))).scalar_one())


def bounded(query: Select[Any], order: tuple[ColumnElement[Any], ColumnElement[Any]], window: Window) -> Select[Any]:
    """The rows of a window of this form, with its key and its size left to be bound: see `bounds`."""
    key = tuple_(*order)
    after, before = (window.before, window.after) if window.descending else (window.after, window.before)
    if after is not None:
        query = query.where(key > _bound("low", order))
    if before is not None:
        query = query.where(key < _bound("high", order))
    limit: Any = bindparam("limit", type_=Integer)
    if window.limit in USUAL_SIZES:
        limit = literal_column(str(window.limit + 1))
    return query.order_by(*sorted_as(order, window)).limit(limit)


def sorted_as(order: tuple[ColumnElement[Any], ColumnElement[Any]], window: Window) -> list[ColumnElement[Any]]:
    """The order in which a window's rows are read."""
    return [column.desc() if window.descending != window.backwards else column.asc() for column in order]


def form(window: Window) -> Window:
    """The same for all windows that `bounded` makes one text of."""
    limit = window.limit if window.limit in USUAL_SIZES else 0
    return replace(window, limit=limit, after=window.after and FORM_KEY, before=window.before and FORM_KEY)


def bounds(window: Window) -> dict[str, Any]:
    """The values for `bounded`; one row more than asked for tells whether there is another page."""
    low, high = (window.before, window.after) if window.descending else (window.after, window.before)
    values: dict[str, Any] = {"limit": window.limit + 1}
    for name, key in (("low", low), ("high", high)):
        if key is not None:
            values[f"{name}_value"], values[f"{name}_id"] = key
    return values


def paged(found: Sequence[R], window: Window, make: Callable[[R], T]) -> Page[T]:
    """The page that the rows of a window are."""
    return page_of([make(row) for row in found], window)


def page_of(found: Sequence[T], window: Window) -> Page[T]:
    """The page that these items are, of which one more than asked for tells whether there is another page."""
    more = len(found) > window.limit
    items = [*found[: window.limit]]
    if window.backwards:
        items.reverse()
    return Page(
        items,
        has_next=window.before is not None if window.backwards else more,
        has_previous=more if window.backwards else window.after is not None,
    )


def _bound(name: str, order: tuple[ColumnElement[Any], ColumnElement[Any]]) -> Any:
    value, row_id = order
    return tuple_(bindparam(f"{name}_value", type_=value.type), bindparam(f"{name}_id", type_=row_id.type))


def among(column: ColumnElement[Any], ids: frozenset[UUID]) -> ColumnElement[bool]:
    """Whether the column is one of the ids, however many: they are one parameter."""
    return column == any_(literal([*ids], ARRAY(Uuid)))
