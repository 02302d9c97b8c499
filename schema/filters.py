"""What lists are narrowed and sorted by."""

from datetime import datetime
from typing import TypeVar
from uuid import UUID

import strawberry

from resolvers import agents as agent_lists
from resolvers import paging
from resolvers import runs as run_lists
from resolvers import schedules as schedule_lists
from resolvers.ids import Kind, key_of
from schema.enums import AgentOrderField, OrderDirection, RunOrderField, ScheduleOrderField
from schema.pages import given
from schema.reading import Reader
from services import agents, runs, schedule_statements
from services.agent import AgentProtocol, AgentStatus
from services.run import RunStatus, RunTrigger
from services.schedule import ClockStatus, ScheduleState

T = TypeVar("T")

ABSENT = strawberry.UNSET


@strawberry.input(description="A label: a key with its value.")
class LabelInput:
    key: str = strawberry.field(description="At most 63 characters, not blank, once on each schedule.")
    value: str = strawberry.field(description="At most 200 characters; may be empty.")


@strawberry.input(description="Which agents. Every field that is given must match; of a list, any value.")
class AgentFilter:
    search: str | None = strawberry.field(
        default=ABSENT, description="A part of the name or the description, in any case: at most 200 characters."
    )
    protocols: list[AgentProtocol] | None = strawberry.field(default=ABSENT, description="Of any of these protocols.")
    statuses: list[AgentStatus] | None = strawberry.field(
        default=ABSENT, description="Of any of these statuses; DELETED finds deleted ones without includeDeleted."
    )
    include_deleted: bool | None = strawberry.field(default=False, description="Deleted agents too.")


@strawberry.input(description="Which schedules. Every field that is given must match; of a list, any value.")
class ScheduleFilter:
    agent_ids: list[strawberry.ID] | None = strawberry.field(
        default=ABSENT, description="Of any of these agents. An id that is malformed or unknown matches nothing."
    )
    states: list[ScheduleState] | None = strawberry.field(
        default=ABSENT, description="In any of these states; DELETED finds deleted ones without includeDeleted."
    )
    search: str | None = strawberry.field(
        default=ABSENT, description="A part of the name or the description, in any case: at most 200 characters."
    )
    labels: list[LabelInput] | None = strawberry.field(default=ABSENT, description="With every one of these labels.")
    clock_status: list[ClockStatus] | None = strawberry.field(
        default=ABSENT, description="With the clock in any of these conditions, as Postgres knows it."
    )
    last_run_status: list[RunStatus] | None = strawberry.field(
        default=ABSENT, description="Whose run with the latest fire is in any of these statuses."
    )
    include_deleted: bool | None = strawberry.field(default=False, description="Deleted schedules too.")
    created_by: str | None = strawberry.field(
        default=ABSENT, description="Created by this user id or service account id: at most 200 characters."
    )
    updated_since: datetime | None = strawberry.field(
        default=ABSENT, description="Whose definition was changed at or after this."
    )


@strawberry.input(description="Which runs. Every field that is given must match; of a list, any value.")
class RunFilter:
    schedule_ids: list[strawberry.ID] | None = strawberry.field(
        default=ABSENT, description="Of any of these schedules. An id that is malformed or unknown matches nothing."
    )
    agent_ids: list[strawberry.ID] | None = strawberry.field(
        default=ABSENT, description="Of any of these agents. An id that is malformed or unknown matches nothing."
    )
    statuses: list[RunStatus] | None = strawberry.field(
        default=ABSENT, description="In any of these statuses; in fireStatus, events that lead to one of them."
    )
    triggers: list[RunTrigger] | None = strawberry.field(default=ABSENT, description="Brought about by any of these.")
    fire_from: datetime | None = strawberry.field(default=ABSENT, description="With fireAt at or after this.")
    fire_to: datetime | None = strawberry.field(default=ABSENT, description="With fireAt before this.")


