"""What a compiled selection defers.

graphql-core says which fields are deferred, in which groups, and what is announced of them in which order: it is asked
once, when the selection is compiled, and not for each object.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLObjectType
from graphql.execution.collect_fields import DeferUsage, GroupedFieldSet
from graphql.execution.incremental.build_execution_plan import DeferUsageSet
from graphql.execution.incremental.computation import Computation
from graphql.execution.incremental.incremental_executor import DeliveryGroup
from graphql.execution.incremental.work_queue import Work, WorkQueue, WorkResult, WorkTask
from graphql.pyutils import Path, RefMap, SetMap

Later = SetMap[DeferUsageSet, GroupedFieldSet]
"""The fields that are deferred, by the fragments that they come with."""


@dataclass(frozen=True, slots=True, eq=False)
class Fragment:
    """One deferred fragment whose fields a plan completes for all objects that have it. `make` does so for one."""

    usages: DeferUsageSet
    fields: GroupedFieldSet
    make: Callable[..., Any]


@dataclass(frozen=True, slots=True, eq=False)
class Deferral:
    """What is deferred of the objects of one type at one place of a document.

    `labels` are those of the fragments that are announced with the object, in order. `fragments` are the same, or None
    where graphql-core has to complete them.
    """

    type: GraphQLObjectType
    usages: Sequence[DeferUsage]
    later: Later
    labels: tuple[str | None, ...]
    fragments: tuple[Fragment, ...] | None


Below = tuple[str | int | None, ...]
"""Where something is below the value that a plan was given: each key, followed by the name of the type that it is of.

A plan makes one for each object that defers something, and a `Path` for none: it takes three times as long, and nobody
asks for it as long as all is as expected.
"""
Deferred = tuple[Deferral, Any, Below]
"""What is deferred, of which object, and where that is."""


def path_below(path: Path, below: Below) -> Path:
    """The path of what is there, where the value itself has this one."""
    for key, name in zip(below[::2], below[1::2], strict=True):
        path = Path(path, key, name)  # type: ignore[arg-type]
    return path


def deferral(
    type_: GraphQLObjectType,
    usages: Sequence[DeferUsage],
    later: Later,
    make: Callable[[GroupedFieldSet], Callable[..., Any] | None],
) -> Deferral:
    """What an object defers. `make` compiles the fields of a fragment, if it can."""
    groups: RefMap[DeferUsage, DeliveryGroup] = RefMap()
    for usage in usages:
        parent = usage.parent_defer_usage
        groups[usage] = DeliveryGroup(None, usage.label, None if parent is None else groups[parent])
    of_group: dict[DeliveryGroup, list[Fragment]] = {group: [] for group in groups.values()}
    tasks = []
    for set_, fields in later.items():
        made = make(fields)
        owners = [groups[usage] for usage in set_]
        tasks.append(WorkTask(owners, Computation(_never)))
        # What comes with either of two fragments belongs to none.
        if made is not None and len(owners) == 1:
            of_group[owners[0]].append(Fragment(set_, fields, made))
    announced: Sequence[Any] = WorkQueue(Work([*groups.values()], tasks)).initial_groups
    fragments = [fragment for group in announced for fragment in of_group[group]]
    whole = len(fragments) == len(announced) == len(tasks)
    labels = tuple(group.label for group in announced)
    return Deferral(type_, usages, later, labels, tuple(fragments) if whole else None)


def _never() -> WorkResult:
    raise AssertionError("Which fragments there are is asked of graphql-core, and nothing is run.")
