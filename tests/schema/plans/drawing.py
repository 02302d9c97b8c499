"""Documents drawn from a schema: aliases, fragments, directives, variables, arguments, fields that are mentioned twice,
@defer, several operations, questions about the schema."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

from graphql import (
    GraphQLArgument,
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
    is_required_input_field,
)

DEPTH = 6
MENTIONS = 40
"""How many fields and fragments a document has at most, but for the names of types."""
ABSENT: Any = object()
"""Stands for the value of a variable that is left out."""
ABOUT_THE_SCHEMA = ("__schema { queryType { name kind } }", '__type(name: "Query") { fields { name type { kind } } }')
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
    """One document from one seed; `variables` are values for it, and `other_variables` draws others.

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
        self._values: dict[str, Callable[[], Any]] = {}
        self.variables: dict[str, Any] = {}

    def document(self) -> str:
        root, kind = self._schema.query_type, "query"
        if self._schema.mutation_type is not None and self._names is None and self._chance(0.15):
            root, kind = self._schema.mutation_type, "mutation"
        assert root is not None
        body = self._selection(root, DEPTH)
        if kind == "query" and self._names is None and self._chance(0.05):
            body = f"{body[:-1]}{self._random.choice(ABOUT_THE_SCHEMA)} }}"
        bodies = {"Drawn": body}
        if self._chance(0.15):
            self._fragments.append(f"fragment Shared on {root.name} {body}")
            bodies = {"Drawn": "{ ...Shared }", "Other": "{ again: __typename ...Shared }"}
        declared = ", ".join(f"${name}: {type_}" for name, type_ in self._declared.items())
        variables = f"({declared})" if declared else ""
        return "\n".join([*(f"{kind} {name}{variables} {body}" for name, body in bodies.items()), *self._fragments])

    def other_variables(self) -> dict[str, Any]:
        """Other values for the document."""
        drawn = {name: value() for name, value in self._values.items()}
        return {name: value for name, value in drawn.items() if value is not ABSENT}

    def _declare(self, name: str, type_: str, value: Callable[[], Any]) -> str:
        """A variable. `value` draws what it is given, or `ABSENT`."""
        if name not in self._declared:
            self._declared[name], self._values[name] = type_, value
            if (first := value()) is not ABSENT:
                self.variables[name] = first
        return f"${name}"

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
        again = f" ...{name}{self._random.choice(['', self._defer()])}" if self._chance(0.2) else ""
        return f"...{name}{directives}{again}"

    def _condition_type(self, type_: Any) -> Any:
        """One that objects of the type may be of as well."""
        possible = {type_} if isinstance(type_, GraphQLObjectType) else {*self._schema.get_possible_types(type_)}
        others = [each for each in self._schema.type_map.values() if is_abstract_type(each)]
        around = [each for each in others if possible & {*self._schema.get_possible_types(each)}]
        return self._random.choice([type_, *sorted({*possible, *around} - {type_}, key=str)])

    def _condition(self) -> str:
        if not self._chance(0.12):
            return ""
        return f" @{self._random.choice(['skip', 'include'])}(if: {self._boolean()})"

    def _defer(self) -> str:
        if not self._chance(self._share_of_deferred):
            return ""
        given = []
        if self._chance(0.8):
            self._labels += 1
            given.append(f'label: "d{self._labels}"')
        if self._chance(0.3):
            given.append(f"if: {self._boolean(may_be_absent=True)}")
        return f" @defer({', '.join(given)})" if given else " @defer"

    def _boolean(self, *, may_be_absent: bool = False) -> str:
        if self._chance(0.3):
            return self._random.choice(["true", "false"])
        nullable = [True, False, True, False, ABSENT, ABSENT, None]
        if may_be_absent and self._chance(0.4):
            return self._declare("n0", "Boolean", lambda: self._random.choice(nullable))
        if self._chance(0.15):
            number = self._random.randint(1, 2)
            default = json.dumps(number == 1)
            return self._declare(f"n{number}", f"Boolean = {default}", lambda: self._random.choice(nullable))
        return self._declare(f"b{self._random.randint(0, 3)}", "Boolean!", lambda: self._chance(0.5))

    def _arguments(self, arguments: dict[str, GraphQLArgument]) -> str:
        given = []
        for name, argument in arguments.items():
            if is_required_argument(argument) or self._chance(0.4):
                given.append(f"{name}: {self._value(argument.type)}")
        return f"({', '.join(given)})" if given else ""

    def _value(self, type_: Any, depth: int = 2) -> str:
        """The text of a value: a literal, null where that is allowed, or a variable."""
        if self._chance(0.4):
            return self._variable(type_)
        if not isinstance(type_, GraphQLNonNull) and self._chance(0.15):
            return "null"
        type_ = get_nullable_type(type_)
        if isinstance(type_, GraphQLList):
            items = [self._value(type_.of_type, depth - 1) for _ in range(self._random.randint(0, 2))]
            return f"[{', '.join(items)}]"
        if isinstance(type_, GraphQLInputObjectType):
            fields = self._fields(type_, depth)
            return f"{{{', '.join(f'{name}: {self._value(each, depth - 1)}' for name, each in fields)}}}"
        if type_.name == "JSON" and self._chance(0.5):
            return f"{{a: {self._variable(GraphQLInt)}, b: [null, 1]}}"
        return self._literal(type_)

    def _variable(self, type_: Any) -> str:
        """A variable: with or without a default, given, null, left out, or wrong."""
        nullable = get_nullable_type(type_)
        default, declared = "", str(type_)
        if is_leaf_type(nullable) and self._chance(0.3):
            default, declared = f" = {self._literal(nullable)}", str(nullable)
        is_open = not isinstance(type_, GraphQLNonNull) or bool(default)

        def value() -> Any:
            if is_open and self._chance(0.35):
                return self._random.choice([ABSENT, ABSENT, None])
            return self._random.choice(["wrong", 2**40, [None], {}]) if self._chance(0.03) else self._input(type_)

        return self._declare(f"v{len(self._declared)}", f"{declared}{default}", value)

    def _literal(self, type_: Any) -> str:
        """The text of a leaf."""
        value = self._input(GraphQLNonNull(type_))
        return str(value) if isinstance(type_, GraphQLEnumType) else json.dumps(value)

    def _fields(self, type_: GraphQLInputObjectType, depth: int) -> list[tuple[str, Any]]:
        """Those of an input that are given, with their types."""
        if type_.is_one_of:
            name, field = self._random.choice(list(type_.fields.items()))
            return [(name, GraphQLNonNull(field.type))]
        return [
            (name, field.type)
            for name, field in type_.fields.items()
            if is_required_input_field(field) or (depth > 0 and self._chance(0.3))
        ]

    def _input(self, type_: Any, depth: int = 2) -> Any:
        """A value of the type as a request has it."""
        if not isinstance(type_, GraphQLNonNull) and self._chance(0.1):
            return None
        type_ = get_nullable_type(type_)
        if isinstance(type_, GraphQLList):
            if self._chance(0.1):
                return self._input(type_.of_type, depth)  # a list of one
            return [self._input(type_.of_type, depth - 1) for _ in range(self._random.randint(0, 2))]
        if isinstance(type_, GraphQLInputObjectType):
            return {name: self._input(each, depth - 1) for name, each in self._fields(type_, depth)}
        if isinstance(type_, GraphQLEnumType):
            return self._random.choice(list(type_.values))
        if type_.name in ("Int", "ID"):
            return self._random.randint(0, 4)
        return self._chance(0.5) if type_.name == "Boolean" else SAMPLES.get(type_.name, TEXTS.get(type_.name, "text"))
