"""The schema, with or without its part of schedules and runs, and its printed form."""

from collections.abc import Callable, Iterable
from dataclasses import MISSING
from functools import partial
from typing import Any

import strawberry
from graphql import (
    GraphQLDirective,
    GraphQLFieldResolver,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    lexicographic_sort_schema,
    print_schema,
)
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_argument
from strawberry.types.base import (
    StrawberryList,
    StrawberryMaybe,
    StrawberryObjectDefinition,
    StrawberryOptional,
    get_object_definition,
)
from strawberry.types.enum import StrawberryEnumDefinition
from strawberry.types.field import StrawberryField
from strawberry.types.fields.resolver import StrawberryResolver

from schema import errors, one_of
from schema.fields import answered_when_ready, is_offered, ready_attribute
from schema.mutation import Mutation
from schema.query import Query
from schema.scalars import SCALARS
from schema.subscription import Subscription

_AS_THEY_COME: frozenset[Any] = frozenset({bool, float, int, str, strawberry.ID, *SCALARS})
"""Types of which graphql-core's values are Strawberry's."""
Failure = tuple[tuple[type[Exception], ...], strawberry.ExceptionHandler[Any]]
"""Errors of a field that become results, and what makes them so."""


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
        _answer_directly(self)
        answer_what_is_ready(self._schema)
        if schedules:
            one_of.answered_by_resolver(self._schema, "CadenceInput")

    def get_fields(self, type_definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        return [field for field in type_definition.fields if is_offered(field, schedules=self._schedules)]

    def _collect_graphql_directives(self, schema_directive_types: Iterable[type]) -> tuple[GraphQLDirective, ...]:
        directives = super()._collect_graphql_directives(schema_directive_types)
        return tuple(directive for directive in directives if directive.name != "stream")


def _answer_directly(schema: strawberry.Schema) -> None:
    """Let methods with arguments be called without Strawberry's way to them, which looks up again at each call what
    their arguments are named and of which types they are."""
    failures_of = schema.schema_converter._get_field_exception_handlers
    for each in schema._schema.type_map.values():
        for field in each.fields.values() if isinstance(each, GraphQLObjectType) else ():
            definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
            if not isinstance(definition, StrawberryField) or not field.args or field.subscribe is not None:
                continue
            if definition.base_resolver is not None and not definition.extensions:
                answer = _direct(schema, definition, definition.base_resolver)
                failures = failures_of(definition)
                field.resolve = _with_failures(schema, definition, answer, failures) if failures else answer


def _direct(
    schema: strawberry.Schema, field: StrawberryField, resolver: StrawberryResolver[Any]
) -> GraphQLFieldResolver:
    config, registry = schema.config, schema.schema_converter.scalar_registry
    call: Callable[..., Any] = resolver.wrapped_func  # type: ignore[assignment]
    takes_info = resolver.info_parameter is not None
    named = config.name_converter.from_argument
    arguments = [(named(each), each.python_name, each.type, conversion(config, each.type)) for each in field.arguments]

    def answer(source: Any, raw_info: GraphQLResolveInfo[Any], /, **given: Any) -> Any:
        info = config.info_class(_raw_info=raw_info, _field=field)
        values = {
            name: (
                convert(given[shown])
                if convert is not None
                else convert_argument(given[shown], type_, registry, config, info, path=(shown,))
            )
            for shown, name, type_, convert in arguments
            if shown in given
        }
        return call(source, info=info, **values) if takes_info else call(source, **values)

    return answer


def _with_failures(
    schema: strawberry.Schema, field: StrawberryField, answer: Callable[..., Any], failures: tuple[Failure, ...]
) -> GraphQLFieldResolver:
    """A resolver that answers what becomes of the errors that the other one raises."""

    def result_of(error: Exception, raw_info: GraphQLResolveInfo[Any]) -> Any:
        for kinds, handler in failures:
            if isinstance(error, kinds):
                info = schema.config.info_class(_raw_info=raw_info, _field=field)
                return handler.handle(error, field=field, info=info)
        raise error

    def at_once(source: Any, raw_info: GraphQLResolveInfo[Any], /, **given: Any) -> Any:
        try:
            return answer(source, raw_info, **given)
        except Exception as error:
            return result_of(error, raw_info)

    async def later(source: Any, raw_info: GraphQLResolveInfo[Any], /, **given: Any) -> Any:
        try:
            return await answer(source, raw_info, **given)
        except Exception as error:
            return result_of(error, raw_info)

    return later if field.is_async else at_once


def conversion(config: StrawberryConfig, type_: Any) -> Callable[[Any], Any] | None:
    """What `convert_argument` does for the type, for the types that need little; None for all others."""
    if type(type_) is StrawberryMaybe:
        of_some = conversion(config, type_.of_type) if type(type_.of_type) is StrawberryOptional else None
        return None if of_some is None else lambda value: strawberry.Some(of_some(value))
    if type(type_) is StrawberryOptional:
        type_ = type_.of_type
    if type_ in _AS_THEY_COME or isinstance(type_, StrawberryEnumDefinition):
        return _as_it_comes
    if type(type_) is StrawberryList:
        of_item = conversion(config, type_.of_type)
        return None if of_item is None else partial(_each, of_item)
    definition = get_object_definition(type_) if isinstance(type_, type) else None
    if definition is None or not definition.is_input or definition.from_input is not None:
        return None
    fields = [
        (config.name_converter.from_field(each), each.python_name, conversion(config, each.resolve_type()))
        for each in definition.fields
    ]
    if any(convert is None for _, _, convert in fields):
        return None
    needed = {
        each.python_name: None
        for each in definition.fields
        if each.default_value is MISSING and each.default_factory is MISSING
    }

    def convert(value: Any) -> Any:
        if value is None or value is strawberry.UNSET:
            return value
        given = {name: of(value[shown]) for shown, name, of in fields if of is not None and shown in value}
        return definition.origin(**{**needed, **given})

    return convert


def _as_it_comes(value: Any) -> Any:
    return value


def _each(convert: Callable[[Any], Any], values: Any) -> Any:
    return values if values is None or values is strawberry.UNSET else [convert(value) for value in values]


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
