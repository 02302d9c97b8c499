"""Keyset pagination: a page is the rows beyond a key, in the order of (column, id)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Row, Select, Uuid, any_, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")
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
    rows = (await connection.execute(_sliced(query, order, window))).all()
    more = len(rows) > window.limit
    items = [make(row) for row in rows[: window.limit]]
    if window.backwards:
        items.reverse()
    return Page(
        items,
        has_next=window.before is not None if window.backwards else more,
        has_previous=more if window.backwards else window.after is not None,
    )


async def count(connection: AsyncConnection, query: Select[Any]) -> int:
    counted: FromClause = query.order_by(None).subquery()
    return int((await connection.execute(select(func.count()).select_from(counted))).scalar_one())


def among(column: ColumnElement[Any], ids: frozenset[UUID]) -> ColumnElement[bool]:
    """Whether the column is one of the ids, however many: they are one parameter."""
    return column == any_(literal([*ids], ARRAY(Uuid)))


def _sliced(query: Select[Any], order: tuple[ColumnElement[Any], ColumnElement[Any]], window: Window) -> Select[Any]:
    key = tuple_(*order)
    after, before = (window.before, window.after) if window.descending else (window.after, window.before)
    if after is not None:
        query = query.where(key > tuple_(*_typed(order, after)))
    if before is not None:
        query = query.where(key < tuple_(*_typed(order, before)))
    descending = window.descending != window.backwards
    return query.order_by(*(c.desc() if descending else c.asc() for c in order)).limit(window.limit + 1)


def _typed(order: tuple[ColumnElement[Any], ColumnElement[Any]], key: Key) -> list[ColumnElement[Any]]:
    return [literal(value, column.type) for column, value in zip(order, key, strict=True)]
