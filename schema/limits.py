"""What one GraphQL operation may hold, and what it costs.

A document is measured before it is validated, since some rules of validation cost the square of a
document's size. One walk counts what an operation would select once its fragments are spread, and what that costs;
it looks at each fragment once, so that it is linear in the document however often the fragments name each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from graphql import (
    DocumentNode,
    ExecutableDefinitionNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    NamedTypeNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    get_named_type,
    is_composite_type,
    value_from_ast_untyped,
)

from schema.cost import LIST_SIZE, Cost, Weight, conditions_of, weight_of

TOO_COMPLEX = "OPERATION_TOO_COMPLEX"
_INTROSPECTION = frozenset({"__schema", "__type"})

Parent: TypeAlias = GraphQLCompositeType | None
"""The type that a selection set is of; None where the schema knows none."""


@dataclass(frozen=True)
class Limits:
    """How much one operation may ask for.

    The counts are those of the operation with its fragments spread. `overlaps` are the pairs of selections
    that answer under one name, which validation compares with each other. Introspection has a depth of its
    own: the query that GraphiQL sends is 15 deep. `max_cost` holds with the variables of a request.
    """

    max_depth: int = 10
    max_introspection_depth: int = 20
    max_aliases: int = 15
    max_directives: int = 50
    max_fields: int = 1_000
    max_overlaps: int = 2_000
    max_tokens: int = 2_000
    max_cost: int = 5_000
    max_errors: int = 5


DEFAULT_LIMITS = Limits()


class Measure(NamedTuple):
    """What a selection set amounts to, its fragments spread."""

    depth: int = 0
    introspection_depth: int = 0
    aliases: int = 0
    directives: int = 0
    fields: int = 0
    weight: Weight = Weight()


@dataclass(frozen=True, slots=True)
class OperationCost:
    """What an operation costs, with the defaults of its variables."""

    cost: Cost
    defaults: Mapping[str, Any]

    @property
    def least(self) -> int:
        """Without what its variables may add."""
        return self.cost.certain

    def of(self, variables: Mapping[str, Any]) -> int:
        """The cost with these variables, as a request has them: not coerced, and not known to be right."""
        if not self.cost.open:
            return self.cost.certain
        return self.cost.of({**self.defaults, **variables} if self.defaults else variables)


class Measured(NamedTuple):
    """What one operation costs, and whether it asks for the schema itself."""

    cost: OperationCost
    introspects: bool


_NOTHING = Measure()


class Meter:
    """Measures the operations of one document, which need not be valid.

    An unknown fragment counts as nothing, a cycle as one round of it; what the schema does not know costs nothing.
    """

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, limits: Limits = DEFAULT_LIMITS) -> None:
        self._schema = schema
        self._limits = limits
        self._operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
        self._fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self._measured: dict[str, Measure] = {}
        self._found: list[Measure] = []

    def errors(self) -> list[GraphQLError]:
        """One error for each limit that an operation of the document breaks, with the code OPERATION_TOO_COMPLEX."""
        try:
            self._found = [self._of_operation(operation) for operation in self._operations]
            checked = zip(self._operations, self._found, strict=True)
            return [error for operation, found in checked for error in self._check(operation, found)]
        except RecursionError:
            return [_error("The operation is nested too deeply.", None)]

    def measured(self) -> list[Measured]:
        """The operations in their order, once there are no errors, of a document that is valid."""
        return [
            Measured(
                OperationCost(found.weight.in_lists_of(LIST_SIZE), _defaults(operation)),
                introspects=found.introspection_depth > 0,
            )
            for operation, found in zip(self._operations, self._found, strict=True)
        ]

    def _check(self, operation: OperationDefinitionNode, found: Measure) -> Iterator[GraphQLError]:
        limits = self._limits
        counts = (
            (found.depth, limits.max_depth, "levels deep"),
            (found.introspection_depth, limits.max_introspection_depth, "levels of introspection deep"),
            (found.aliases, limits.max_aliases, "aliases large"),
            (found.directives, limits.max_directives, "directives large"),
            (found.fields, limits.max_fields, "fields large"),
        )
        for count, most, what in counts:
            if count > most:
                # A chain of fragments can spread to a number of hundreds of digits.
                shown = str(count) if count < 1_000_000 else "over a million"
                yield _error(f"The operation is {shown} {what}, and at most {most} are allowed.", operation)
        if found.fields <= limits.max_fields and self._overlaps(operation, found.fields) > limits.max_overlaps:
            yield _error(
                "The operation selects the same names too often, "
                f"and at most {limits.max_overlaps} pairs of them are allowed.",
                operation,
            )

    def _of_operation(self, operation: OperationDefinitionNode) -> Measure:
        root = self._schema.get_root_type(operation.operation)
        return _with_directives(operation, self._of_selections(operation.selection_set, root))

    def _of_selections(self, selection_set: SelectionSetNode, parent: Parent) -> Measure:
        depth = introspection_depth = aliases = directives = fields = 0
        weight = Weight()
        for node in selection_set.selections:
            inner = self._of_selection(node, parent)
            depth = max(depth, inner.depth)
            introspection_depth = max(introspection_depth, inner.introspection_depth)
            aliases += inner.aliases
            directives += inner.directives
            fields += inner.fields
            added = inner.weight
            if node.directives:
                directives += len(node.directives)
                for factor in conditions_of(node):
                    added = added.times(factor)
            # A sum has a term for each field, and so must not grow with those that are too many.
            weight = weight + added if fields <= self._limits.max_fields else Weight()
        return Measure(depth, introspection_depth, aliases, directives, fields, weight)

    def _of_selection(self, node: SelectionNode, parent: Parent) -> Measure:
        if isinstance(node, FieldNode):
            return self._of_field(node, parent)
        if isinstance(node, FragmentSpreadNode):
            return self._of_fragment(node.name.value)
        assert isinstance(node, InlineFragmentNode)  # noqa: S101 - there is no fourth kind
        return self._of_selections(node.selection_set, self._type_of(node.type_condition) or parent)

    def _of_field(self, node: FieldNode, parent: Parent) -> Measure:
        name = node.name.value
        field = self._schema.get_field(parent, name) if parent is not None else None
        inner = _NOTHING
        if node.selection_set is not None:
            named = get_named_type(field.type) if field is not None else None
            inner = self._of_selections(node.selection_set, named if is_composite_type(named) else None)
        depth = max(inner.depth, inner.introspection_depth) + 1
        introspects = name in _INTROSPECTION
        return Measure(
            depth=0 if introspects else depth,
            introspection_depth=depth if introspects else 0,
            aliases=inner.aliases + (node.alias is not None),
            directives=inner.directives,
            fields=inner.fields + 1,
            weight=Weight() if field is None or name == "__typename" else weight_of(node, field, inner.weight),
        )

    def _of_fragment(self, name: str) -> Measure:
        if name not in self._measured:
            fragment = self._fragments.get(name)
            self._measured[name] = _NOTHING  # what a cycle finds when it comes back here
            if fragment is not None:
                inner = self._of_selections(fragment.selection_set, self._type_of(fragment.type_condition))
                self._measured[name] = _with_directives(fragment, inner)
        return self._measured[name]

    def _type_of(self, condition: NamedTypeNode | None) -> Parent:
        named = self._schema.get_type(condition.name.value) if condition is not None else None
        return named if is_composite_type(named) else None

    def _overlaps(self, operation: OperationDefinitionNode, fields: int) -> int:
        """The pairs of selections under one name, over all levels.

        Visits at most `fields` fields: all of them, unless fragments form a cycle.
        """
        pairs = 0
        waiting = [[operation.selection_set]]
        while waiting and fields >= 0:
            groups: dict[str, list[SelectionSetNode | None]] = {}
            for field in self._fields(waiting.pop()):
                fields -= 1
                name = field.alias.value if field.alias else field.name.value
                groups.setdefault(name, []).append(field.selection_set)
            for group in groups.values():
                pairs += len(group) * (len(group) - 1) // 2
                inner = [selection_set for selection_set in group if selection_set is not None]
                if inner:
                    waiting.append(inner)
        return pairs

    def _fields(self, selection_sets: Iterable[SelectionSetNode]) -> Iterator[FieldNode]:
        seen: set[str] = set()
        waiting = list(selection_sets)
        while waiting:
            for node in waiting.pop().selections:
                if isinstance(node, FieldNode):
                    yield node
                elif isinstance(node, InlineFragmentNode):
                    waiting.append(node.selection_set)
                elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                    seen.add(node.name.value)
                    fragment = self._fragments.get(node.name.value)
                    if fragment is not None:
                        waiting.append(fragment.selection_set)


def _with_directives(node: ExecutableDefinitionNode, inner: Measure) -> Measure:
    return inner._replace(directives=inner.directives + len(node.directives or ()))


def _defaults(operation: OperationDefinitionNode) -> dict[str, Any]:
    return {
        definition.variable.name.value: value_from_ast_untyped(definition.default_value)
        for definition in operation.variable_definitions or ()
        if definition.default_value is not None
    }


def _error(message: str, node: OperationDefinitionNode | None) -> GraphQLError:
    return GraphQLError(message, node, extensions={"code": TOO_COMPLEX})
