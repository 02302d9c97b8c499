"""Tells what plans have deferred, and completes each fragment for all objects that have it.

`DeliveringExecutor` is graphql-core's executor, but that it is told of deferred objects in batches, and makes none of
its groups and tasks for them. What it says of them is what graphql-core says, but that fewer parts hold it. Where
graphql-core has deferred something itself, or has to complete some of it, the batches become its groups and tasks.
"""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from graphql import GraphQLError
from graphql.execution import (
    CompletedResult,
    ExecutionResult,
    ExperimentalIncrementalExecutionResults,
    IncrementalDeferResult,
    InitialIncrementalExecutionResult,
    PendingResult,
    SubsequentIncrementalExecutionResult,
)
from graphql.execution.executor import CollectedErrors
from graphql.execution.incremental.incremental_publisher import ensure_graphql_error
from graphql.execution.incremental.work_queue import Work
from graphql.execution.types import IncrementalResult
from graphql.pyutils import Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from schema.deferral import Below, Deferral, Deferred, Fragment, path_below

Results = AsyncGenerator[SubsequentIncrementalExecutionResult, None]


@dataclass(slots=True, eq=False)
class Batch:
    """What one plan has deferred below a path, in order, and how many groups and tasks graphql-core had made before."""

    deferred: list[Deferred]
    groups: int
    tasks: int
    path: Path


class _Announced(NamedTuple):
    """A fragment of one object, which the first part has told of."""

    number: int
    deferral: Deferral
    source: Any
    of_batch: Path
    below: Below

    @property
    def path(self) -> Path:
        return path_below(self.of_batch, self.below)


class _Outcome(NamedTuple):
    """What has become of it: its data, or the error where there is none."""

    number: int
    data: Any
    errors: list[Any] | None = None


class DeliveringExecutor(StrawberryGraphQLCoreExecutionContext):
    """Executes one operation."""

    _batches: list[Batch]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._batches = []

    def create_sub_executor(self, defer_usage_set: Any = None) -> Self:
        """graphql-core's way with `copy`, which takes three times as long, and is done for each deferred part."""
        made = self.__class__.__new__(self.__class__)
        made.__dict__.update(self.__dict__)
        made.defer_usage_set = defer_usage_set
        made.collected_errors = CollectedErrors()
        made.groups, made.tasks, made.streams = [], [], []
        made._batches = []
        return made

    def defer(self, deferred: list[Deferred], path: Path) -> Batch:
        """Tell of objects with deferred fragments, below a path."""
        batch = Batch(deferred, len(self.groups), len(self.tasks), path)
        self._batches.append(batch)
        return batch

    def instead_of(self, batch: Batch, complete: Callable[[], Any]) -> Any:
        """Complete the objects of a batch anew: what is deferred by that takes the place of the batch."""
        place = self._batches.index(batch)
        batches, groups, tasks = self._batches, self.groups, self.tasks
        self._batches, self.groups, self.tasks = batches[:place], groups[: batch.groups], tasks[: batch.tasks]
        completed = complete()
        more_groups, more_tasks = len(self.groups) - batch.groups, len(self.tasks) - batch.tasks
        for each in batches[place + 1 :]:
            each.groups += more_groups
            each.tasks += more_tasks
            self._batches.append(each)
        self.groups += groups[batch.groups :]
        self.tasks += tasks[batch.tasks :]
        return completed

    @abstractmethod
    def complete_fragment(
        self, fragment: Fragment, sources: list[Any], path: Path
    ) -> Awaitable[list[Any] | None] | list[Any] | None:
        """The fields of a fragment for each of these objects, the first of which has the path.

        None for graphql-core to do it.
        """

    def build_response(self, data: dict[str, Any] | None) -> ExecutionResult | ExperimentalIncrementalExecutionResults:
        errors = self.collected_errors
        if errors.errors:
            self._batches = [each for each in self._batches if not errors.has_nulled_position(each.path)]
        if not self._batches or self.tasks or self.streams:
            return super().build_response(data)
        return in_parts(data, [*errors.errors] or None, self._batches, self.rest(data))

    def rest(self, data: dict[str, Any] | None) -> Results:
        """What comes after the first part with this data, which told of all batches."""
        deferrals = {deferral for batch in self._batches for deferral, _, _ in batch.deferred}
        whole = all(deferral.fragments is not None for deferral in deferrals)
        return self._results() if whole else self._as_told(data)

    def get_incremental_work(self) -> Work:
        """With the groups and tasks of the batches where graphql-core would have put them."""
        groups, tasks = self.groups, self.tasks
        while self._batches:
            # The last one first, so that the places of those before it still hold.
            batch = self._batches.pop()
            self.groups, self.tasks = [], []
            for deferral, source, below in batch.deferred:
                path = path_below(batch.path, below)
                made, by_usage = self.get_new_delivery_group_map(deferral.usages, None, path)
                self.groups += made
                self.collect_execution_groups(deferral.type, source, path, deferral.later, by_usage)
            groups[batch.groups : batch.groups] = self.groups
            tasks[batch.tasks : batch.tasks] = self.tasks
        self.groups, self.tasks = groups, tasks
        return super().get_incremental_work()

    async def _as_told(self, data: dict[str, Any] | None) -> Results:
        """What graphql-core says after the first part, which is what we have said."""
        response: Any = super().build_response(data)
        async with aclosing(response.subsequent_results) as results:
            async for result in results:
                yield result

    async def _results(self) -> Results:
        """What is there at once, and then the objects of each fragment as soon as they are complete."""
        there: list[_Outcome] = []
        waiting: set[asyncio.Task[list[_Outcome]]] = set()
        try:
            for fragment, objects in _by_fragment(self._batches).items():
                data = self.complete_fragment(fragment, [each.source for each in objects], objects[0].path)
                if isinstance(data, list):
                    there += _outcomes(objects, data)
                else:
                    waiting.add(asyncio.create_task(self._finished(fragment, objects, data)))
            if there:
                yield _result(there, has_next=bool(waiting))
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                yield _result([each for task in done for each in task.result()], has_next=bool(waiting))
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _finished(
        self, fragment: Fragment, objects: list[_Announced], data: Awaitable[list[Any] | None] | None
    ) -> list[_Outcome]:
        found = await data if data is not None else None
        if found is not None:
            return _outcomes(objects, found)
        return [*await asyncio.gather(*(self._alone(fragment, each) for each in objects))]

    async def _alone(self, fragment: Fragment, announced: _Announced) -> _Outcome:
        """The fragment of one object, by graphql-core."""
        number, deferral, source, path = announced.number, announced.deferral, announced.source, announced.path
        groups, by_usage = self.get_new_delivery_group_map(deferral.usages, None, path)
        executor = self.create_sub_executor(fragment.usages)
        try:
            result: Any = executor.execute_execution_group(
                groups, deferral.type, source, path, fragment.fields, by_usage
            )
            if self.is_awaitable(result):
                result = await result
        except (Exception, asyncio.CancelledError) as error:
            return _Outcome(number, None, [ensure_graphql_error(error)])
        return _Outcome(number, result.value.data, result.value.errors)


