"""The real schema over views that are made up: each field that is not plain answers with some, and at times with what
it must not."""

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import strawberry
from graphql import (
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    is_abstract_type,
)
from strawberry.schema.schema_converter import CustomGraphQLEnumType, GraphQLCoreConverter
from strawberry.types.base import StrawberryObjectDefinition

from schema import build_schema

LEAVES: dict[str, Callable[[Random], Any]] = {
    "Int": lambda random: random.choice([0, 7, 2**31 - 1]),
    "Float": lambda random: random.choice([0.5, 3]),
    "Boolean": lambda random: random.random() < 0.5,
    "String": lambda random: random.choice(["", "text", "\N{SNOWMAN}"]),
    "ID": lambda random: f"Schedule:{random.randint(1, 9)}",
    "DateTime": lambda random: datetime(2026, 3, 1, 9, 0, random.randint(0, 59), random.choice([0, 120]), UTC),
    "TimeZone": lambda random: "Europe/Berlin",
    "URL": lambda random: "http://agent.test",
    "JSON": lambda random: random.choice([{"a": [1, None]}, {}]),
}
DEPTH = 4

ODD: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: 2**40,
    lambda: ValueError("odd"),
    object,
    lambda: [1],
    lambda: {"id": "x"},
)


class Made:
    """Values for the types of a schema. A share of them is odd."""

    def __init__(self, schema: GraphQLSchema, odd: float) -> None:
        self._schema = schema
        self._odd = odd

    def value(self, type_: Any, random: Random, depth: int) -> Any:
        if random.random() < self._odd:
            return random.choice(ODD)()
        if isinstance(type_, GraphQLNonNull):
            return self._present(type_.of_type, random, depth)
        return None if random.random() < 0.2 or depth < 0 else self._present(type_, random, depth)

    def _present(self, type_: Any, random: Random, depth: int) -> Any:
        if isinstance(type_, GraphQLList):
            # Enough for a plan of the items in the first answer.
            return [
                self.value(type_.of_type, random, depth - 1) for _ in range(random.randint(0, 3) if depth > 0 else 0)
            ]
        if isinstance(type_, CustomGraphQLEnumType):
            return random.choice(list(type_.wrapped_cls))
        if isinstance(type_, GraphQLEnumType):
            return random.choice(list(type_.values))
        if is_abstract_type(type_):
            return self._present(random.choice(self._schema.get_possible_types(type_)), random, depth)
        if isinstance(type_, GraphQLObjectType):
            return self._view(type_, random, depth)
        return LEAVES[type_.name](random)

    def _view(self, type_: GraphQLObjectType, random: Random, depth: int) -> Any:
        definition = type_.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
        assert isinstance(definition, StrawberryObjectDefinition)
        class_ = definition.concrete_of.origin if definition.concrete_of else definition.origin
        view = object.__new__(class_)
        for name, field in type_.fields.items():
            of_strawberry = field.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
            if of_strawberry.base_resolver is None:
                object.__setattr__(view, of_strawberry.python_name, self.value(field.type, random, depth - 1))
            else:
                assert name
        return view


def schema_over_views(odd: float) -> strawberry.Schema:
    """A field's answer depends on the seed in the context, its path, and its arguments, not on when it is asked."""
    schema = build_schema(schedules=True)
    made = Made(schema._schema, odd)
    for type_ in schema._schema.type_map.values():
        if isinstance(type_, GraphQLObjectType) and not type_.name.startswith("__"):
            for field in type_.fields.values():
                if field.extensions[GraphQLCoreConverter.DEFINITION_BACKREF].base_resolver is not None:
                    field.resolve = _resolver(made)
    return schema


def _resolver(made: Made) -> Callable[..., Any]:
    def value(info: GraphQLResolveInfo[Any], arguments: dict[str, Any]) -> Any:
        random = Random(f"{info.context}{info.path.as_list()}{arguments}")
        if random.random() < 0.05:
            raise RuntimeError("broken")
        return made.value(info.return_type, random, DEPTH)

    async def later(info: GraphQLResolveInfo[Any], arguments: dict[str, Any]) -> Any:
        return value(info, arguments)

    def resolve(_source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        return later(info, arguments) if len(info.field_name) % 3 else value(info, arguments)

    return resolve