@strawberry.input(description="How agents are sorted. Without it: the newest first.")
class AgentOrder:
    field: AgentOrderField = strawberry.field(description="By what.")
    direction: OrderDirection = strawberry.field(default=OrderDirection.ASC, description="Which end comes first.")


@strawberry.input(description="How schedules are sorted. Without it: the newest first.")
class ScheduleOrder:
    field: ScheduleOrderField = strawberry.field(description="By what.")
    direction: OrderDirection = strawberry.field(default=OrderDirection.ASC, description="Which end comes first.")


@strawberry.input(description="How runs are sorted. Without it: the latest fire first.")
class RunOrder:
    field: RunOrderField = strawberry.field(description="By what.")
    direction: OrderDirection = strawberry.field(default=OrderDirection.ASC, description="Which end comes first.")


def agent_order(order: AgentOrder | None) -> paging.Order:
    if order is None or order is ABSENT:
        return agent_lists.NEWEST_FIRST
    return agent_lists.order(order.field.value, descending=order.direction is OrderDirection.DESC)


def schedule_order(order: ScheduleOrder | None) -> paging.Order:
    if order is None or order is ABSENT:
        return schedule_lists.NEWEST_FIRST
    return schedule_lists.order(order.field.value, descending=order.direction is OrderDirection.DESC)


def run_order(order: RunOrder | None) -> paging.Order:
    if order is None or order is ABSENT:
        return run_lists.LATEST_FIRST
    return run_lists.order(order.field.value, descending=order.direction is OrderDirection.DESC)


def agent_filter(filter: AgentFilter | None) -> agents.AgentFilter:
    if filter is None or filter is ABSENT:
        return agents.AgentFilter()
    return agents.AgentFilter(
        search=given(filter.search),
        protocols=_tuple(filter.protocols),
        statuses=_tuple(filter.statuses),
        include_deleted=bool(filter.include_deleted),
    )


def schedule_filter(filter: ScheduleFilter | None) -> schedule_statements.ScheduleFilter:
    """Raises `InvalidInput`."""
    if filter is None or filter is ABSENT:
        return schedule_statements.ScheduleFilter()
    reader = Reader()
    updated_since = reader.time(given(filter.updated_since), "filter", "updatedSince")
    reader.finish()
    return schedule_statements.ScheduleFilter(
        agent_ids=_keys(Kind.AGENT, filter.agent_ids),
        states=_tuple(filter.states),
        search=given(filter.search),
        labels=tuple((label.key, label.value) for label in given(filter.labels) or ()),
        clock_statuses=_tuple(filter.clock_status),
        last_run_statuses=_tuple(filter.last_run_status),
        include_deleted=bool(filter.include_deleted),
        created_by=given(filter.created_by),
        updated_since=updated_since,
    )


def run_filter(filter: RunFilter | None) -> runs.RunFilter:
    """Raises `InvalidInput`."""
    if filter is None or filter is ABSENT:
        return runs.RunFilter()
    reader = Reader()
    fire_from = reader.time(given(filter.fire_from), "filter", "fireFrom")
    fire_to = reader.time(given(filter.fire_to), "filter", "fireTo")
    reader.finish()
    return runs.RunFilter(
        schedule_ids=_keys(Kind.SCHEDULE, filter.schedule_ids),
        agent_ids=_keys(Kind.AGENT, filter.agent_ids),
        statuses=_tuple(filter.statuses),
        triggers=_tuple(filter.triggers),
        fire_from=fire_from,
        fire_to=fire_to,
    )


def _tuple(values: list[T] | None) -> tuple[T, ...] | None:
    values = given(values)
    return None if values is None else tuple(values)


def _keys(kind: Kind, ids: list[strawberry.ID] | None) -> tuple[UUID, ...] | None:
    given_ids = _tuple(ids)
    return None if given_ids is None else tuple(key_of(kind, each) for each in given_ids)
