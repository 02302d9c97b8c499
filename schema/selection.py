"""What a client selected, with fragments followed and @skip and @include honoured."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from graphql import (
    BooleanValueNode,
    FieldNode,
    FragmentSpreadNode,
    GraphQLDeferDirective,
    GraphQLResolveInfo,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
)
from strawberry.types.nodes import get_variable_values

Node = FieldNode | OperationDefinitionNode

MOST_MENTIONED = 512
Key = tuple[int | str, ...]
_mentioned: dict[Key, tuple[Sequence[Node], frozenset[str]]] = {}
"""With the nodes themselves, so that no others come to have their identity."""


def selected(info: GraphQLResolveInfo[Any]) -> set[str]:
    """The names of the fields that are selected on the value of the current field."""
    sets = (node.selection_set for node in info.field_nodes)
    return _names(info, [each for each in sets if each is not None])


def is_selected_at_root(info: GraphQLResolveInfo[Any], name: str) -> bool:
    """Whether a field of that name is one of the operation's own."""
    if name not in _below(info, [info.operation]):
        return False
    return name in _names(info, [info.operation.selection_set])


def mentioned(info: GraphQLResolveInfo[Any]) -> frozenset[str]:
    """The names of all fields below the current one, those that are not included as well.

    That depends on the document alone, and documents are kept: so is this, found by the identity of the nodes.
    """
    return _below(info, info.field_nodes)


def mentioned_at_once(info: GraphQLResolveInfo[Any]) -> frozenset[str]:
    """The same without the names that stand in deferred fragments only."""
    key: Key = (*[id(node) for node in info.field_nodes], "@defer")
    known = _mentioned.get(key)
    if known is None:
        at_once = _fields_below(info, info.field_nodes, deferred=False)
        known = _keep(key, info.field_nodes, {node.name.value for node in at_once})
    return known[1]


def mentioned_in(info: GraphQLResolveInfo[Any], name: str) -> frozenset[str]:
    """The same below the fields of one name that are below the current one."""
    key: Key = (*[id(node) for node in info.field_nodes], name)
    known = _mentioned.get(key)
    if known is None:
        fields = [node for node in _fields_below(info, info.field_nodes) if node.name.value == name]
        known = _keep(key, info.field_nodes, {node.name.value for node in _fields_below(info, fields)})
    return known[1]


def _below(info: GraphQLResolveInfo[Any], nodes: Sequence[Node]) -> frozenset[str]:
    key: Key = tuple([id(node) for node in nodes])
    known = _mentioned.get(key)
    if known is None:
        known = _keep(key, nodes, {node.name.value for node in _fields_below(info, nodes)})
    return known[1]


def _keep(key: Key, nodes: Sequence[Node], names: set[str]) -> tuple[Sequence[Node], frozenset[str]]:
    if len(_mentioned) >= MOST_MENTIONED:
        _mentioned.clear()
    known = _mentioned[key] = (nodes, frozenset(names))
    return known


def _fields_below(
    info: GraphQLResolveInfo[Any], nodes: Sequence[Node], *, deferred: bool = True
) -> Iterator[FieldNode]:
    """Those in fragments that are always `deferred` only if these are wanted."""
    waiting = [each for node in nodes if (each := node.selection_set) is not None]
    seen: set[str] = set()
    while waiting:
        for node in waiting.pop().selections:
            if not deferred and _is_deferred(node):
                continue
            if isinstance(node, FieldNode):
                yield node
            if isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set is not None:
                waiting.append(node.selection_set)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                seen.add(node.name.value)
                waiting.append(info.fragments[node.name.value].selection_set)


def _is_deferred(node: SelectionNode) -> bool:
    """Whether it is deferred whatever the variables are."""
    for directive in node.directives or ():
        if directive.name.value == GraphQLDeferDirective.name:
            conditions = (each.value for each in directive.arguments or () if each.name.value == "if")
            return all(isinstance(value, BooleanValueNode) and value.value for value in conditions)
    return False


def _names(info: GraphQLResolveInfo[Any], waiting: list[SelectionSetNode]) -> set[str]:
    variables = get_variable_values(info)
    names: set[str] = set()
    seen: set[str] = set()
    while waiting:
        for node in _kept(waiting.pop().selections, variables):
            if isinstance(node, FieldNode):
                names.add(node.name.value)
            elif isinstance(node, InlineFragmentNode):
                waiting.append(node.selection_set)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                seen.add(node.name.value)
                waiting.append(info.fragments[node.name.value].selection_set)
    return names


def _kept(nodes: Iterable[SelectionNode], variables: dict[str, Any]) -> Iterable[SelectionNode]:
    return (node for node in nodes if not node.directives or _is_included(node, variables))


def _is_included(node: SelectionNode, variables: dict[str, Any]) -> bool:
    wanted = {"skip": False, "include": True}
    for directive in node.directives or ():
        if directive.name.value in wanted:
            condition = next((a.value for a in directive.arguments or () if a.name.value == "if"), None)
            if isinstance(condition, VariableNode):
                value = variables.get(condition.name.value)
            else:
                value = condition.value if isinstance(condition, BooleanValueNode) else None
            if value is not None and value is not wanted[directive.name.value]:
                return False
    return True
