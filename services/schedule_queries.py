"""Reading schedules, their revisions and their skips."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record
from sqlalchemy import Select, and_, select, tuple_

from services import keyset
from services import schedule_statements as statements
from services.database import Database
from services.definition import Difference, differences, from_json
from services.principals import Actor, Principal
from services.run import Run
from services.run_rows import run_of
from services.schedule import ChangeKind, Schedule
from services.schedule_statements import WHOLE, Reading, ScheduleFilter
from services.tables import schedule_revisions, schedules

BESIDE = ("skippedFires", "creator")
"""What a revision may tell of that is no part of the definition."""


@dataclass(frozen=True, slots=True)
class Along:
    """What was read along with schedules; None for what was not to be read."""

    agents: dict[UUID, tuple[Any, ...]] | None = None
    """The columns of each agent by its id: all those that `agent_of` takes, or the first few."""
    last_runs: dict[UUID, Run | None] | None = None
    """The run with the latest fire of each schedule, by the schedule's id."""
    skips: dict[UUID, tuple[datetime, ...]] | None = None
    total: int | None = None
    """How many there are beside the page as well; None too for an empty page."""


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
        self._reads = database.reads

    async def get_many(self, actor: Actor, ids: list[UUID]) -> dict[UUID, Schedule]:
        """Those of the ids that are the account's schedules, deleted ones included."""
        return await self.matching(actor, ScheduleFilter(), ids)

    async def get(self, actor: Actor, schedule_id: UUID, reading: Reading = WHOLE) -> tuple[Schedule | None, Along]:
        """The schedule of that id, deleted or not."""
        statement = statements.by_id(reading)
        rows = await self._reads.rows(statement, {"account_id": actor.account_id, "id": schedule_id})
        return (Schedule(rows[0]) if rows else None), _along(rows, reading)

    async def by_name(
        self, actor: Actor, agent_id: UUID, name: str, reading: Reading = WHOLE
    ) -> tuple[Schedule | None, Along]:
        """The live schedule of that name; a deleted one is found by its id only."""
        values = {"account_id": actor.account_id, "agent_id": agent_id, "name": name}
        rows = await self._reads.rows(statements.by_name(reading), values)
        return (Schedule(rows[0]) if rows else None), _along(rows, reading)

    async def page(
        self,
        actor: Actor,
        filter: ScheduleFilter,
        order_by: str,
        window: keyset.Window,
        reading: Reading = WHOLE,
    ) -> tuple[keyset.Page[Schedule], Along]:
        """A page in the order of a column, `name`, `created_at` or `updated_at`, in one statement."""
        names, values = statements.conditions(filter)
        statement = statements.page(names, statements.states(filter), reading, order_by, keyset.form(window))
        values |= keyset.bounds(window)
        values["account_id"] = actor.account_id
        rows = await self._reads.rows(statement, values)
        return keyset.paged(rows, window, Schedule), _along(rows, reading)

    async def count(self, actor: Actor, filter: ScheduleFilter) -> int:
        names, values = statements.conditions(filter)
        values["account_id"] = actor.account_id
        rows = await self._reads.rows(statements.count(names, statements.states(filter)), values)
        return int(rows[0]["total_count"])

    async def skipped_of(self, actor: Actor, schedule_ids: list[UUID]) -> dict[UUID, tuple[datetime, ...]]:
        """The fires to come that someone asked to skip."""
        found: dict[UUID, tuple[datetime, ...]] = dict.fromkeys(schedule_ids, ())
        values = {"account_id": actor.account_id, "ids": schedule_ids}
        for row in await self._reads.rows(statements.skipped(), values):
            found[row["schedule_id"]] += (row["fire_at"],)
        return found

    async def matching(self, actor: Actor, filter: ScheduleFilter, ids: list[UUID]) -> dict[UUID, Schedule]:
        """Those of the ids that match the filter, deleted ones included unless its states say otherwise."""
        names, values = statements.conditions(replace(filter, include_deleted=True))
        values |= {"account_id": actor.account_id, "ids": ids}
        rows = await self._reads.rows(statements.by_ids(names, statements.states(filter), WHOLE), values)
        return {row["id"]: Schedule(row) for row in rows}

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


def _along(rows: Sequence[Record], reading: Reading) -> Along:
    found_agents: dict[UUID, tuple[Any, ...]] | None = None
    last_runs: dict[UUID, Run | None] | None = None
    if reading.agent:
        of_agent = statements.place_of_agent(reading)
        found_agents = {row["agent_id"]: row[of_agent] for row in rows if row["agent.id"] is not None}
    if reading.last_run:
        of_run = statements.place_of_last_run(reading)
        last_runs = {row["id"]: run_of(row[of_run]) if row["last_run.id"] is not None else None for row in rows}
    return Along(
        agents=found_agents,
        last_runs=last_runs,
        skips={row["id"]: tuple(row["skipped"] or ()) for row in rows} if reading.skips else None,
        total=rows[0]["total_count"] if reading.total and rows else None,
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
