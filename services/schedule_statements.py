"""The statements that read schedules, compiled once for each form of them and kept: which conditions, which order,
which columns, and what is read along with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    FromClause,
    Select,
    Subquery,
    Text,
    and_,
    any_,
    bindparam,
    false,
    func,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, aggregate_order_by

from services import agents, keyset, run_rows, schedule_rows
from services.run import RunStatus
from services.schedule import ClockStatus, ScheduleState
from services.statements import Statement
from services.tables import agents as agents_table
from services.tables import runs, schedules, skipped_fires

STATEMENTS_KEPT = 256


@dataclass(frozen=True, slots=True)
class ScheduleFilter:
    """Of each list any value matches, but every label must; between the fields all must."""

    agent_ids: tuple[UUID, ...] | None = None
    states: tuple[ScheduleState, ...] | None = None
    search: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    clock_statuses: tuple[ClockStatus, ...] | None = None
    last_run_statuses: tuple[RunStatus, ...] | None = None
    include_deleted: bool = False
    created_by: str | None = None
    updated_since: datetime | None = None
    readable: frozenset[UUID] | None = None
    """The schedules that the caller may see; None where that is all of its account."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read of schedules, and along with them: their parts, agents, latest runs, skipped fires, and how many
    there are."""

    parts: frozenset[str] = schedule_rows.ALL_PARTS
    agent: bool = False
    whole_agent: bool = True
    """Or else what names it: `agents.NAMING_COLUMNS`."""
    last_run: bool = False
    skips: bool = False
    total: bool = False


WHOLE = Reading()


def conditions(filter: ScheduleFilter) -> tuple[frozenset[str], dict[str, Any]]:
    """The names of the conditions that the filter sets, and their values."""
    values: dict[str, Any] = {}
    if filter.agent_ids is not None:
        single = len(filter.agent_ids) == 1
        values["agent_id" if single else "agent_ids"] = filter.agent_ids[0] if single else filter.agent_ids
    if filter.search:
        values["search"] = f"%{_escaped(filter.search)}%"
    if filter.labels:
        values["labels"] = [{"key": key, "value": value} for key, value in filter.labels]
    for name in ("clock_statuses", "last_run_statuses", "created_by", "updated_since"):
        if (value := getattr(filter, name)) is not None:
            values[name] = value
    if filter.readable is not None:
        values["readable"] = [*filter.readable]
    names = set(values)
    if not filter.include_deleted and ScheduleState.DELETED not in (filter.states or ()):
        names.add("live")
    return frozenset(names), values


def states(filter: ScheduleFilter) -> frozenset[ScheduleState] | None:
    return None if filter.states is None else frozenset(filter.states)


@lru_cache(maxsize=STATEMENTS_KEPT)
def page(
    names: frozenset[str],
    wanted: frozenset[ScheduleState] | None,
    reading: Reading,
    order_by: str,
    window: keyset.Window,
) -> Statement:
    """A page in the order of a column; `window` is the form of one."""
    of_page = _where(select(*_columns(reading, _counted(names, wanted))), names, wanted)
    of_page = keyset.bounded(of_page, (schedules.c[order_by], schedules.c.id), window)
    if not (reading.agent or reading.last_run):
        return Statement(of_page)
    # What is joined is joined to the rows of the page, however Postgres sorts them.
    within = of_page.subquery("page")
    query = _along(within, reading)
    return Statement(query.order_by(*keyset.sorted_as((within.c[order_by], within.c.id), window)))


@lru_cache(maxsize=STATEMENTS_KEPT)
def by_ids(names: frozenset[str], wanted: frozenset[ScheduleState] | None, reading: Reading) -> Statement:
    """Those of the ids that match, in no order."""
    query = _where(select(*_columns(reading, None)), names, wanted).where(_any("ids", schedules.c.id))
    return Statement(_along(query.subquery("page"), reading) if reading.agent or reading.last_run else query)


@lru_cache(maxsize=STATEMENTS_KEPT)
def by_id(reading: Reading) -> Statement:
    query = select(*_columns(reading, None)).where(_mine, schedules.c.id == bindparam("id"))
    return Statement(_along(query.subquery("page"), reading) if reading.agent or reading.last_run else query)


@lru_cache(maxsize=STATEMENTS_KEPT)
def by_name(reading: Reading) -> Statement:
    """The live one of an agent and a name."""
    query = select(*_columns(reading, None)).where(
        _mine,
        schedules.c.agent_id == bindparam("agent_id"),
        schedules.c.name == bindparam("name"),
        schedules.c.deleted_at.is_(None),
    )
    return Statement(_along(query.subquery("page"), reading) if reading.agent or reading.last_run else query)


@lru_cache(maxsize=STATEMENTS_KEPT)
def count(names: frozenset[str], wanted: frozenset[ScheduleState] | None) -> Statement:
    return Statement(_count(names, wanted))


@lru_cache(maxsize=1)
def skipped() -> Statement:
    """The fires to come of these schedules that someone asked to skip, the first one first."""
    fire_at = skipped_fires.c.fire_at
    query = select(skipped_fires.c.schedule_id, fire_at).join(schedules, schedules.c.id == skipped_fires.c.schedule_id)
    query = query.where(_mine, _any("ids", skipped_fires.c.schedule_id), fire_at > func.now())
    return Statement(query.order_by(fire_at))


def _count(names: frozenset[str], wanted: frozenset[ScheduleState] | None) -> Select[Any]:
    return _where(select(func.count().label("total_count")).select_from(schedules), names, wanted)


def _counted(names: frozenset[str], wanted: frozenset[ScheduleState] | None) -> ColumnElement[Any]:
    return _count(names, wanted).correlate(None).scalar_subquery().label("total_count")


def _columns(reading: Reading, counted: ColumnElement[Any] | None) -> list[ColumnElement[Any]]:
    columns: list[ColumnElement[Any]] = [*schedule_rows.columns(reading.parts)]
    if reading.skips:
        columns.append(_skipped())
    if reading.total and counted is not None:
        columns.append(counted)
    return columns


def _along(page: Subquery, reading: Reading) -> Select[Any]:
    """The rows with their agents and latest runs behind them, in this order."""
    columns: list[ColumnElement[Any]] = [*page.c]
    source: FromClause = page
    if reading.agent:
        of_page = and_(agents_table.c.id == page.c.agent_id, agents_table.c.account_id == page.c.account_id)
        source = source.outerjoin(agents_table, of_page)
        columns += [column.label(f"agent.{column.name}") for column in _of_agent(reading)]
    if reading.last_run:
        latest = (
            select(*run_rows.COLUMNS)
            .where(runs.c.schedule_id == page.c.id, runs.c.account_id == page.c.account_id)
            .order_by(runs.c.fire_at.desc(), runs.c.id.desc())
            .limit(1)
            .lateral("latest")
        )
        source = source.outerjoin(latest, true())
        columns += [latest.c[column.name].label(f"last_run.{column.name}") for column in run_rows.COLUMNS]
    return select(*columns).select_from(source)


@lru_cache(maxsize=STATEMENTS_KEPT)
def place_of_agent(reading: Reading) -> slice:
    """Where in a row the agent's columns stand."""
    start = len(_columns(reading, true() if reading.total else None))
    return slice(start, start + len(_of_agent(reading)))


