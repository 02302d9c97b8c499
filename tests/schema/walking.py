"""Requests made from the schema itself: every place where an id or a name goes in, with all that can come out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLID,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLUnionType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)

from tests.schema.api import SCHEMA

DEPTH = 2
"""From what is found to what that leads to."""
LIST_DEPTH = 4
"""From a list to its items, what they lead to, and on once more."""
LEFT_OUT = frozenset({"live"})
"""Read from Temporal, by the schedule that is found and by nothing that comes in."""

VALUES: dict[str, Any] = {
    "Boolean": False,
    "DateTime": "2024-06-01T00:00:00Z",
    "Int": 1,
    "JSON": {},
    "String": "walked",
    "URL": "http://agent.test",
    "CadenceInput": {"cron": {"expression": "0 0 1 1 *"}},
}

Path = tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """One document, and one place of its variables to put something into."""

    field: str
    place: Path
    document: str
    variables: Callable[[str, str], dict[str, Any]]
    """With this value at the place, and that id in every other place that has to have one."""

    def __str__(self) -> str:
        return f"{self.field}({'.'.join(self.place)})"


def root(operation: str) -> GraphQLObjectType:
    found = getattr(SCHEMA._schema, f"{operation}_type")
    assert isinstance(found, GraphQLObjectType)
    return found


def requests(operation: str, type_name: str = "ID", *, named: str | None = None) -> list[Request]:
    """One for each place in the arguments of any field that takes values of the type, and is called so."""
    return [
        _request(operation, path, field, place)
        for path, field in _fields(root(operation), (), set())
        for place in _places(field.args, type_name, named)
    ]


def listing(operation: str = "query") -> Iterator[tuple[str, GraphQLField, str]]:
    """Each field of the root that needs no arguments, with a document that asks for all of it."""
    for name, field in root(operation).fields.items():
        if not any(is_required_argument(argument) for argument in field.args.values()):
            yield name, field, f"{operation} {{ {name}{_selection(field.type, LIST_DEPTH)} }}"


def _fields(type_: GraphQLObjectType, above: Path, known: set[str]) -> Iterator[tuple[Path, GraphQLField]]:
    """Every field, by the first way that leads to it without arguments."""
    below = []
    for name, field in type_.fields.items():
        yield (*above, name), field
        target = get_named_type(field.type)
        needs = any(is_required_argument(argument) for argument in field.args.values())
        if isinstance(target, GraphQLObjectType) and not needs and target.name not in known and name not in LEFT_OUT:
            known.add(target.name)
            below.append((target, (*above, name)))
    if above or type_ is root("query"):
        for target, path in below:
            yield from _fields(target, path, known)


def _places(
    inputs: dict[str, GraphQLArgument] | dict[str, GraphQLInputField], wanted: str, named: str | None
) -> Iterator[Path]:
    for name, value in inputs.items():
        target = get_named_type(value.type)
        if isinstance(target, GraphQLInputObjectType):
            yield from ((name, *rest) for rest in _places(target.fields, wanted, named))
        elif target.name == wanted and named in (None, name):
            yield (name,)


def _request(operation: str, path: Path, field: GraphQLField, place: Path) -> Request:
    used = {
        name: argument for name, argument in field.args.items() if name == place[0] or is_required_argument(argument)
    }
    declared = ", ".join(f"${name}: {argument.type}" for name, argument in used.items())
    given = ", ".join(f"{name}: ${name}" for name in used)
    inner = f"{path[-1]}({given}){_selection(field.type, DEPTH)}"
    for name in reversed(path[:-1]):
        inner = f"{name} {{ {inner} }}"

    def variables(value: str, other: str) -> dict[str, Any]:
        return {
            name: _filled(argument.type, place[1:] if name == place[0] else None, value, other)
            for name, argument in used.items()
        }

    return Request(".".join(path), place, f"{operation} W({declared}) {{ {inner} }}", variables)


def _filled(type_: GraphQLInputType, place: Path | None, value: str, other: str) -> Any:
    """A value of the type, with this one at the place."""
    if isinstance(type_, GraphQLNonNull):
        return _filled(type_.of_type, place, value, other)
    if isinstance(type_, GraphQLList):
        return [_filled(type_.of_type, place, value, other)]
    if place == ():
        return value
    if isinstance(type_, GraphQLInputObjectType) and type_.name not in VALUES:
        inner = place[0] if place else None
        return {
            name: _filled(field.type, place[1:] if place and name == inner else None, value, other)
            for name, field in type_.fields.items()
            if name == inner or (is_required_input_field(field) and not type_.is_one_of)
        }
    if isinstance(type_, GraphQLEnumType):
        return next(iter(type_.values))
    return other if type_ is GraphQLID else VALUES[get_named_type(type_).name]


def _selection(type_: GraphQLOutputType, depth: int) -> str:
    target = get_named_type(type_)
    if is_leaf_type(target):
        return ""
    if isinstance(target, GraphQLUnionType | GraphQLInterfaceType):
        members = SCHEMA._schema.get_possible_types(target)
        return f" {{ __typename {' '.join(f'... on {each.name}{_members(each, depth)}' for each in members)} }}"
    assert isinstance(target, GraphQLObjectType)
    return _members(target, depth)


def _members(type_: GraphQLObjectType, depth: int) -> str:
    chosen = ["__typename"]
    for name, field in type_.fields.items():
        is_leaf = is_leaf_type(get_named_type(field.type))
        if name in LEFT_OUT or (not is_leaf and depth <= 1):
            continue
        if not any(is_required_argument(argument) for argument in field.args.values()):
            # Under a name of their own, since members of a union may differ in what they call alike.
            chosen.append(f"{type_.name}_{name}: {name}{_selection(field.type, depth - 1)}")
    return f" {{ {' '.join(chosen)} }}"
