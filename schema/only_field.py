"""The field that is all of an operation."""

from dataclasses import dataclass
from typing import Any

from graphql import (
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLField,
    GraphQLFieldResolver,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    default_field_resolver,
    get_nullable_type,
    is_abstract_type,
)
from graphql.execution.collect_fields import FieldDetailsList, FragmentDetails, collect_fields
from graphql.execution.values import VariableValues
from graphql.pyutils import Path
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import _OperationContextAwareGraphQLResolveInfo as ResolveInfo

from schema.arguments import Arguments
from schema.compilation import is_strange


@dataclass(frozen=True, slots=True)
class OnlyField:
    """The only field of a query or a mutation under one set of conditions. It answers an object, or a list of them."""

    key: str
    schema: GraphQLSchema
    fragments: dict[str, FragmentDefinitionNode]
    operation: OperationDefinitionNode
    parent: GraphQLObjectType
    field: GraphQLField
    details: FieldDetailsList
    type: Any
    is_abstract: bool
    is_nullable: bool
    resolve: GraphQLFieldResolver
    arguments: Arguments
    path: Path

    def info(self, values: VariableValues, context: Any, extensions: dict[str, Any]) -> Any:
        """What the resolver is told, as an executor makes it, but for the helpers that only that has."""
        node = self.details[0].node
        return ResolveInfo(
            field_name=node.name.value,
            field_nodes=[node],
            return_type=self.field.type,
            parent_type=self.parent,
            path=self.path,
            schema=self.schema,
            fragments=self.fragments,
            root_value=None,
            operation=self.operation,
            variable_values=values.coerced,
            context=context,
            is_awaitable=optimized_is_awaitable,
            abort_signal=None,
            async_helpers=None,
            operation_extensions=extensions,
        )


def only_field(
    schema: GraphQLSchema,
    fragments: dict[str, FragmentDetails],
    operation: OperationDefinitionNode,
    values: VariableValues,
) -> OnlyField | None:
    """None where there are several, and where it is deferred, selected twice, or has no fields of its own."""
    parent = schema.get_root_type(operation.operation)
    if operation.operation is OperationType.SUBSCRIPTION or parent is None:
        return None
    try:
        collected = collect_fields(schema, fragments, values, parent, operation, True)
    except GraphQLError:  # a condition that is null, which an executor tells
        return None
    if len(collected.grouped_field_set) != 1 or collected.new_defer_usages:
        return None
    ((key, details),) = collected.grouped_field_set.items()
    node = details[0].node
    field = parent.fields.get(node.name.value)
    if field is None or len(details) != 1 or node.selection_set is None or is_strange(details):
        return None
    type_ = get_nullable_type(field.type)
    return OnlyField(
        key=key,
        schema=schema,
        fragments={name: each.definition for name, each in fragments.items()},
        operation=operation,
        parent=parent,
        field=field,
        details=details,
        type=type_,
        is_abstract=is_abstract_type(type_),
        is_nullable=type_ is field.type,
        resolve=field.resolve or default_field_resolver,
        arguments=Arguments(field, node),
        path=Path(None, key, parent.name),
    )