def in_parts(
    data: dict[str, Any] | None, errors: list[GraphQLError] | None, batches: list[Batch], rest: Results
) -> ExperimentalIncrementalExecutionResults:
    """The first part, which tells of all batches, and the rest."""
    first = InitialIncrementalExecutionResult(data, errors, pending=_pending(batches), has_next=True)
    return ExperimentalIncrementalExecutionResults(first, rest)


def _pending(batches: list[Batch]) -> list[PendingResult]:
    found: list[PendingResult] = []
    for batch in batches:
        keys: list[Any] = batch.path.as_list()
        for deferral, _, below in batch.deferred:
            path = [*keys, *below[::2]]
            for label in deferral.labels:
                found.append(PendingResult(str(len(found)), path, label))
    return found


def _by_fragment(batches: list[Batch]) -> dict[Fragment, list[_Announced]]:
    found: dict[Fragment, list[_Announced]] = {}
    number = 0
    for batch in batches:
        for deferral, source, below in batch.deferred:
            for fragment in deferral.fragments or ():
                found.setdefault(fragment, []).append(_Announced(number, deferral, source, batch.path, below))
                number += 1
    return found


def _outcomes(objects: list[_Announced], data: list[Any]) -> list[_Outcome]:
    return [_Outcome(announced.number, found) for announced, found in zip(objects, data, strict=True)]


def _result(outcomes: list[_Outcome], *, has_next: bool) -> SubsequentIncrementalExecutionResult:
    """One part, its entries in the order in which they were announced."""
    incremental: list[IncrementalResult] = []
    completed: list[CompletedResult] = []
    for number, data, errors in sorted(outcomes):
        name = str(number)
        if data is None:
            completed.append(CompletedResult(name, errors))
        else:
            incremental.append(IncrementalDeferResult(data, name, errors=errors))
            completed.append(CompletedResult(name))
    return SubsequentIncrementalExecutionResult(has_next, incremental=incremental or None, completed=completed)
