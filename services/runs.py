"""Reading runs, their attempts, tasks and messages."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Uuid,
    and_,
    any_,
    bindparam,
    column,
    func,
    literal_column,
    or_,
    select,
)

from services import keyset, run_rows
from services.database import Database
from services.principals import Actor
from services.run import Attempt, Message, Run, RunStatus, RunTrigger, Task, TaskCancellation
from services.statements import Statement
from services.tables import attempts, messages, runs, task_cancellations, tasks

PERCENTILES = (0.5, 0.95)

_BY_IDS = Statement(
    select(*run_rows.COLUMNS).where(
        runs.c.account_id == bindparam("account_id"), runs.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))
    )
)


@lru_cache(maxsize=128)
def _latest_of(count: int) -> Statement:
    """The count stands in the text: with a parameter for it Postgres takes it for a tenth of the table."""
    ids = bindparam("ids", type_=ARRAY(Uuid))
    wanted = func.unnest(ids).table_valued(column("id", Uuid)).render_derived(name="wanted")
    latest = (
        select(*run_rows.COLUMNS)
        .where(runs.c.schedule_id == wanted.c.id, runs.c.account_id == bindparam("account_id"))
        .order_by(runs.c.fire_at.desc(), runs.c.id.desc())
        .limit(literal_column(str(count)))
        .lateral("latest")
    )
    query = select(latest).select_from(wanted).join(latest, literal_column("true"))
    return Statement(query.order_by(latest.c.schedule_id, latest.c.fire_at.desc(), latest.c.id.desc()))


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Of each list any value matches; between them all must. Times are of the fire, `fire_to` excluded."""

    schedule_ids: tuple[UUID, ...] | None = None
    agent_ids: tuple[UUID, ...] | None = None
    statuses: tuple[RunStatus, ...] | None = None
    triggers: tuple[RunTrigger, ...] | None = None
    fire_from: datetime | None = None
    fire_to: datetime | None = None
    readable: "ReadableRuns | None" = None
    """The runs that the caller may see; None where that is all of its account."""


@dataclass(frozen=True, slots=True)
class ReadableRuns:
    """Runs of these schedules, and runs without a schedule of these agents; None where all of them are."""

    schedules: frozenset[UUID] | None
    agents: frozenset[UUID] | None


@dataclass(frozen=True, slots=True)
class RunStats:
    """Counts of a schedule's runs, and how long after their time they were delivered."""

    total: int
    delivered: int
    skipped: int
    missed: int
    failed: int
    p50_latency_ms: int | None
    p95_latency_ms: int | None


