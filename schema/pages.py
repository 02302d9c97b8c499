"""Connections: one page of a list by keyset, and the four arguments that ask for it."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Generic, Self, TypeVar

import strawberry

from resolvers.paging import DEFAULT_SIZE, MAX_SIZE, Listing, Slice
from schema.cost import LIVE, sizing
from schema.fields import NOT_READ, NotRead, resolved

T = TypeVar("T")
V = TypeVar("V")

First = Annotated[
    int | None,
    strawberry.argument(
        description=f"The size of the page, counted from the start or from `after`: 1 to {MAX_SIZE}, "
        f"{DEFAULT_SIZE} where neither first nor last is given. Not together with last.",
        metadata=sizing(DEFAULT_SIZE),
    ),
]
After = Annotated[
    str | None,
    strawberry.argument(description="A cursor of this list in this order: the page begins behind its place."),
]
Last = Annotated[
    int | None,
    strawberry.argument(
        description=f"The size of the page, counted from the end or from `before`: 1 to {MAX_SIZE}. "
        "The page is still in the list's order. Not together with first.",
        metadata=sizing(DEFAULT_SIZE),
    ),
]
Before = Annotated[
    str | None,
    strawberry.argument(description="A cursor of this list in this order: the page ends in front of its place."),
]


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(
        description="Whether more follows the page; after paging backwards, whether `before` was given."
    )
    has_previous_page: bool = strawberry.field(
        description="Whether something precedes the page; after paging forwards, whether `after` was given."
    )
    start_cursor: str | None = strawberry.field(description="The cursor of the first edge; null on an empty page.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last edge; null on an empty page.")


@strawberry.type(description="One item of a page with its place.")
class Edge(Generic[T]):
    cursor: str = strawberry.field(
        description="The item's place in this order: opaque, and good for as long as the item exists."
    )
    node: T = strawberry.field(description="The item itself.")


@strawberry.type(description="One page of a list, read from Postgres by keyset: changes elsewhere do not shift it.")
class Connection(Generic[T]):
    edges: list[Edge[T]] = strawberry.field(description="The items of the page with their cursors, in order.")
    nodes: list[T] = strawberry.field(description="The items of the page without their cursors, in order.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in its list.")
    count: strawberry.Private[Callable[[], Awaitable[int]]]

    ready_total: strawberry.Private[int | NotRead] = NOT_READ

    @resolved(
        "How many items the whole list has now. Counted in Postgres only when selected.",
        weight=LIVE,
        ready="ready_total",
    )
    async def total_count(self) -> int:
        return await self.count()

    @classmethod
    def of(cls, listing: Listing[V], make: Callable[[V], T]) -> Self:
        nodes = [make(item) for item in listing.items]
        cursors = listing.cursors
        return cls(
            edges=[Edge(cursor=cursor, node=node) for cursor, node in zip(cursors, nodes, strict=True)],
            nodes=nodes,
            page_info=PageInfo(
                has_next_page=listing.has_next,
                has_previous_page=listing.has_previous,
                start_cursor=cursors[0] if cursors else None,
                end_cursor=cursors[-1] if cursors else None,
            ),
            count=listing.count,
            ready_total=NOT_READ if listing.total is None else listing.total,
        )


def asked(
    first: int | None, after: str | None, last: int | None = strawberry.UNSET, before: str | None = strawberry.UNSET
) -> Slice:
    return Slice(given(first), given(after), given(last), given(before))


def given(value: Any) -> Any:
    """The value of an optional argument or input field; None where it is absent."""
    return None if value is strawberry.UNSET else value
