"""`@oneOf` as Strawberry checks it, and the inputs whose resolver answers a breach with the rest of what is wrong."""

from typing import Any

from graphql import GraphQLInputObjectType, GraphQLNamedType, GraphQLSchema, ObjectValueNode
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

_ANSWERED = "answered-by-resolver"


def answered_by_resolver(schema: GraphQLSchema, name: str) -> None:
    """Let every value of this input through to its resolver; the schema goes on to say `@oneOf`.

    Without it a mutation that takes the input could only tell of this one breach, at the top level and without a path.
    """
    input_type = schema.type_map[name]
    assert isinstance(input_type, GraphQLInputObjectType)  # noqa: S101 - the name of an input of ours
    input_type.extensions[_ANSWERED] = True
    input_type.out_type = _as_it_is  # type: ignore[method-assign]


def marked(schema: GraphQLSchema) -> GraphQLSchema:
    """The schema with each `@oneOf` input marked as one for graphql-core's printer, which does not ask Strawberry."""
    for input_type in schema.type_map.values():
        if isinstance(input_type, GraphQLInputObjectType):
            input_type.is_one_of = input_type.extensions["strawberry-definition"].is_one_of
    return schema


def _as_it_is(value: dict[str, Any]) -> dict[str, Any]:
    return value


class OneOfRule(OneOfInputValidationRule):
    """Strawberry's rule, but for the inputs that their resolver answers for.

    Strawberry's raises for a variable in a fragment that stands before the operation; its value is checked when it is
    coerced.
    """

    def enter_object_value(self, node: ObjectValueNode, *args: Any) -> None:
        try:
            super().enter_object_value(node, *args)
        except (AttributeError, KeyError):
            return

    def validate_one_of(self, node: ObjectValueNode, type: GraphQLNamedType) -> None:
        if _ANSWERED not in type.extensions:
            super().validate_one_of(node, type)
