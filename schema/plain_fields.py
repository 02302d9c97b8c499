"""Which fields are plain: what is known of a schema's types once, for all documents.

A plain field is read from its object and no more: an attribute, or a method that takes nothing but `self` and is not
async. Such a method is a function of its object, and may be called again.
"""

import inspect
import keyword
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import strawberry
from graphql import (
    GraphQLAbstractType,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    get_nullable_type,
    specified_scalar_types,
)
from strawberry.schema.schema_converter import CustomGraphQLEnumType, GraphQLCoreConverter
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from schema import fields
from schema.fields import is_answered_when_ready, known_by, read_together, ready_attribute, shown_by
from schema.rows import Row

KNOWN_CLASSES = frozenset({str, int, float, bool, bytes, list, dict, datetime, date, time, Decimal, UUID})
"""What may go to a scalar at once: neither an exception nor something to await."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A field that is an attribute of its object. `show` may stand for its scalar."""

    name: str
    show: fields.Show | None


@dataclass(frozen=True, slots=True)
class Ready:
    """A field that is an attribute where its value was read along with its object; elsewhere, a method reads it."""

    attribute: str


@dataclass(frozen=True, slots=True)
class Method:
    """A field that a method without arguments answers, with nothing of Strawberry's around it."""

    call: Callable[..., Any]
    field: StrawberryField
    takes_info: bool
    is_async: bool

    @property
    def is_plain(self) -> bool:
        return not (self.takes_info or self.is_async)


@dataclass(frozen=True, slots=True)
class Known:
    """A field that a function answers from what its object holds, where it holds that; elsewhere, a method does.

    `arguments` are their names in Python by those in the schema. `show` may stand for its scalar.
    """

    call: fields.Known
    arguments: Mapping[str, str]
    method: Method | None
    show: fields.Show | None


@dataclass(frozen=True, slots=True)
class Together:
    """A field that a function answers for many objects at once. With arguments that it does not take, a method does."""

    call: fields.Together
    arguments: Mapping[str, str]
    field: StrawberryField
    method: Method | None


Field = Attribute | Ready | Method | Known | Together


