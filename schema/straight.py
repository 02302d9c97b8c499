"""Queries and mutations of one field: its resolver is called, and the plan of its selection makes the answer.

graphql-core's own steps around that do not grow with the answer, but cost more than a small one. None is taken as long
as all is as expected. The field may answer whatever it likes, and may fail: what its plan does not complete is handed
to graphql-core's executor with what the field has answered. So the resolver is called once, and errors and their paths
are graphql-core's.
"""

from collections.abc import Awaitable, Callable
from types import FunctionType
from typing import Any

from graphql import ExecutionResult
from graphql.execution.values import VariableValues
from graphql.pyutils import Path
from strawberry.execution import optimized_is_awaitable

from schema.compiled import Make, OperationArguments, Selection, Waiting
from schema.deferral import Deferred
from schema.delivery import Batch, Results, in_parts
from schema.only_field import OnlyField
from schema.plans import Known, Plan, Plans

Answered = Callable[[], Awaitable[Any]]
"""What a field has answered: it returns that, or raises it."""


class Straight:
    """One execution of such an operation. It has the face of an executor."""

    is_awaitable = staticmethod(optimized_is_awaitable)

    def __init__(
        self,
        only: OnlyField,
        plans: Plans,
        known: Known,
        values: VariableValues,
        context: Any,
        extensions: dict[str, Any],
        execute: Callable[[Answered], Any],
        rest: Callable[[dict[str, Any], list[Deferred], Path], Results],
    ) -> None:
        """`execute` is graphql-core's way, but for the call of the field, which has answered.

        `rest` is what comes after a first part with this data, which told of what is deferred below a path. It takes
        an executor, which is made once the first part has been written.
        """
        self._only = only
        self._plans = plans
        self._known = known
        self._values = values
        self._context = context
        self._extensions = extensions
        self._execute = execute
        self._rest = rest

    async def execute_operation(self) -> Any:
        """The result, or those of incremental delivery."""
        only, values = self._only, self._values
        try:
            info = only.info(values, self._context, self._extensions)
            value = only.resolve(None, info, **only.arguments.of(values))
            if optimized_is_awaitable(value):
                value = await value
        except Exception as error:
            answered = _raising(error)
        else:
            deferred: list[Deferred] = []
            made = self._made(value, deferred) if value is not None else None
            if made is not None or (value is None and only.is_nullable):
                return self._response({only.key: made}, deferred)
            answered = _returning(value)
        result = self._execute(answered)
        return await result if optimized_is_awaitable(result) else result

    def _response(self, data: dict[str, Any], deferred: list[Deferred]) -> Any:
        if not deferred:
            return ExecutionResult(data, None)
        path = self._only.path
        return in_parts(data, None, [Batch(deferred, 0, 0, path)], self._rest(data, deferred, path))

    def _made(self, value: Any, deferred: list[Deferred]) -> Any:
        """What the plan makes of the value; None where there is none, and where it is abandoned."""
        only = self._only
        type_ = only.type
        if only.is_abstract:
            type_ = self._plans.fields.runtime_types(type_).get(value.__class__)
        make = _whole(self._known.get((id(type_), id(only.details[0].node))))
        if make is None:
            return None
        waiting = Waiting(OperationArguments(self._values))
        try:
            made = make(value, waiting, deferred, ())
        except Exception:
            return None
        if waiting:
            # Whatever is read together takes an executor, so the next ones begin with that.
            self._known.only[id(only.operation)] = None
            return None
        self._plans.used += 1
        return made


def _whole(plan: Plan | None) -> Make | None:
    """The function of a plan that leaves nothing to be filled in."""
    if isinstance(plan, Selection):
        return None if plan.holes else plan.make
    return plan if isinstance(plan, FunctionType) else None


def _returning(value: Any) -> Answered:
    async def answered() -> Any:
        return value

    return answered


def _raising(error: Exception) -> Answered:
    async def answered() -> Any:
        raise error

    return answered
