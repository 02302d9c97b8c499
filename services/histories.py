"""The histories of schedules, as far as their times go, read from the revisions in pages."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Uuid, any_, bindparam, literal_column, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from services.database import Database
from services.definition import cadence_from_json
from services.due import Regime
from services.schedule import Columns
from services.statements import Statement
from services.tables import schedule_revisions, schedules
from services.transactions import Transaction

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


async def history_since(transaction: Transaction, schedule_id: UUID, since: datetime) -> History | None:
    """What a schedule was from that time on, as the caller's transaction sees it; None where it has no revision."""
    rows = await transaction.rows(_REVISIONS[False], {"ids": [schedule_id], "since": since})
    return _history(schedule_id, rows) if rows else None


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
            rows = await self._database.reads.rows(_PAGES[since is None], {"last": last, "since": since})
            ids = [row["id"] for row in rows]
            if ids:
                yield await self._read(ids, since)
            if len(ids) < PAGE:
                return
            last = ids[-1]

    async def _read(self, ids: Sequence[UUID], since: datetime | None) -> list[History]:
        rows = await self._database.reads.rows(_REVISIONS[since is None], {"ids": list(ids), "since": since})
        histories = []
        for schedule_id, revisions in groupby(rows, key=itemgetter("id")):
            try:
                histories.append(_history(schedule_id, list(revisions)))
            except Exception:
                log.exception("A history cannot be read", action="history", schedule_id=str(schedule_id))
        return histories


def _page(mark: ColumnElement[Any]) -> Statement:
    """A deleted schedule is looked at until its mark is behind the end of it."""
    unsettled = or_(schedules.c.deleted_at.is_(None), mark.is_(None), mark < schedules.c.deleted_at)
    query = select(schedules.c.id).where(schedules.c.id > bindparam("last"), unsettled)
    return Statement(query.order_by(schedules.c.id).limit(literal_column(str(PAGE))))


def _revisions(mark: ColumnElement[Any]) -> Statement:
    """The revisions that are or come into force after the mark, without the inputs, which may be large."""
    definition, later = schedule_revisions.c.definition, schedule_revisions.alias("later")
    superseded = (
        select(later.c.version)
        .where(
            later.c.schedule_id == schedule_revisions.c.schedule_id,
            later.c.version == schedule_revisions.c.version + 1,
            later.c.at <= mark,
        )
        .exists()
    )
    keys = ("cadence", "startAt", "endAt", "jitterSeconds", "paused")
    query = (
        select(
            schedules.c.id,
            schedules.c.deleted_at,
            mark.label("mark"),
            schedule_revisions.c.at,
            *(definition[key].label(key) for key in keys),
        )
        .join(schedule_revisions, schedule_revisions.c.schedule_id == schedules.c.id)
        .where(schedules.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))), ~superseded)
        .order_by(schedules.c.id, schedule_revisions.c.version)
    )
    return Statement(query)


_SETTLED_UNTIL, _SINCE = schedules.c.settled_until, bindparam("since", type_=schedules.c.settled_until.type)
_PAGES = {True: _page(_SETTLED_UNTIL), False: _page(_SINCE)}
_REVISIONS = {True: _revisions(_SETTLED_UNTIL), False: _revisions(_SINCE)}
"""By whether each schedule's own mark is taken."""


def _history(schedule_id: UUID, rows: Sequence[Columns]) -> History:
    regimes = tuple(
        Regime(
            since=row["at"],
            cadence=cadence_from_json(row["cadence"]),
            start_at=_time(row["startAt"]),
            end_at=_time(row["endAt"]),
            jitter=timedelta(seconds=row["jitterSeconds"]),
            active=not row["paused"] and (row["deleted_at"] is None or row["at"] < row["deleted_at"]),
        )
        for row in rows
    )
    return History(schedule_id, rows[0]["mark"] or regimes[0].since, regimes)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
