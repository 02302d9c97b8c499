"""What an operation may cost at most: its fields, weighted, times the sizes of the lists that they stand in.

The cost of an operation is worked out once, as a sum in which only what its variables say is left open. A document
that is known then costs microseconds. The weights and the arguments that give sizes stand at the fields of the
schema, as metadata.

It is an upper bound: what fragments on different types select is added up, and so is a field that is selected twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLArgument,
    GraphQLCompositeType,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    is_composite_type,
    is_introspection_type,
    value_from_ast_untyped,
)

OBJECT = 2
SCALAR = 1
LIVE = 10
"""What a field weighs for which Temporal is called, or Postgres once more for each object."""
LIST_SIZE = 5
"""The length that a list of objects counts with, where no argument says how long it may be."""

_WEIGHT = "cost-weight"
_SIZE = "cost-size"
_MOST = 2**31
_INTROSPECTION = frozenset({"__schema", "__type"})

Variables = Mapping[str, Any]
Factor = Callable[[Variables], int]


def weighing(weight: int) -> dict[str, int]:
    """The metadata of a field of this weight, instead of the one that its type has."""
    return {_WEIGHT: weight}


def sizing(default: int) -> dict[str, int]:
    """The metadata of an argument that says how long a list is: by its number, or by its own length if it is a list.

    `default` is the length where no such argument is given.
    """
    return {_SIZE: default}


@dataclass(frozen=True, slots=True)
class Cost:
    """A sum: what is certain, and what depends on variables."""

    certain: int = 0
    open: tuple[tuple[Factor, Cost], ...] = ()

    def of(self, variables: Variables) -> int:
        """The cost with these variables, as a request has them: not coerced, and not known to be right."""
        cost = self.certain
        for factor, inner in self.open:
            cost += factor(variables) * inner.of(variables)
        return cost

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.certain + other.certain, self.open + other.open)

    def times(self, factor: Factor | int) -> Cost:
        if not isinstance(factor, int):
            return Cost(0, ((factor, self),))
        if not self.open:
            return Cost(self.certain * factor)
        return self if factor == 1 else Cost(0, ((lambda _: factor, self),))


class Weighed(NamedTuple):
    """What one operation costs, and whether it asks for the schema itself."""

    cost: Cost
    introspects: bool


class _Weight(NamedTuple):
    """Of a selection set: `listed` are the lists in it whose length is that of the page around them."""

    own: Cost = Cost()
    listed: Cost = Cost()


def weighed(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> Weighed:
    """The cost of an operation of a valid document, in which the number of fields is bounded."""
    root = schema.get_root_type(operation.operation)
    if root is None:
        return Weighed(Cost(), introspects=False)
    weigher = _Weigher(schema, document, operation)
    own, listed = weigher.of_selections(operation.selection_set, root)
    return Weighed(own + listed.times(LIST_SIZE), weigher.introspects)


class _Weigher:
    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self._defaults = {
            definition.variable.name.value: value_from_ast_untyped(definition.default_value)
            for definition in operation.variable_definitions or ()
            if definition.default_value is not None
        }
        self._known: dict[str, _Weight] = {}
        self.introspects = False

    def of_selections(self, selection_set: SelectionSetNode, parent: GraphQLCompositeType) -> _Weight:
        own, listed = Cost(), Cost()
        for node in selection_set.selections:
            inner = self._of_selection(node, parent)
            for factor in self._conditions(node):
                inner = _Weight(inner.own.times(factor), inner.listed.times(factor))
            own, listed = own + inner.own, listed + inner.listed
        return _Weight(own, listed)

    def _of_selection(self, node: SelectionNode, parent: GraphQLCompositeType) -> _Weight:
        if isinstance(node, FieldNode):
            return self._of_field(node, parent)
        if isinstance(node, FragmentSpreadNode):
            name = node.name.value
            if name not in self._known:
                fragment = self._fragments[name]
                self._known[name] = self.of_selections(fragment.selection_set, self._named(fragment, parent))
            return self._known[name]
        assert isinstance(node, InlineFragmentNode)  # noqa: S101 - there is no fourth kind
        return self.of_selections(node.selection_set, self._named(node, parent))

    def _named(
        self, node: FragmentDefinitionNode | InlineFragmentNode, parent: GraphQLCompositeType
    ) -> GraphQLCompositeType:
        condition = self._schema.get_type(node.type_condition.name.value) if node.type_condition else parent
        return condition if is_composite_type(condition) else parent

    def _of_field(self, node: FieldNode, parent: GraphQLCompositeType) -> _Weight:
        name = node.name.value
        field = self._schema.get_field(parent, name)
        if field is None or name == "__typename":
            return _Weight()
        self.introspects = self.introspects or name in _INTROSPECTION
        named = get_named_type(field.type)
        weight = Cost(_metadata(field).get(_WEIGHT, OBJECT if is_composite_type(named) else SCALAR))
        inner = _Weight()
        if node.selection_set is not None and is_composite_type(named):
            inner = self.of_selections(node.selection_set, named)
        size = self._size(node, field)
        if not _is_list(field):
            return _Weight(weight + inner.own + inner.listed.times(LIST_SIZE if size is None else size))
        item = weight + inner.own + inner.listed.times(LIST_SIZE)
        if size is not None:
            return _Weight(item.times(size))
        if node.selection_set is None or is_introspection_type(named):
            return _Weight(item)
        return _Weight(listed=item)

    def _size(self, node: FieldNode, field: GraphQLField) -> Factor | int | None:
        """What the arguments say of the length; None where none could."""
        sizing = {name: each for name, each in field.args.items() if _SIZE in _metadata(each)}
        if not sizing:
            return None
        default = max(_metadata(each)[_SIZE] for each in sizing.values())
        sources = [given.value for given in node.arguments or () if given.name.value in sizing]
        names = [source.name.value for source in sources if isinstance(source, VariableNode)]
        literals = [value_from_ast_untyped(each) for each in sources if not isinstance(each, VariableNode)]
        if not names:
            return _largest(literals, default)
        defaults = self._defaults

        def size(variables: Variables) -> int:
            return _largest([*literals, *(variables.get(name, defaults.get(name)) for name in names)], default)

        return size

    def _conditions(self, node: SelectionNode) -> Iterator[Factor | int]:
        """1 or 0 for each @skip and @include."""
        for directive in node.directives or ():
            wanted = {"include": True, "skip": False}.get(directive.name.value)
            for argument in directive.arguments or () if wanted is not None else ():
                if isinstance(argument.value, VariableNode):
                    yield self._condition(argument.value.name.value, wanted is True)
                else:
                    yield int(value_from_ast_untyped(argument.value) is wanted)

    def _condition(self, name: str, wanted: bool) -> Factor:
        default = self._defaults.get(name)
        return lambda variables: int(variables.get(name, default) is wanted)


def _is_list(field: GraphQLField) -> bool:
    outer = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
    return isinstance(outer, GraphQLList)


def _metadata(of: GraphQLField | GraphQLArgument) -> Mapping[Any, Any]:
    definition = of.extensions.get("strawberry-definition")
    return getattr(definition, "metadata", None) or {}


def _largest(values: Iterable[Any], default: int) -> int:
    found = [size for size in map(_length, values) if size is not None]
    return max(found, default=default)


def _length(value: Any) -> int | None:
    """The length that an argument's value stands for, whatever a client sends; None for none."""
    if isinstance(value, list):
        return len(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(min(max(value, 0), _MOST))
