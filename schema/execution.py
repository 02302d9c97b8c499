"""Runs operations with their selection sets compiled.

`PlanExecutor` is graphql-core's executor, but that it completes objects by compiled functions where it can. Whatever
is not as expected (a null where none may be, another class, something to await, an exception) is left to graphql-core,
which does that part again from the start: errors, their paths, and nulls that rise are its own. That is invisible,
since nothing that is done twice has an effect.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from graphql import (
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLResolveInfoHelpers,
    OperationType,
    is_abstract_type,
    is_object_type,
)
from graphql.execution.collect_fields import FieldDetailsList, GroupedFieldSet
from graphql.pyutils import Path
from graphql.pyutils.gather_with_cancel import gather_with_cancel

from schema.compilation import Compiler, share_a_part
from schema.compiled import Given, Make, NotRead, OperationArguments, Part, Selection, Waiting
from schema.deferral import Below, Deferred, Fragment
from schema.delivery import Batch, DeliveringExecutor
from schema.plain_fields import Method
from schema.plans import MOST_PLANS, Key, Known, Plan, Plans
from schema.straight import Answered

_SEEN: Any = object()


class PlanExecutor(DeliveringExecutor):
    """Executes one operation. It is graphql-core's executor alone until it is given the plans of its document.

    It holds nothing that holds it: all that an operation has read is freed as soon as its answer is made, and not left
    for the collector of cycles, which took a fourth of the CPU of a page with live values.
    """

    _plans: Plans | None = None
    _known: Known
    _ready: bool
    _together: bool
    _answered: Answered | None = None

    def take(self, answered: Answered) -> None:
        """What the only field of the operation has answered already, so that it is not called."""
        self._answered = answered

    @property
    def async_helpers(self) -> GraphQLResolveInfoHelpers:
        """graphql-core's, made when they are asked for, since they hold the executor."""
        return GraphQLResolveInfoHelpers(gather=self.gather_async_work, track=self.track_async_work)

    @async_helpers.setter
    def async_helpers(self, helpers: GraphQLResolveInfoHelpers) -> None:
        """Those that its constructor makes are not kept."""

    def use(self, plans: Plans) -> None:
        if self.middleware_manager is None:
            self._plans = plans
            self._info_class = plans.fields.info_class
            self._arguments = OperationArguments(self.variable_values)
            self._take_plans(plans, ready=True, together=True)

    def _take_plans(self, plans: Plans, *, ready: bool, together: bool) -> None:
        self._known = plans.under(self.variable_values.coerced, ready=ready, together=together)
        self._ready, self._together = ready, together
        self._of_group: dict[int, tuple[GroupedFieldSet, Selection | None]] = {}

    def complete_value(
        self,
        return_type: GraphQLOutputType,
        field_details_list: FieldDetailsList,
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: Any,
        position_context: Any,
    ) -> Any:
        plans = self._plans
        if (
            plans is not None
            and result is not None
            and field_details_list[0].node.selection_set is not None
            and not isinstance(return_type, GraphQLNonNull)  # which comes back here for the type inside
        ):
            plan = self._plan(plans, return_type, field_details_list, result)
            waiting = Waiting(self._arguments)
            deferred: list[Deferred] = []
            if isinstance(plan, Selection) and plan.holes:
                if position_context is None and field_details_list[0].defer_usage is None:
                    made = self._make(plans, plan.make, result, waiting, deferred)
                    if made is not None:
                        return self._filled(plan, result, path, made, None, None)
            elif plan is not None:
                make = plan.make if isinstance(plan, Selection) else plan
                made = self._make(plans, make, result, waiting, deferred)
                if made is not None:
                    batch = self.defer(deferred, path) if deferred else None
                    if not waiting:
                        return made
                    again = partial(
                        super().complete_value, return_type, field_details_list, info, path, result, position_context
                    )
                    return self._read_together(plans, made, waiting, path, again, batch)
        return super().complete_value(return_type, field_details_list, info, path, result, position_context)

    def execute_fields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Path | None,
        grouped_field_set: GroupedFieldSet,
        position_context: Any,
    ) -> Any:
        plans = self._plans
        # Without deferred parts, `complete_value` has already tried.
        if plans is not None and position_context is not None and path is not None:
            selection = self._group(plans, parent_type, grouped_field_set)
            if selection is not None:
                made = self._make(plans, selection.make, source_value, waiting := Waiting(self._arguments), [])
                if made is not None:
                    if not waiting:
                        return self._filled(selection, source_value, path, made, grouped_field_set, position_context)
                    again = partial(
                        super().execute_fields, parent_type, source_value, path, grouped_field_set, position_context
                    )
                    return self._read_together(plans, made, waiting, path, again, None)
        return super().execute_fields(parent_type, source_value, path, grouped_field_set, position_context)

    def execute_field(
        self,
        parent_type: GraphQLObjectType,
        source: Any,
        field_details_list: FieldDetailsList,
        path: Path,
        position_context: Any,
    ) -> Any:
        if self._answered is None or path.prev is not None:
            return super().execute_field(parent_type, source, field_details_list, path, position_context)
        field = parent_type.fields[field_details_list[0].node.name.value]
        info = self.build_resolve_info(field, [each.node for each in field_details_list], parent_type, path)
        return self.complete_awaitable_value(
            field.type, field_details_list, info, path, self._answered(), position_context
        )

    def complete_fragment(
        self, fragment: Fragment, sources: list[Any], path: Path
    ) -> Awaitable[list[Any] | None] | list[Any] | None:
        plans = self._plans
        if plans is None:
            return None

        def make(sources: list[Any], waiting: Waiting, deferred: list[Deferred], below: Below) -> list[Any]:
            return [fragment.make(source, waiting, deferred, below) for source in sources]

        made: list[Any] | None = self._make(plans, make, sources, waiting := Waiting(self._arguments), [])
        return self._completed_together(plans, made, waiting, path) if made is not None and waiting else made

    async def _completed_together(
        self, plans: Plans, made: list[Any], waiting: Waiting, path: Path
    ) -> list[Any] | None:
        return made if await self._is_read(plans, waiting, path) else None

    def _make(self, plans: Plans, make: Make, value: Any, waiting: Waiting, deferred: list[Deferred]) -> Any:
        """What the plan makes of the value; None where it is abandoned."""
        try:
            made = make(value, waiting, deferred, ())
        except NotRead:
            # What is below gets plans that leave such fields to their methods, and so does the rest of the operation.
            self._take_plans(plans, ready=False, together=self._together)
            return None
        except Exception:
            plans.abandoned += 1
            return None
        plans.used += 1
        return made

    async def _read_together(
        self, plans: Plans, made: Any, waiting: Waiting, path: Path, again: Callable[[], Any], batch: Batch | None
    ) -> Any:
        """What was made, with the fields that are read together; what `again` answers where the plan is abandoned."""
        if await self._is_read(plans, waiting, path):
            return made
        result = again() if batch is None else self.instead_of(batch, again)
        return await result if self.is_awaitable(result) else result

    async def _is_read(self, plans: Plans, waiting: Waiting, path: Path) -> bool:
        """Fill in all that waits. False where that fails, and the plan is abandoned."""
        try:
            while waiting:
                waiting = await self._read(waiting, path)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # It is something that others wait for as well that was cancelled.
        except Exception:  # noqa: S110 - graphql-core meets it again
            pass
        else:
            return True
        plans.abandoned += 1
        # Each object by itself now, and whatever of the operation is still to come.
        self._take_plans(plans, ready=False, together=False)
        return False

    async def _read(self, waiting: Waiting, path: Path) -> Waiting:
        """Fill in what waits. What is to be read together below that waits then."""
        groups: dict[Part, list[tuple[Any, dict[str, Any]]]] = {}
        for part, source, made in waiting:
            groups.setdefault(part, []).append((source, made))
        asked = [self._values(part, [source for source, _ in group], path) for part, group in groups.items()]
        values = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
        below = Waiting(self._arguments)
        for (part, group), found in zip(groups.items(), values, strict=True):
            for (_, made), value in zip(group, found, strict=True):
                made[part.key] = part.make(value, below, [], ())
        return below

    def _values(self, part: Part, sources: list[Any], path: Path) -> Awaitable[list[Any]]:
        field = part.parent.fields[part.details[0].node.name.value]
        info = self.build_resolve_info(field, [each.node for each in part.details], part.parent, path)
        arguments = self._arguments[part.arguments] if isinstance(part.arguments, Given) else part.arguments
        return part.call(self._info_class(_raw_info=info, _field=part.field), sources, **arguments)

    def _plan(self, plans: Plans, type_: Any, details: FieldDetailsList, value: Any) -> Plan | None:
        if is_abstract_type(type_):
            type_ = plans.fields.runtime_types(type_).get(value.__class__)
            if type_ is None:
                return None
        if len(details) > 1 and not share_a_part(details):
            return None
        # All details are of one document, so the nodes tell them apart; the schema keeps its types.
        if len(details) == 1:
            key: Key = (id(type_), id(details[0].node))
        else:
            key = (id(type_), *[id(each.node) for each in details])
        defers = details[0].defer_usage is None and self._may_defer()
        if not defers:
            key = (_SEEN, *key)  # the same nodes may stand elsewhere as well
        try:
            plan = self._known[key]
        except KeyError:
            # The first time costs less without a plan.
            self._remember(key, _SEEN)
            return None
        if plan is not _SEEN:
            return plan
        compiler = self._compiler(plans, defers=defers)
        plan = compiler.of_type(type_, details) if is_object_type(type_) else compiler.value(type_, details)
        self._remember(key, plan)
        return plan

    def _may_defer(self) -> bool:
        """What is deferred already, and subscriptions, are graphql-core's to cut up, or to refuse."""
        return self.defer_usage_set is None and self.operation.operation is not OperationType.SUBSCRIPTION

    def _compiler(self, plans: Plans, *, defers: bool) -> Compiler:
        return Compiler(plans.fields, self.collect_subfields, ready=self._ready, together=self._together, defers=defers)

    def _remember(self, key: Key, plan: Plan | None) -> None:
        if len(self._known) >= MOST_PLANS:
            self._known.clear()
        self._known[key] = plan

    def _group(self, plans: Plans, type_: GraphQLObjectType, grouped: GroupedFieldSet) -> Selection | None:
        """The selection of a part of a deferred selection set, which only this executor can tell apart."""
        found = self._of_group.get(id(grouped))
        if found is None:
            key = (
                id(type_),
                *(
                    (name, share_a_part(details), *[id(each.node) for each in details])
                    for name, details in grouped.items()
                ),
            )
            selection: Any = self._known.get(key, _SEEN)
            if selection is _SEEN:
                selection = self._compiler(plans, defers=False).of_fields(type_, grouped)
                self._remember(key, selection)
            found = self._of_group[id(grouped)] = (grouped, selection)
        return found[1]

    def _filled(
        self,
        selection: Selection,
        source: Any,
        path: Path,
        made: dict[str, Any],
        grouped: GroupedFieldSet | None,
        position: Any,
    ) -> Any:
        """What was made, with its holes filled: `execute_fields` of graphql-core for those."""
        type_, name = selection.type, selection.type.name
        waiting: list[str] = []
        try:
            for hole in selection.holes:
                key = hole.key
                details = hole.details if grouped is None else grouped[key]
                hole_path = Path(path, key, name)
                if hole.method is None:
                    result = self.execute_field(type_, source, details, hole_path, position)
                else:
                    result = self._call(hole.method, type_, source, details, hole_path, position)
                made[key] = result
                if self.is_awaitable(result):
                    waiting.append(key)
        except Exception:
            if waiting:
                self.settle_in_background([made[key] for key in waiting])
            raise
        return _awaited(made, waiting) if waiting else made

    def _call(
        self,
        method: Method,
        parent: GraphQLObjectType,
        source: Any,
        details: FieldDetailsList,
        path: Path,
        position: Any,
    ) -> Any:
        """`execute_field` for a method without arguments."""
        field = parent.fields[details[0].node.name.value]
        info = self.build_resolve_info(field, [each.node for each in details], parent, path)
        type_ = field.type
        try:
            if method.takes_info:
                result = method.call(source, self._info_class(_raw_info=info, _field=method.field))
            else:
                result = method.call(source)
            if self.is_awaitable(result):
                return self.complete_awaitable_value(type_, details, info, path, result, position)
            completed = self.complete_value(type_, details, info, path, result, position)
        except Exception as error:
            self.handle_field_error(error, type_, details, path)
            return None
        if self.is_awaitable(completed):
            return self._completed(completed, type_, details, path)
        return completed

    async def _completed(
        self, completed: Awaitable[Any], type_: GraphQLOutputType, details: FieldDetailsList, path: Path
    ) -> Any:
        try:
            return await completed
        except Exception as error:
            self.handle_field_error(error, type_, details, path)
            return None


async def _awaited(made: dict[str, Any], waiting: list[str]) -> dict[str, Any]:
    if len(waiting) == 1:
        made[waiting[0]] = await made[waiting[0]]
    else:
        made.update(zip(waiting, await gather_with_cancel(*(made[key] for key in waiting)), strict=True))
    return made
