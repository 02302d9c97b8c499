"""Documents drawn from a schema: aliases, fragments, directives, variables, fields that are mentioned twice, @defer."""

import json
from random import Random
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_composite_type,
    is_leaf_type,
    is_required_argument,
)

DEPTH = 6
MENTIONS = 40
"""How many fields and fragments a document has at most, but for the names of types."""
SAMPLES: dict[str, Any] = {"Int": 3, "Float": 1.5, "Boolean": True, "String": "text", "ID": "Schedule:1", "JSON": {}}
TEXTS = {"DateTime": "2026-03-01T09:00:00Z", "TimeZone": "UTC"}


def input_value(type_: Any) -> Any:
    """A value for an input of the type, which the resolvers here do not look at."""
    if isinstance(type_, GraphQLNonNull):
        return input_value(type_.of_type)
    if isinstance(type_, GraphQLList):
        return [input_value(type_.of_type)]
    if isinstance(type_, GraphQLEnumType):
        return next(iter(type_.values))
    if not isinstance(type_, GraphQLInputObjectType):
        return SAMPLES.get(type_.name, TEXTS.get(type_.name, "text"))
    fields = list(type_.fields.items())
    if type_.is_one_of:
        name, field = fields[0]
        return {name: input_value(field.type)}
    return {name: input_value(field.type) for name, field in fields if isinstance(field.type, GraphQLNonNull)}


class Draw:
    """One document from one seed; `variables` are the values for it.

    `fragments` is the share of fragments among what is selected, and `deferred` that of those that are deferred. With
    `names`, no other fields are selected.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        seed: int,
        *,
        fragments: float = 0.12,
        deferred: float = 0.2,
        names: frozenset[str] | None = None,
    ) -> None:
        self._schema = schema
        self._share_of_fragments = fragments
        self._share_of_deferred = deferred
        self._names = names
        self._random = Random(seed)
        self._fragments: list[str] = []
        self._labels = 0
        self._aliases = 0
        self._left = MENTIONS
        self._declared: dict[str, str] = {}
        self.variables: dict[str, Any] = {}

    def document(self) -> str:
        root = self._schema.query_type
        assert root is not None
        body = self._selection(root, DEPTH)
        declared = ", ".join(f"${name}: {type_}" for name, type_ in self._declared.items())
        head = f"query Drawn({declared})" if declared else "query Drawn"
        return "\n".join([f"{head} {body}", *self._fragments])

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _selection(self, type_: Any, depth: int) -> str:
        parts = [self._mention(type_, depth) for _ in range(self._random.randint(1, 5))]
        return f"{{ {' '.join(parts)} }}"

    def _mention(self, type_: Any, depth: int) -> str:
        self._left -= 1
        if self._left < 0:
            return "__typename"
        if self._chance(self._share_of_fragments) or isinstance(type_, GraphQLUnionType):
            if self._chance(0.15):
                return "__typename"
            return self._fragment(type_, depth)
        if self._chance(0.08):
            return "__typename" if self._chance(0.5) else "kind: __typename"
        fields = [f for f in type_.fields.items() if depth > 1 or is_leaf_type(get_named_type(f[1].type))]
        if self._names is not None:
            fields = [each for each in fields if each[0] in self._names]
        if not fields:
            return "__typename"
        # Objects lead further, so they are drawn more often than there are of them.
        deep = [each for each in fields if is_composite_type(get_named_type(each[1].type))]
        name, field = self._random.choice(deep if deep and self._chance(0.45) else fields)
        return self._field(name, field, depth)

    def _field(self, name: str, field: GraphQLField, depth: int) -> str:
        alias = f"{self._random.choice('abc')}_{name}: " if self._chance(0.2) else ""
        named = get_named_type(field.type)
        below = f" {self._selection(named, depth - 1)}" if is_composite_type(named) else ""
        arguments = self._arguments(field.args)
        if arguments:  # two mentions of a name have to have the same
            self._aliases += 1
            alias = f"x{self._aliases}_{name}: "
        return f"{alias}{name}{arguments}{self._condition()}{below}"

    def _fragment(self, type_: Any, depth: int) -> str:
        on = self._condition_type(type_)
        body = self._selection(on, depth - 1)
        directives = self._condition() + self._defer()
        if self._chance(0.5):
            condition = f" on {on.name}" if on is not type_ or self._chance(0.5) else ""
            return f"...{condition}{directives} {body}"
        name = f"Part{len(self._fragments)}"
        self._fragments.append(f"fragment {name} on {on.name} {body}")
        return f"...{name}{directives}" + (f" ...{name}" if self._chance(0.2) else "")

    def _condition_type(self, type_: Any) -> Any:
        if is_abstract_type(type_):
            return self._random.choice([type_, *self._schema.get_possible_types(type_)])
        around = type_.interfaces if isinstance(type_, GraphQLObjectType) else ()
        return self._random.choice([type_, *around])

    def _condition(self) -> str:
        if not self._chance(0.12):
            return ""
        return f" @{self._random.choice(['skip', 'include'])}(if: {self._boolean()})"

    def _defer(self) -> str:
        if not self._chance(self._share_of_deferred):
            return ""
        self._labels += 1
        condition = f", if: {self._boolean()}" if self._chance(0.3) else ""
        return f' @defer(label: "d{self._labels}"{condition})'

    def _boolean(self) -> str:
        if self._chance(0.3):
            return self._random.choice(["true", "false"])
        name = f"b{self._random.randint(0, 3)}"
        self._declared[name] = "Boolean!"
        self.variables.setdefault(name, self._chance(0.5))
        return f"${name}"

    def _arguments(self, arguments: dict[str, GraphQLArgument]) -> str:
        given = []
        for name, argument in arguments.items():
            if is_required_argument(argument):
                variable = f"v{len(self._declared)}"
                self._declared[variable] = str(argument.type)
                self.variables[variable] = input_value(argument.type)
                given.append(f"{name}: ${variable}")
            elif get_nullable_type(argument.type) in (GraphQLInt, GraphQLBoolean) and self._chance(0.5):
                given.append(f"{name}: {self._optional(argument.type)}")
        return f"({', '.join(given)})" if given else ""

    def _optional(self, type_: Any) -> str:
        """A literal, or a variable: with or without a default, given, null, or left out."""
        nullable = get_nullable_type(type_)
        value = self._chance(0.5) if nullable is GraphQLBoolean else self._random.randint(0, 4)
        if self._chance(0.3):
            return "null" if nullable is type_ and self._chance(0.2) else json.dumps(value)
        variable = f"v{len(self._declared)}"
        default = f" = {json.dumps(value)}" if self._chance(0.3) else ""
        self._declared[variable] = f"{nullable}{default}"
        if self._chance(0.7):
            self.variables[variable] = None if self._chance(0.2) else value
        return f"${variable}"
