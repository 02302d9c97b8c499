"""The schema, with or without its part of schedules and runs, and its printed form."""

from collections.abc import Iterable

import strawberry
from graphql import (
    GraphQLDirective,
    GraphQLObjectType,
    GraphQLSchema,
    lexicographic_sort_schema,
    print_schema,
)
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from schema import errors, one_of
from schema.fields import answered_when_ready, is_offered, ready_attribute
from schema.mutation import Mutation
from schema.query import Query
from schema.scalars import SCALARS
from schema.subscription import Subscription


class Schema(strawberry.Schema):
    """Leaves out the fields that are not offered, and `@stream`, which clients in use cannot read."""

    def __init__(self, *, schedules: bool) -> None:
        self._schedules = schedules
        super().__init__(
            query=Query,
            mutation=Mutation,
            subscription=Subscription if schedules else None,
            config=StrawberryConfig(scalar_map=SCALARS, enable_experimental_incremental_execution=True),
            exception_handlers=errors.handlers(),
        )
        answer_what_is_ready(self._schema)
        if schedules:
            one_of.answered_by_resolver(self._schema, "CadenceInput")

    def get_fields(self, type_definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        return [field for field in type_definition.fields if is_offered(field, schedules=self._schedules)]

    def _collect_graphql_directives(self, schema_directive_types: Iterable[type]) -> tuple[GraphQLDirective, ...]:
        directives = super()._collect_graphql_directives(schema_directive_types)
        return tuple(directive for directive in directives if directive.name != "stream")


def answer_what_is_ready(schema: GraphQLSchema) -> None:
    """Let fields whose value is ready be answered without Strawberry's way to a method, which takes 5 us each time."""
    for each in schema.type_map.values():
        for field in each.fields.values() if isinstance(each, GraphQLObjectType) else ():
            definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
            attribute = ready_attribute(definition) if isinstance(definition, StrawberryField) else None
            if attribute is not None and field.resolve is not None:
                field.resolve = answered_when_ready(attribute, field.resolve)


def build_schema(*, schedules: bool) -> strawberry.Schema:
    """The schema; without `schedules` it has agents and the server's own facts only."""
    return Schema(schedules=schedules)


def sdl() -> str:
    """The whole schema as text, sorted, so that a change of it shows as a small difference."""
    return print_schema(one_of.marked(lexicographic_sort_schema(build_schema(schedules=True)._schema))) + "\n"
