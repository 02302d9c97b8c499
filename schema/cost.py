"""What an operation may cost at most: its fields, weighted, times the sizes of the lists that they stand in.

The cost of an operation is worked out once, as a sum in which only what its variables say is left open. A document
that is known then costs microseconds. The weights and the arguments that give sizes stand at the fields of the
schema, as metadata; `schema.limits` walks the document.

It is an upper bound: what fragments on different types select is added up, and so is a field that is selected twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from graphql import (
    FieldNode,
    GraphQLArgument,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    SelectionNode,
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
    """A sum: what is certain, and what depends on variables: their values, or else their defaults."""

    certain: int = 0
    open: tuple[tuple[Factor, Cost], ...] = ()

    def of(self, variables: Variables) -> int:
        """The cost with these variables, as a request has them: not coerced, and not known to be right."""
        cost = self.certain
        for factor, inner in self.open:
            cost += factor(variables) * inner.of(variables)
        return cost

    def __add__(self, other: Cost) -> Cost:
        if other is NOTHING:
            return self
        return Cost(self.certain + other.certain, self.open + other.open)

    def times(self, factor: Factor | int) -> Cost:
        if self is NOTHING:
            return self
        if not isinstance(factor, int):
            return Cost(0, ((factor, self),))
        if not self.open:
            return Cost(self.certain * factor)
        return self if factor == 1 else Cost(0, ((lambda _: factor, self),))


NOTHING = Cost()


@dataclass(frozen=True, slots=True)
class Weight:
    """Of a selection set: `listed` are the lists in it whose length is that of the page around them."""

    own: Cost = NOTHING
    listed: Cost = NOTHING

    def __add__(self, other: Weight) -> Weight:
        return Weight(self.own + other.own, self.listed + other.listed)

    def times(self, factor: Factor | int) -> Weight:
        return Weight(self.own.times(factor), self.listed.times(factor))

    def in_lists_of(self, size: Factor | int) -> Cost:
        """All of it, where its lists are of that size."""
        return self.own + self.listed.times(size)


def weight_of(node: FieldNode, field: GraphQLField, inner: Weight) -> Weight:
    """The weight of a field with what is selected in it."""
    named = get_named_type(field.type)
    weight = Cost(_metadata(field).get(_WEIGHT, OBJECT if is_composite_type(named) else SCALAR))
    size = _size(node, field)
    if not _is_list(field):
        return Weight(weight + inner.in_lists_of(LIST_SIZE if size is None else size))
    item = weight + inner.in_lists_of(LIST_SIZE)
    if size is not None:
        return Weight(item.times(size))
    if node.selection_set is None or is_introspection_type(named):
        return Weight(item)
    return Weight(listed=item)


def conditions_of(node: SelectionNode) -> Iterator[Factor | int]:
    """1 or 0 for each @skip and @include."""
    for directive in node.directives or ():
        wanted = {"include": True, "skip": False}.get(directive.name.value)
        for argument in directive.arguments or () if wanted is not None else ():
            if isinstance(argument.value, VariableNode):
                yield partial(_meets, argument.value.name.value, wanted is True)
            else:
                yield int(value_from_ast_untyped(argument.value) is wanted)


def _meets(name: str, wanted: bool, variables: Variables) -> int:
    return int(variables.get(name) is wanted)


def _size(node: FieldNode, field: GraphQLField) -> Factor | int | None:
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
    return lambda variables: _largest([*literals, *map(variables.get, names)], default)


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
    if isinstance(value, float) and math.isnan(value):
        return None  # what graphql-core makes of a literal with more digits than Python reads
    return int(min(max(value, 0), _MOST))