@lru_cache(maxsize=STATEMENTS_KEPT)
def place_of_last_run(reading: Reading) -> slice:
    """Where in a row the columns of the latest run stand."""
    start = place_of_agent(reading).stop if reading.agent else place_of_agent(reading).start
    return slice(start, start + len(run_rows.COLUMNS))


def _of_agent(reading: Reading) -> list[Column[Any]]:
    return agents.COLUMNS if reading.whole_agent else agents.NAMING_COLUMNS


def _where(query: Select[Any], names: frozenset[str], wanted: frozenset[ScheduleState] | None) -> Select[Any]:
    query = query.where(_mine, *(_CONDITIONS[name] for name in sorted(names)))
    if wanted is None:
        return query
    return query.where(or_(false(), *(_STATES[state] for state in sorted(wanted))))


def _any(name: str, column: ColumnElement[Any]) -> ColumnElement[bool]:
    return column == any_(bindparam(name, type_=ARRAY(column.type)))


def _escaped(text: str) -> str:
    for special in "/%_":
        text = text.replace(special, f"/{special}")
    return text


def _holds(column: ColumnElement[Any]) -> ColumnElement[bool]:
    return func.lower(column).like(func.lower(bindparam("search", type_=Text)), escape="/")


def _skipped() -> ColumnElement[Any]:
    """The fires to come of a schedule's row that someone asked to skip, as an array."""
    fire_at = skipped_fires.c.fire_at
    return (
        select(func.array_agg(aggregate_order_by(fire_at, fire_at)))
        .where(skipped_fires.c.schedule_id == schedules.c.id, fire_at > func.now())
        .scalar_subquery()
        .label("skipped")
    )


def _last_run_status() -> ColumnElement[Any]:
    return (
        select(runs.c.status)
        .where(runs.c.schedule_id == schedules.c.id)
        .order_by(runs.c.fire_at.desc(), runs.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )


_mine = schedules.c.account_id == bindparam("account_id")
_live = schedules.c.deleted_at.is_(None)
_finished = and_(schedules.c.finishes_at.is_not(None), schedules.c.finishes_at < func.now())
_going_on = and_(_live, or_(schedules.c.finishes_at.is_(None), schedules.c.finishes_at >= func.now()))
_creator = schedules.c.creator_principal
_STATES = {
    ScheduleState.DELETED: schedules.c.deleted_at.is_not(None),
    ScheduleState.FINISHED: and_(_live, _finished),
    ScheduleState.PAUSED: and_(_going_on, schedules.c.paused),
    ScheduleState.ACTIVE: and_(_going_on, schedules.c.paused.is_(False)),
}
"""The same rules as `Schedule.state`, for filters."""
_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "live": _live,
    "agent_id": schedules.c.agent_id == bindparam("agent_id"),
    "agent_ids": _any("agent_ids", schedules.c.agent_id),
    "readable": _any("readable", schedules.c.id),
    "search": or_(_holds(schedules.c.name), _holds(schedules.c.description)),
    "labels": schedules.c.labels.contains(bindparam("labels", type_=JSONB)),
    "clock_statuses": _any("clock_statuses", schedules.c.clock_status),
    "last_run_statuses": _last_run_status() == any_(bindparam("last_run_statuses", type_=ARRAY(Text))),
    "created_by": or_(
        _creator["user_id"].astext == bindparam("created_by", type_=Text),
        _creator["service_account_id"].astext == bindparam("created_by", type_=Text),
    ),
    "updated_since": schedules.c.updated_at >= bindparam("updated_since", type_=TIMESTAMP(timezone=True)),
}
