"""The histories of schedules, as far as their times go, read from the revisions in pages."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Row, Select, Uuid, any_, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from services.database import Database
from services.definition import cadence_from_json
from services.due import Regime
from services.tables import schedule_revisions, schedules

log = structlog.get_logger(__name__)

PAGE = 200
_NEVER = UUID(int=0)


@dataclass(frozen=True, slots=True)
class History:
    """The regimes of a schedule from `after` on: the end of what is known to have all its runs."""

    schedule_id: UUID
    after: datetime
    regimes: tuple[Regime, ...]

    def due_by(self, now: datetime) -> datetime:
        """Up to when the clock must have brought every due time: jitter lets it take its time."""
        return now - max((regime.jitter for regime in self.regimes), default=timedelta(0))


class Histories:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, schedule_id: UUID) -> History | None:
        found = await self._read([schedule_id], None)
        return found[0] if found else None

    async def pages(self, since: datetime | None = None) -> AsyncIterator[list[History]]:
        """All schedules that may still lack a run, from their marks on, or from `since` on for all of them."""
        last = _NEVER
        while True:
            async with self._database.read() as connection:
                ids = [row.id for row in await connection.execute(_page(last, since))]
            if ids:
                yield await self._read(ids, since)
            if len(ids) < PAGE:
                return
            last = ids[-1]

    async def _read(self, ids: Sequence[UUID], since: datetime | None) -> list[History]:
        async with self._database.read() as connection:
            rows = (await connection.execute(_revisions(ids, since))).all()
        histories = []
        for schedule_id, revisions in groupby(rows, key=attrgetter("id")):
            try:
                histories.append(_history(schedule_id, list(revisions)))
            except Exception:
                log.exception("A history cannot be read", action="history", schedule_id=str(schedule_id))
        return histories


def _page(last: UUID, since: datetime | None) -> Select[Any]:
    """A deleted schedule is looked at until its mark is behind the end of it."""
    mark = _mark(since)
    unsettled = or_(schedules.c.deleted_at.is_(None), mark.is_(None), mark < schedules.c.deleted_at)
    return select(schedules.c.id).where(schedules.c.id > last, unsettled).order_by(schedules.c.id).limit(PAGE)


def _mark(since: datetime | None) -> ColumnElement[Any]:
    return schedules.c.settled_until if since is None else literal(since, schedules.c.settled_until.type)


def _revisions(ids: Sequence[UUID], since: datetime | None) -> Select[Any]:
    """The revisions that are or come into force after the mark, without the inputs, which may be large."""
    definition, later = schedule_revisions.c.definition, schedule_revisions.alias("later")
    superseded = (
        select(later.c.version)
        .where(
            later.c.schedule_id == schedule_revisions.c.schedule_id,
            later.c.version == schedule_revisions.c.version + 1,
            later.c.at <= _mark(since),
        )
        .exists()
    )
    keys = ("cadence", "startAt", "endAt", "jitterSeconds", "paused")
    return (
        select(
            schedules.c.id,
            schedules.c.deleted_at,
            _mark(since).label("mark"),
            schedule_revisions.c.at,
            *(definition[key].label(key) for key in keys),
        )
        .join(schedule_revisions, schedule_revisions.c.schedule_id == schedules.c.id)
        .where(schedules.c.id == any_(literal(list(ids), ARRAY(Uuid))), ~superseded)
        .order_by(schedules.c.id, schedule_revisions.c.version)
    )


def _history(schedule_id: UUID, rows: list[Row[Any]]) -> History:
    regimes = tuple(
        Regime(
            since=row.at,
            cadence=cadence_from_json(row.cadence),
            start_at=_time(row.startAt),
            end_at=_time(row.endAt),
            jitter=timedelta(seconds=row.jitterSeconds),
            active=not row.paused and (row.deleted_at is None or row.at < row.deleted_at),
        )
        for row in rows
    )
    return History(schedule_id, rows[0].mark or regimes[0].since, regimes)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