class Runs:
    """Every call is for one actor and sees that actor's account only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_many(self, actor: Actor, ids: list[UUID]) -> dict[UUID, Run]:
        rows = await self._database.reads.rows(_BY_IDS, {"account_id": actor.account_id, "ids": ids})
        return {row["id"]: run_rows.run_of(row[:]) for row in rows}

    async def last_of(self, actor: Actor, schedule_ids: list[UUID]) -> dict[UUID, Run]:
        """The run with the latest fire of each schedule, in one statement."""
        return {key: latest[0] for key, latest in (await self.latest_of(actor, schedule_ids, 1)).items()}

    async def latest_of(self, actor: Actor, schedule_ids: list[UUID], count: int) -> dict[UUID, list[Run]]:
        """At most `count` runs of each schedule that has any, the latest fire first, in one statement."""
        values = {"account_id": actor.account_id, "ids": schedule_ids}
        found: dict[UUID, list[Run]] = {}
        for row in await self._database.reads.rows(_latest_of(count), values):
            found.setdefault(row["schedule_id"], []).append(run_rows.run_of(row[:]))
        return found

    async def page(self, actor: Actor, filter: RunFilter, window: keyset.Window) -> keyset.Page[Run]:
        """A page in the order of the fire's time."""
        async with self._database.read() as connection:
            order = (runs.c.fire_at, runs.c.id)
            return await keyset.page(connection, _filtered(actor, filter), order, window, run_rows.to_run)

    async def count(self, actor: Actor, filter: RunFilter) -> int:
        async with self._database.read() as connection:
            return await keyset.count(connection, _filtered(actor, filter))

    async def attempts_of(self, actor: Actor, run_ids: list[UUID]) -> dict[UUID, list[Attempt]]:
        """The attempts of runs, in their order."""
        query = (
            select(attempts)
            .join(runs, runs.c.id == attempts.c.run_id)
            .where(runs.c.account_id == actor.account_id, attempts.c.run_id.in_(run_ids))
            .order_by(attempts.c.run_id, attempts.c.n)
        )
        found: dict[UUID, list[Attempt]] = {run_id: [] for run_id in run_ids}
        async with self._database.read() as connection:
            for row in await connection.execute(query):
                found[row.run_id].append(run_rows.to_attempt(row))
        return found

    async def tasks(self, actor: Actor, ids: list[UUID]) -> dict[UUID, Task]:
        query = select(*run_rows.TASK_COLUMNS).where(tasks.c.account_id == actor.account_id, tasks.c.id.in_(ids))
        async with self._database.read() as connection:
            return {row.id: run_rows.to_task(row) for row in await connection.execute(query)}

    async def cancellations_of(self, actor: Actor, task_ids: list[UUID]) -> dict[UUID, TaskCancellation]:
        """Of these tasks, those that the agent was asked to stop."""
        query = (
            select(*run_rows.CANCELLATION_COLUMNS)
            .join(tasks, tasks.c.id == task_cancellations.c.task_id)
            .where(task_cancellations.c.task_id.in_(task_ids), tasks.c.account_id == actor.account_id)
        )
        async with self._database.read() as connection:
            return {row.task_id: run_rows.to_cancellation(row) for row in await connection.execute(query)}

    async def messages(self, actor: Actor, task_id: UUID, window: keyset.Window) -> keyset.Page[Message]:
        """A page of the messages of a task, in their sequence."""
        async with self._database.read() as connection:
            order = (messages.c.sequence, messages.c.id)
            return await keyset.page(connection, _messages(actor, task_id), order, window, run_rows.to_message)

    async def count_messages(self, actor: Actor, task_id: UUID) -> int:
        async with self._database.read() as connection:
            return await keyset.count(connection, _messages(actor, task_id))

    async def stats(self, actor: Actor, schedule_id: UUID, since: datetime | None) -> RunStats:
        late = func.greatest(0, func.extract("epoch", runs.c.delivered_at - runs.c.fire_at) * 1000)
        query = select(
            func.count().label("total"),
            *(
                func.count().filter(runs.c.status == status).label(status.lower())
                for status in (RunStatus.DELIVERED, RunStatus.SKIPPED, RunStatus.MISSED, RunStatus.FAILED)
            ),
            *(
                func.percentile_cont(fraction).within_group(late).filter(runs.c.delivered_at.is_not(None))
                for fraction in PERCENTILES
            ),
        ).where(runs.c.account_id == actor.account_id, runs.c.schedule_id == schedule_id)
        if since is not None:
            query = query.where(runs.c.fire_at >= since)
        async with self._database.read() as connection:
            *counts, p50, p95 = (await connection.execute(query)).one()
        return RunStats(*counts, *(None if late is None else round(late) for late in (p50, p95)))


def _messages(actor: Actor, task_id: UUID) -> Select[Any]:
    return (
        select(*run_rows.MESSAGE_COLUMNS)
        .join(tasks, tasks.c.id == messages.c.task_id)
        .where(tasks.c.account_id == actor.account_id, messages.c.task_id == task_id)
    )


def _is_readable(readable: ReadableRuns) -> ColumnElement[bool]:
    scheduled: ColumnElement[bool] = runs.c.schedule_id.is_not(None)
    single: ColumnElement[bool] = runs.c.schedule_id.is_(None)
    if readable.schedules is not None:
        scheduled = keyset.among(runs.c.schedule_id, readable.schedules)
    if readable.agents is not None:
        single = and_(single, keyset.among(runs.c.agent_id, readable.agents))
    return or_(scheduled, single)


def _filtered(actor: Actor, filter: RunFilter) -> Select[Any]:
    query = select(*run_rows.COLUMNS).where(runs.c.account_id == actor.account_id)
    if filter.readable is not None:
        query = query.where(_is_readable(filter.readable))
    for wanted, values in (
        (runs.c.schedule_id, filter.schedule_ids),
        (runs.c.agent_id, filter.agent_ids),
        (runs.c.status, filter.statuses),
        (runs.c.trigger, filter.triggers),
    ):
        if values is not None:
            query = query.where(wanted.in_(values))
    if filter.fire_from is not None:
        query = query.where(runs.c.fire_at >= filter.fire_from)
    if filter.fire_to is not None:
        query = query.where(runs.c.fire_at < filter.fire_to)
    return query
