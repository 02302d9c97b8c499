"""Operations of documents that are kept, ready to be run again and again."""

from contextlib import aclosing
from typing import Any

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    default_field_resolver,
    default_type_resolver,
)
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues
from graphql.pyutils import Path
from strawberry.execution import optimized_is_awaitable

from schema.deferral import Deferred
from schema.delivery import Results
from schema.execution import PlanExecutor
from schema.only_field import OnlyField, only_field
from schema.plans import Known, Plans
from schema.straight import Answered, Straight
from schema.variables import Variables


class Program:
    """One operation of a valid document."""

    def __init__(
        self, schema: GraphQLSchema, plans: Plans, document: DocumentNode, operation: OperationDefinitionNode
    ) -> None:
        self.plans = plans
        self._schema = schema
        self.operation = operation
        self._variables = Variables(schema, operation)
        definitions = [each for each in document.definitions if isinstance(each, FragmentDefinitionNode)]
        self._definitions = {each.name.value: each for each in definitions}
        self._fragments = {name: FragmentDetails(each) for name, each in self._definitions.items()}

    def execution(
        self, context: Any, variables: dict[str, Any], extensions: dict[str, Any], *, max_errors: int
    ) -> Straight | PlanExecutor | list[GraphQLError]:
        """What executes the operation once; the errors where the variables are wrong."""
        values = self._variables.values(variables, max_errors=max_errors)
        if isinstance(values, list):
            return values
        known = self.plans.under(values.coerced, ready=True, together=True)
        only = self._only_field(known, values)
        if only is None:
            return self._executor(context, values, extensions)

        def execute(answered: Answered) -> Any:
            executor = self._executor(context, values, extensions)
            executor.take(answered)
            return executor.execute_operation()

        async def rest(data: dict[str, Any], deferred: list[Deferred], path: Path) -> Results:
            executor = self._executor(context, values, extensions)
            executor.defer(deferred, path)
            async with aclosing(executor.rest(data)) as results:
                async for result in results:
                    yield result

        return Straight(only, self.plans, known, values, context, extensions, execute, rest)

    def executor(
        self, context: Any, variables: dict[str, Any], extensions: dict[str, Any], *, max_errors: int
    ) -> PlanExecutor | list[GraphQLError]:
        """The same by an executor in any case, as subscriptions need it."""
        values = self._variables.values(variables, max_errors=max_errors)
        return values if isinstance(values, list) else self._executor(context, values, extensions)

    def _only_field(self, known: Known, values: VariableValues) -> OnlyField | None:
        found = known.only
        if id(self.operation) not in found:
            found[id(self.operation)] = only_field(self._schema, self._fragments, self.operation, values)
        return found[id(self.operation)]

    def _executor(self, context: Any, values: VariableValues, extensions: dict[str, Any]) -> PlanExecutor:
        """`Executor.build` without what is the same each time."""
        executor = PlanExecutor(
            self._schema,
            self._definitions,
            self._fragments,
            None,
            context,
            self.operation,
            values,
            default_field_resolver,
            default_type_resolver,
            default_field_resolver,
            is_awaitable=optimized_is_awaitable,
            hide_suggestions=True,
            operation_extensions=extensions,
        )
        executor.use(self.plans)
        return executor
