"""The values of an operation's variables.

Most are scalars that come as they are meant. Those are taken as they are; as soon as one is anything else, graphql-core
looks at all of them: what is refused, and with which words, is its own.
"""

from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLError,
    GraphQLID,
    GraphQLInt,
    GraphQLSchema,
    GraphQLString,
    OperationDefinitionNode,
    Undefined,
    get_nullable_type,
    is_non_null_type,
)
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values

_LARGEST, _SMALLEST = 2**31 - 1, -(2**31)


class Variables:
    """The variables of one operation of a valid document."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._definitions = operation.variable_definitions or ()
        signatures = [get_variable_signature(schema, each) for each in self._definitions]
        self._plain = [
            (each.name, each, _plain_class(each), not is_non_null_type(each.type) and each.default is None)
            for each in signatures
            if isinstance(each, GraphQLVariableSignature)
        ]

    def values(self, given: dict[str, Any], *, max_errors: int) -> VariableValues | list[GraphQLError]:
        """`get_variable_values` of graphql-core; the errors where they are wrong."""
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for name, signature, plain_class, may_be_absent in self._plain:
            value: Any = given.get(name, Undefined)
            of_class = value.__class__ is plain_class
            if of_class and (plain_class is not int or _SMALLEST <= value <= _LARGEST):
                sources[name] = VariableValueSource(signature, value)
                coerced[name] = value
            elif value is Undefined and may_be_absent:
                sources[name] = VariableValueSource(signature)
            else:
                return get_variable_values(
                    self._schema, self._definitions, given, max_errors=max_errors, hide_suggestions=True
                )
        return VariableValues(sources, coerced)


def _plain_class(signature: GraphQLVariableSignature) -> type | None:
    """The class whose instances are values of the variable as they are; None where there is none."""
    type_: Any = get_nullable_type(signature.type)
    if type_ is GraphQLString or type_ is GraphQLID:
        return str
    if type_ is GraphQLInt:
        return int
    return bool if type_ is GraphQLBoolean else None