class PlainFields:
    """What one schema's fields and types are in Python."""

    def __init__(self, schema: strawberry.Schema) -> None:
        self.info_class = schema.config.info_class
        self._schema = schema
        self._reads_attributes = schema.config.default_resolver is getattr
        self._fields: dict[str, dict[str, Field | None]] = {}
        self._classes: dict[str, frozenset[type]] = {}
        self._runtime_types: dict[str, MappingProxyType[type, GraphQLObjectType]] = {}
        self._enums: dict[str, dict[int, str]] = {}
        self._enums_by_value: dict[str, dict[Any, str]] = {}

    def field(self, parent: GraphQLObjectType, name: str) -> Field | None:
        """How the field is read; None where only graphql-core can tell."""
        known = self._fields.setdefault(parent.name, {})
        if name not in known:
            field = parent.fields.get(name)
            known[name] = self._look_at(field) if field else None
        return known[name]

    def _look_at(self, field: GraphQLField) -> Field | None:
        definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
        if not isinstance(definition, StrawberryField):
            return None
        if field.resolve is not None and is_answered_when_ready(field.resolve):
            attribute = ready_attribute(definition)
            return Ready(attribute) if attribute is not None else None
        if not _is_strawberrys(field.resolve):
            return None
        converter = self._schema.schema_converter
        if definition.extensions or converter._get_field_exception_handlers(definition):
            return None
        resolver = definition.base_resolver
        if resolver is not None:
            method = None if field.args else _method(definition, resolver.wrapped_func)
            return self._faster(field, definition, method) or method
        if field.args:
            return None
        name = definition.python_name
        is_name = name.isidentifier() and not keyword.iskeyword(name)
        return Attribute(name, shown_by(definition)) if self._reads_attributes and is_name else None

    def _faster(self, field: GraphQLField, definition: StrawberryField, method: Method | None) -> Field | None:
        """What may stand for the method."""
        if (known := known_by(definition)) is not None:
            return Known(known, self._arguments(field, definition, known), method, shown_by(definition))
        if (together := read_together(definition)) is not None:
            return Together(together, self._arguments(field, definition, together), definition, method)
        return None

    def _arguments(self, field: GraphQLField, definition: StrawberryField, call: Callable[..., Any]) -> dict[str, str]:
        """The names in Python of those arguments that the function takes, and graphql-core gives as they are."""
        taken = inspect.signature(call).parameters
        named = self._schema.config.name_converter.from_argument
        names = {named(each): each.python_name for each in definition.arguments}
        return {shown: name for shown, name in names.items() if name in taken and _is_simple(field.args[shown].type)}

    def classes(self, type_: GraphQLObjectType) -> frozenset[type]:
        """The classes whose instances are objects of the type, whatever else is so; none where that is not certain."""
        if type_.name not in self._classes:
            definition = _definition(type_)
            # Where the type says itself what belongs to it, and where nothing is known, graphql-core asks.
            known = definition is not None and definition.is_type_of is None
            self._classes[type_.name] = frozenset(_origins(definition)) if known and definition else frozenset()
        return self._classes[type_.name]

    def row_class(self, type_: GraphQLObjectType) -> type[Row] | None:
        """The class of the type's objects over rows."""
        for origin in self.classes(type_):
            below: list[type] = origin.__subclasses__()
            for each in below:
                if issubclass(each, Row):
                    return each
        return None

    def runtime_types(self, type_: GraphQLAbstractType) -> MappingProxyType[type, GraphQLObjectType]:
        """The object type for each class that makes one certain."""
        if type_.name not in self._runtime_types:
            self._runtime_types[type_.name] = MappingProxyType(self._possible(type_))
        return self._runtime_types[type_.name]

    def _possible(self, type_: GraphQLAbstractType) -> dict[type, GraphQLObjectType]:
        definition = type_.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
        if isinstance(type_, GraphQLInterfaceType) and getattr(definition, "resolve_type", True):
            return {}
        found: dict[type, GraphQLObjectType] = {}
        for each in self._schema._schema.get_possible_types(type_):
            of_each = _definition(each)
            # An object of a generic class may be one of several types.
            if of_each is not None and of_each.concrete_of is None:
                found.update((origin, each) for origin in self.classes(each))
        return found

    def enum_names(self, type_: GraphQLEnumType) -> dict[int, str] | None:
        """The names of a Python enum's members, by their identity: their own hash is slow. They live for ever."""
        if not isinstance(type_, CustomGraphQLEnumType):
            return None
        if type_.name not in self._enums:
            members: Iterable[Enum] = type_.wrapped_cls
            names = {id(each): type_.coerce_output_value(each) for each in members}
            self._enums[type_.name] = names
        return self._enums[type_.name]

    def enum_names_by_value(self, type_: GraphQLEnumType) -> dict[Any, str] | None:
        """The same by the values of the members, as rows hold them."""
        if not isinstance(type_, CustomGraphQLEnumType):
            return None
        if type_.name not in self._enums_by_value:
            members: Iterable[Enum] = type_.wrapped_cls
            self._enums_by_value[type_.name] = {each.value: type_.coerce_output_value(each) for each in members}
        return self._enums_by_value[type_.name]


def _is_strawberrys(resolve: Any) -> bool:
    """Whether it is the resolver that was made of the field's own method, and not another in its place."""
    name = getattr(resolve, "__qualname__", "")
    return name.startswith(("GraphQLCoreConverter.from_resolver.", "_direct."))


def _is_simple(type_: Any) -> bool:
    """Whether Strawberry hands over what graphql-core made of an argument of the type."""
    nullable = get_nullable_type(type_)
    return isinstance(nullable, GraphQLScalarType) and nullable.name in specified_scalar_types


def _method(field: StrawberryField, call: Any) -> Method | None:
    names = [*inspect.signature(call).parameters]
    if names not in (["self"], ["self", "info"]):
        return None
    return Method(call, field, takes_info=len(names) == 2, is_async=field.is_async)


def _definition(type_: GraphQLObjectType) -> StrawberryObjectDefinition | None:
    found = type_.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return found if isinstance(found, StrawberryObjectDefinition) else None


def _origins(definition: StrawberryObjectDefinition) -> list[type]:
    generic = definition.concrete_of
    return [definition.origin] if generic is None else [definition.origin, generic.origin]
