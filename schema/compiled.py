"""What is made of selection sets: functions that complete objects, and what they leave to the executor."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLObjectType
from graphql.execution.collect_fields import FieldDetailsList
from graphql.execution.values import VariableValues
from strawberry.types.field import StrawberryField

from schema.arguments import Arguments
from schema.deferral import Below, Deferred
from schema.plain_fields import Method

Make = Callable[[Any, "Waiting", list[Deferred], Below], Any]
"""Completes an object, whose place has to be told only to one that defers."""


class Unexpected(Exception):
    """Something that graphql-core has to deal with."""


class NotRead(Unexpected):
    """A field is not ready that was compiled as if it were."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """The arguments of a field some of which stand in variables: one operation after the other knows what they are."""

    arguments: Arguments
    names: Mapping[str, str]

    def under(self, variables: VariableValues) -> dict[str, Any]:
        """By their names in Python. Raises `GraphQLError` where they are wrong."""
        return {self.names[name]: value for name, value in self.arguments.of(variables).items()}


class OperationArguments(dict[Given, dict[str, Any]]):
    """Those of one operation, each worked out when it is first asked for."""

    def __init__(self, variables: VariableValues) -> None:
        super().__init__()
        self._variables = variables

    def __missing__(self, given: Given) -> dict[str, Any]:
        found = self[given] = given.under(self._variables)
        return found


class Waiting(list[tuple["Part", Any, dict[str, Any]]]):
    """Fields that are read together, each with an object that has it and the dictionary that it goes to; and the
    arguments of the operation, which plans look at."""

    __slots__ = ("arguments",)

    def __init__(self, arguments: OperationArguments) -> None:
        super().__init__()
        self.arguments = arguments


@dataclass(frozen=True, slots=True)
class Hole:
    """A field that the executor fills. A method is called directly, everything else is left to graphql-core.

    `details` are for a selection that is not deferred; in one that is, they are the executor's own.
    """

    key: str
    details: FieldDetailsList
    method: Method | None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A field whose values are read together for all objects that have it. `make` completes each of them."""

    key: str
    parent: GraphQLObjectType
    details: FieldDetailsList
    field: StrawberryField
    call: Callable[..., Awaitable[list[Any]]]
    arguments: dict[str, Any] | Given
    make: Make


@dataclass(frozen=True, slots=True)
class Selection:
    """The fields that are selected on one object type.

    One with holes reads nothing together, and defers nothing, at any depth.
    """

    type: GraphQLObjectType
    make: Make
    holes: tuple[Hole, ...]
    reads_together: bool
    defers: bool
