"""What one GraphQL operation may hold.

A document is measured before it is validated, since some rules of validation cost the square of a
document's size. The walk counts what the operation would select once its fragments are spread, and looks at
each fragment once, so that it is linear in the document however often the fragments name each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from graphql import (
    DocumentNode,
    ExecutableDefinitionNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
)

TOO_COMPLEX = "OPERATION_TOO_COMPLEX"
_INTROSPECTION = frozenset({"__schema", "__type"})


@dataclass(frozen=True)
class Limits:
    """How much one operation may ask for.

    The counts are those of the operation with its fragments spread. `overlaps` are the pairs of selections
    that answer under one name, which validation compares with each other. Introspection has a depth of its
    own: the query that GraphiQL sends is 15 deep. `max_cost` is of what `schema.cost` adds up, in a document that is
    valid.
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


_NOTHING = Measure()


def limit_errors(document: DocumentNode, limits: Limits = DEFAULT_LIMITS) -> list[GraphQLError]:
    """One error for each limit that an operation of the document breaks, with the code OPERATION_TOO_COMPLEX.

    Takes documents that are not valid: an unknown fragment counts as nothing, a cycle as one round of it.
    """
    meter = _Meter(document)
    try:
        return [error for operation in meter.operations for error in _check(operation, meter, limits)]
    except RecursionError:
        return [_error("The operation is nested too deeply.", None)]


def _check(operation: OperationDefinitionNode, meter: _Meter, limits: Limits) -> Iterator[GraphQLError]:
    found = meter.of_operation(operation)
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
    if found.fields <= limits.max_fields and meter.overlaps(operation, found.fields) > limits.max_overlaps:
        yield _error(
            "The operation selects the same names too often, "
            f"and at most {limits.max_overlaps} pairs of them are allowed.",
            operation,
        )


def _error(message: str, node: OperationDefinitionNode | None) -> GraphQLError:
    return GraphQLError(message, node, extensions={"code": TOO_COMPLEX})


class _Meter:
    """Measures the operations of one document."""

    def __init__(self, document: DocumentNode) -> None:
        self.operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
        self._fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self._measured: dict[str, Measure] = {}

    def of_operation(self, operation: OperationDefinitionNode) -> Measure:
        return self._with_directives(operation, self._of_selections(operation.selection_set))

    def _of_selections(self, selection_set: SelectionSetNode | None) -> Measure:
        depth = introspection_depth = aliases = directives = fields = 0
        for node in selection_set.selections if selection_set else ():
            inner = self._of_selection(node)
            depth = max(depth, inner.depth)
            introspection_depth = max(introspection_depth, inner.introspection_depth)
            aliases += inner.aliases
            directives += inner.directives + len(node.directives or ())
            fields += inner.fields
        return Measure(depth, introspection_depth, aliases, directives, fields)

    def _of_selection(self, node: SelectionNode) -> Measure:
        if isinstance(node, FieldNode):
            return self._of_field(node)
        if isinstance(node, FragmentSpreadNode):
            return self._of_fragment(node.name.value)
        return self._of_selections(node.selection_set) if isinstance(node, InlineFragmentNode) else _NOTHING

    def _of_field(self, node: FieldNode) -> Measure:
        inner = self._of_selections(node.selection_set) if node.selection_set else _NOTHING
        depth = max(inner.depth, inner.introspection_depth) + 1
        introspects = node.name.value in _INTROSPECTION
        return Measure(
            depth=0 if introspects else depth,
            introspection_depth=depth if introspects else 0,
            aliases=inner.aliases + (node.alias is not None),
            directives=inner.directives,
            fields=inner.fields + 1,
        )

    def _of_fragment(self, name: str) -> Measure:
        if name not in self._measured:
            fragment = self._fragments.get(name)
            self._measured[name] = _NOTHING  # what a cycle finds when it comes back here
            if fragment is not None:
                inner = self._of_selections(fragment.selection_set)
                self._measured[name] = self._with_directives(fragment, inner)
        return self._measured[name]

    def _with_directives(self, node: ExecutableDefinitionNode, inner: Measure) -> Measure:
        return inner._replace(directives=inner.directives + len(node.directives or ()))

    def overlaps(self, operation: OperationDefinitionNode, fields: int) -> int:
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
