"""Reading schedules, their revisions and their skips."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, ScalarSelect, Select, and_, false, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import aggregate_order_by

from services import keyset, schedule_rows
from services.database import Database
from services.definition import Difference, differences, from_json
from services.principals import Actor, Principal
from services.run import RunStatus
from services.schedule import ChangeKind, ClockStatus, Schedule, ScheduleState
from services.tables import runs, schedule_revisions, schedules, skipped_fires

BESIDE = ("skippedFires", "creator")
"""What a revision may tell of that is no part of the definition."""


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
class Revision:
    """One change of a schedule: who, when, why, and each field before and after."""

    schedule_id: UUID
    version: int
    kind: ChangeKind
    at: datetime
    by: Principal | None
    note: str | None
    changed: tuple[Difference, ...]


class ScheduleQueries:
    """Every call is for one actor and sees that actor's account only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_many(self, actor: Actor, ids: list[UUID]) -> dict[UUID, Schedule]:
        """Those of the ids that are the account's schedules, deleted ones included."""
        query = _of(actor).where(schedules.c.id.in_(ids))
        async with self._database.read() as connection:
            return {row.id: schedule_rows.to_schedule(row) for row in await connection.execute(query)}

    async def by_name(self, actor: Actor, agent_id: UUID, name: str) -> Schedule | None:
        """The live schedule of that name; a deleted one is found by its id only."""
        query = _of(actor).where(
            schedules.c.agent_id == agent_id, schedules.c.name == name, schedules.c.deleted_at.is_(None)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        return schedule_rows.to_schedule(row) if row else None

    async def page(
        self, actor: Actor, filter: ScheduleFilter, order_by: str, window: keyset.Window
    ) -> keyset.Page[Schedule]:
        """A page in the order of a column: `name`, `created_at` or `updated_at`."""
        async with self._database.read() as connection:
            order = (schedules.c[order_by], schedules.c.id)
            return await keyset.page(connection, _filtered(actor, filter), order, window, schedule_rows.to_schedule)

    async def page_with_skips(
        self, actor: Actor, filter: ScheduleFilter, order_by: str, window: keyset.Window
    ) -> tuple[keyset.Page[Schedule], dict[UUID, tuple[datetime, ...]]]:
        """The same page, and what `skipped_of` answers for its schedules, in one statement."""
        skips: dict[UUID, tuple[datetime, ...]] = {}

        def make(row: Row[Any]) -> Schedule:
            skips[row.id] = tuple(row.skipped or ())
            return schedule_rows.to_schedule(row)

        query = _filtered(actor, filter).add_columns(_skipped().label("skipped"))
        async with self._database.read() as connection:
            order = (schedules.c[order_by], schedules.c.id)
            page = await keyset.page(connection, query, order, window, make)
        return page, skips

    async def count(self, actor: Actor, filter: ScheduleFilter) -> int:
        async with self._database.read() as connection:
            return await keyset.count(connection, _filtered(actor, filter))

    async def skipped_of(self, actor: Actor, schedule_ids: list[UUID]) -> dict[UUID, tuple[datetime, ...]]:
        """The fires to come that someone asked to skip."""
        query = (
            select(skipped_fires.c.schedule_id, skipped_fires.c.fire_at)
            .join(schedules, schedules.c.id == skipped_fires.c.schedule_id)
            .where(
                schedules.c.account_id == actor.account_id,
                skipped_fires.c.schedule_id.in_(schedule_ids),
                skipped_fires.c.fire_at > func.now(),
            )
            .order_by(skipped_fires.c.fire_at)
        )
        found: dict[UUID, tuple[datetime, ...]] = dict.fromkeys(schedule_ids, ())
        async with self._database.read() as connection:
            for row in await connection.execute(query):
                found[row.schedule_id] += (row.fire_at,)
        return found

    async def matching(self, actor: Actor, filter: ScheduleFilter, ids: list[UUID]) -> dict[UUID, Schedule]:
        """Those of the ids that match the filter, deleted ones included unless its states say otherwise."""
        query = _filtered(actor, replace(filter, include_deleted=True)).where(schedules.c.id.in_(ids))
        async with self._database.read() as connection:
            return {row.id: schedule_rows.to_schedule(row) for row in await connection.execute(query)}

    async def revisions(self, actor: Actor, schedule_id: UUID, window: keyset.Window) -> keyset.Page[Revision]:
        """A page of the changes of a schedule, each with what differs from the one before."""
        query = _revisions(actor).where(schedule_revisions.c.schedule_id == schedule_id)
        async with self._database.read() as connection:
            order = (schedule_revisions.c.version, schedule_revisions.c.schedule_id)
            return await keyset.page(connection, query, order, window, _to_revision)

    async def count_revisions(self, actor: Actor, schedule_id: UUID) -> int:
        query = (
            select(schedule_revisions.c.version)
            .join(schedules, schedules.c.id == schedule_revisions.c.schedule_id)
            .where(schedules.c.account_id == actor.account_id, schedules.c.id == schedule_id)
        )
        async with self._database.read() as connection:
            return await keyset.count(connection, query)

    async def revisions_at(self, actor: Actor, keys: list[tuple[UUID, int]]) -> dict[tuple[UUID, int], Revision]:
        """The changes that made these versions."""
        query = _revisions(actor).where(
            tuple_(schedule_revisions.c.schedule_id, schedule_revisions.c.version).in_(keys)
        )
        async with self._database.read() as connection:
            return {(row.schedule_id, row.version): _to_revision(row) for row in await connection.execute(query)}


def _revisions(actor: Actor) -> Select[Any]:
    """Each with the definition before it."""
    earlier = schedule_revisions.alias("earlier")
    is_earlier = and_(
        earlier.c.schedule_id == schedule_revisions.c.schedule_id,
        earlier.c.version == schedule_revisions.c.version - 1,
    )
    return (
        select(schedule_revisions, earlier.c.definition.label("before"))
        .join(schedules, schedules.c.id == schedule_revisions.c.schedule_id)
        .outerjoin(earlier, is_earlier)
        .where(schedules.c.account_id == actor.account_id)
    )


def _skipped() -> ScalarSelect[Any]:
    """The fires to come of a schedule's row that someone asked to skip, as an array."""
    fire_at = skipped_fires.c.fire_at
    return (
        select(func.array_agg(aggregate_order_by(fire_at, fire_at)))
        .where(skipped_fires.c.schedule_id == schedules.c.id, fire_at > func.now())
        .scalar_subquery()
    )


def _to_revision(row: Any) -> Revision:
    before = from_json(row.before) if row.before is not None else None
    changed = differences(before, from_json(row.definition))
    for field in BESIDE:
        if beside := row.definition.get(field):
            changed.append(Difference(field, beside["before"], beside["after"]))
    return Revision(
        schedule_id=row.schedule_id,
        version=row.version,
        kind=ChangeKind(row.kind),
        at=row.at,
        by=Principal.from_json(row.by) if row.by else None,
        note=row.note,
        changed=tuple(changed),
    )


def _of(actor: Actor) -> Select[Any]:
    return select(*schedule_rows.COLUMNS).where(schedules.c.account_id == actor.account_id)


def _filtered(actor: Actor, filter: ScheduleFilter) -> Select[Any]:
    query = _of(actor)
    if filter.readable is not None:
        query = query.where(keyset.among(schedules.c.id, filter.readable))
    wants_deleted = filter.include_deleted or ScheduleState.DELETED in (filter.states or ())
    if not wants_deleted:
        query = query.where(schedules.c.deleted_at.is_(None))
    if filter.states is not None:
        query = query.where(or_(false(), *(_STATES[state] for state in filter.states)))
    if filter.agent_ids is not None:
        query = query.where(schedules.c.agent_id.in_(filter.agent_ids))
    if filter.search:
        query = query.where(
            or_(
                schedules.c.name.icontains(filter.search, autoescape=True),
                schedules.c.description.icontains(filter.search, autoescape=True),
            )
        )
    for key, value in filter.labels:
        query = query.where(schedules.c.labels.contains([{"key": key, "value": value}]))
    if filter.clock_statuses is not None:
        query = query.where(schedules.c.clock_status.in_(filter.clock_statuses))
    if filter.last_run_statuses is not None:
        query = query.where(_last_run_status().in_(filter.last_run_statuses))
    if filter.created_by is not None:
        creator = schedules.c.creator_principal
        query = query.where(
            or_(
                creator["user_id"].astext == filter.created_by,
                creator["service_account_id"].astext == filter.created_by,
            )
        )
    if filter.updated_since is not None:
        query = query.where(schedules.c.updated_at >= filter.updated_since)
    return query


def _last_run_status() -> Any:
    return (
        select(runs.c.status)
        .where(runs.c.schedule_id == schedules.c.id)
        .order_by(runs.c.fire_at.desc(), runs.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )


_live = schedules.c.deleted_at.is_(None)
_finished = and_(schedules.c.finishes_at.is_not(None), schedules.c.finishes_at < func.now())
_going_on = and_(_live, or_(schedules.c.finishes_at.is_(None), schedules.c.finishes_at >= func.now()))
_STATES = {
    ScheduleState.DELETED: schedules.c.deleted_at.is_not(None),
    ScheduleState.FINISHED: and_(_live, _finished),
    ScheduleState.PAUSED: and_(_going_on, schedules.c.paused),
    ScheduleState.ACTIVE: and_(_going_on, schedules.c.paused.is_(False)),
}
"""The same rules as `Schedule.state`, for filters."""
