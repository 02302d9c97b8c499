"""What resolvers are given for the arguments of the schema: what Strawberry makes of them, though by a shorter way."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLList, GraphQLNonNull, GraphQLObjectType
from graphql.utilities import coerce_input_value
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import StrawberryArgument, convert_argument

from schema import build_schema
from schema.build import conversion

SCHEMA = build_schema(schedules=True)
DRAWN = 40
TEXTS = {"Int": 3, "Boolean": True, "JSON": {"a": [1]}, "DateTime": "2026-03-01T09:00:00+01:00", "TimeZone": "UTC"}


def arguments() -> Iterator[tuple[str, Any, StrawberryArgument]]:
    """Each argument of a method, with its type of graphql-core's."""
    for each in SCHEMA._schema.type_map.values():
        for name, field in each.fields.items() if isinstance(each, GraphQLObjectType) else ():
            definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
            for argument in definition.arguments if definition is not None else ():
                shown = SCHEMA.config.name_converter.from_argument(argument)
                yield f"{each.name}.{name}({shown})", field.args[shown].type, argument


ARGUMENTS = {name: (type_, argument) for name, type_, argument in arguments()}


def drawn(type_: Any, chance: Random) -> Any:
    """A value that a client may send; what may be null or absent is, now and then."""
    if isinstance(type_, GraphQLNonNull):
        return present(type_.of_type, chance)
    return None if chance.random() < 0.2 else present(type_, chance)


def present(type_: Any, chance: Random) -> Any:
    if isinstance(type_, GraphQLList):
        return [drawn(type_.of_type, chance) for _ in range(chance.randrange(3))]
    if isinstance(type_, GraphQLEnumType):
        return chance.choice([*type_.values])
    if isinstance(type_, GraphQLInputObjectType):
        if type_.extensions[GraphQLCoreConverter.DEFINITION_BACKREF].is_one_of:
            name, field = chance.choice([*type_.fields.items()])
            return {name: present(field.type, chance)}
        required = {name for name, field in type_.fields.items() if isinstance(field.type, GraphQLNonNull)}
        given = {name for name in type_.fields if name in required or chance.random() < 0.5}
        return {name: drawn(field.type, chance) for name, field in type_.fields.items() if name in given}
    return TEXTS.get(type_.name, "text")


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_is_what_strawberry_makes_of_it(name: str) -> None:
    type_, argument = ARGUMENTS[name]
    convert = conversion(SCHEMA.config, argument.type)
    assert convert is not None
    registry, chance = SCHEMA.schema_converter.scalar_registry, Random(name)
    for _ in range(DRAWN):
        value = coerce_input_value(drawn(type_, chance), type_)
        expected = convert_argument(value, argument.type, registry, SCHEMA.config)
        assert repr(convert(value)) == repr(expected)
