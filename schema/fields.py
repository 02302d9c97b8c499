"""The decorators of fields that a method answers, typed; and the part of the schema that can be absent."""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, Literal, TypeVar

import strawberry
from graphql import GraphQLFieldResolver, GraphQLResolveInfo
from strawberry.types.field import StrawberryField

from schema.cost import LIVE, weighing

Method = TypeVar("Method", bound=Callable[..., Any])

_SCHEDULES = "schedules"
_READY = "ready"
_KNOWN = "known"
_TOGETHER = "together"
_SHOW = "show"

Known = Callable[..., Any]
"""Takes an object and the arguments of its field, and answers the value, or `NOT_READ`. It waits for nothing."""
Together = Callable[..., Awaitable[list[Any]]]
"""Takes an info, objects, and the arguments of their field, and answers the value of each."""
Show = Callable[[Any], Any]
"""Does with a value what its scalar does, and less slowly."""


class NotRead(Enum):
    """Stands for what has to be read yet."""

    NOT_READ = "NOT_READ"


NOT_READ: Literal[NotRead.NOT_READ] = NotRead.NOT_READ


def resolved(
    description: str,
    *,
    schedules: bool = False,
    weight: int | None = None,
    ready: str | None = None,
    known: Known | None = None,
    together: Together | None = None,
    show: Show | None = None,
) -> Callable[[Method], Method]:
    """A field that a method answers. With `schedules` it leads into the part of schedules and runs, from outside.

    `weight` is what it counts with in the cost of an operation; by default what its type does. `ready` is the attribute
    that holds its value where it has been read already; the method is not called then. `known` answers as the method
    does where the object knows what it takes, and `together` does for many objects at once: each may stand for the
    method in a plan. `show` may stand for the field's scalar there.
    """
    ways = {_READY: ready, _KNOWN: known, _TOGETHER: together, _SHOW: show}
    metadata = {_SCHEDULES: schedules, **ways} | ({} if weight is None else weighing(weight))

    def decorate(method: Method) -> Method:
        field: Any = strawberry.field(method, description=description, metadata=metadata)
        answer: Method = field
        return answer

    return decorate


def live_attribute(description: str) -> Any:
    """A plain attribute whose value costs a call to Temporal for each object."""
    return strawberry.field(description=description, metadata=weighing(LIVE))


def shown_attribute(description: str, show: Show) -> Any:
    """A plain attribute; `show` may stand for its scalar in a plan."""
    return strawberry.field(description=description, metadata={_SHOW: show})


def subscription(description: str) -> Callable[[Method], Method]:
    def decorate(method: Method) -> Method:
        field: Any = strawberry.subscription(method, description=description)
        answer: Method = field
        return answer

    return decorate


def ready_attribute(field: StrawberryField) -> str | None:
    attribute: str | None = field.metadata.get(_READY)
    return attribute


def known_by(field: StrawberryField) -> Known | None:
    known: Known | None = field.metadata.get(_KNOWN)
    return known


def read_together(field: StrawberryField) -> Together | None:
    together: Together | None = field.metadata.get(_TOGETHER)
    return together


def shown_by(field: StrawberryField) -> Show | None:
    show: Show | None = field.metadata.get(_SHOW)
    return show


def answered_when_ready(attribute: str, resolve: GraphQLFieldResolver) -> GraphQLFieldResolver:
    """A resolver that answers the attribute, and calls the other one only where that has not been read."""

    def answer(source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        value = getattr(source, attribute)
        return resolve(source, info, **arguments) if value is NOT_READ else value

    return answer


def is_answered_when_ready(resolve: GraphQLFieldResolver) -> bool:
    return resolve.__qualname__.startswith(f"{answered_when_ready.__name__}.")


def is_offered(field: StrawberryField, *, schedules: bool) -> bool:
    """Whether a schema with or without schedules has this field; types go where no field leads to them."""
    return schedules or not field.metadata.get(_SCHEDULES, False)
