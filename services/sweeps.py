"""The full sweep: every clock of the namespace against every row, whoever has edited, paused or deleted it.

Lists come from visibility and are a moment behind, so they only raise a suspicion; describe confirms it, and
`Reconciler.reconcile` puts it right. A list does not show the catch-up window or the action: for these, some clocks are
described in every sweep, the longest unchecked first.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Uuid, any_, bindparam, literal, literal_column, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from services import schedule_rows
from services.clock import Clock, TemporalAway
from services.clock_list import ClockList, Entry
from services.clock_spec import desired_listed_form
from services.database import Database
from services.errors import InvalidInput, Unavailable
from services.many_calls import of_each
from services.reconcile import Outcome, Reconciler
from services.schedule import Columns, Schedule, ScheduleState
from services.statements import Statement
from services.strays import LEAST_AGE, Strays
from services.tables import schedules

log = structlog.get_logger(__name__)

PAGE = 500
DESCRIBED = 100
"""How many clocks are described in each sweep though nothing is suspicious about them."""

T = TypeVar("T")
R = TypeVar("R")


_PAGE = Statement(
    select(*schedule_rows.COLUMNS)
    .where(schedules.c.deleted_at.is_(None), schedules.c.id > bindparam("last"))
    .order_by(schedules.c.id)
    .limit(literal_column(str(PAGE)))
)
_BY_ID = Statement(select(*schedule_rows.COLUMNS).where(schedules.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))))


class FindingKind(StrEnum):
    PENDING = "PENDING"
    REFUSED = "REFUSED"
    MISSING = "MISSING"
    DRIFTED = "DRIFTED"
    STRAY = "STRAY"


@dataclass(frozen=True, slots=True)
class Finding:
    """A clock that is not what it should be, confirmed by a strong read."""

    kind: FindingKind
    schedule_id: UUID
    name: str | None
    text: str


class Sweeper:
    """One instance a process: it remembers which clocks are another installation's.

    `described` is how many clocks it describes each time though nothing is suspicious about them; None for all.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        clocks: ClockList,
        reconciler: Reconciler,
        *,
        described: int | None = DESCRIBED,
        least_age: timedelta = LEAST_AGE,
    ) -> None:
        self._database = database
        self._clocks = clocks
        self._reconciler = reconciler
        self._described = described
        self._strays = Strays(database, clock, least_age)

    async def sweep(self) -> list[Finding]:
        """Look, and put right what is found, but for what the dirty loop is at; that is what was found.

        Raises `TemporalAway` and `Unavailable`.
        """
        findings = [each for each in await self.look() if each.kind not in (FindingKind.PENDING, FindingKind.REFUSED)]
        for finding in findings:
            log.warning(
                "A clock is not what it should be",
                action="sweep",
                kind=finding.kind,
                schedule_id=str(finding.schedule_id),
                found=finding.text,
            )
        await _each(self.put_right, findings)
        return findings

    async def look(self) -> list[Finding]:
        """All that differs, with nothing written to a clock. Raises `TemporalAway` and `Unavailable`."""
        # The list before the rows: a clock is never there before its row.
        listed = await self._clocks.all()
        unchecked = await self._longest_unchecked()
        findings, live = [], set()
        async for page in self._pages():
            live |= {schedule.id for schedule in page}
            findings += [found for schedule in page if (found := _waiting(schedule)) is not None]
            applied = [schedule for schedule in page if schedule.clock.applied_version == schedule.version]
            suspects = [each for each in applied if each.id in unchecked or _is_suspect(each, listed.get(each.id))]
            findings += await self._confirmed(suspects)
        return findings + await self._ownerless(listed.keys() - live)

    async def put_right(self, finding: Finding) -> bool:
        """Whether it is as it should be now. Raises `TemporalAway` and `Unavailable`."""
        if finding.kind is FindingKind.STRAY:
            return await self._strays.remove(finding.schedule_id)
        return await self._reconciler.reconcile(finding.schedule_id) is Outcome.IN_SYNC

    async def _pages(self) -> AsyncIterator[list[Schedule]]:
        last = UUID(int=0)
        while True:
            rows = await self._database.reads.rows(_PAGE, {"last": last})
            yield _readable(rows)
            if len(rows) < PAGE:
                return
            last = rows[-1]["id"]

    async def _longest_unchecked(self) -> set[UUID]:
        query = (
            select(schedules.c.id)
            .where(schedules.c.deleted_at.is_(None), schedules.c.applied_version == schedules.c.version)
            .order_by(schedules.c.checked_at.asc().nulls_first())
            .limit(self._described)
        )
        async with self._database.read() as connection:
            return {row.id for row in await connection.execute(query)}

    async def _confirmed(self, suspects: Sequence[Schedule]) -> list[Finding]:
        drifts = await _each(self._reconciler.drift, suspects)
        pairs = list(zip(suspects, drifts, strict=True))
        await self._checked([schedule.id for schedule, drift in pairs if drift is None])
        return [
            Finding(FindingKind(drift.status.value), schedule.id, schedule.definition.name, drift.text)
            for schedule, drift in pairs
            if drift is not None
        ]

    async def _checked(self, ids: list[UUID]) -> None:
        if ids:
            query = update(schedules).where(schedules.c.id == any_(literal(ids, ARRAY(Uuid))))
            async with self._database.transaction() as connection:
                await connection.execute(query.values(checked_at=datetime.now(UTC)))

    async def _ownerless(self, ids: set[UUID]) -> list[Finding]:
        """Clocks without a live row: of deleted schedules, and strays."""
        rows = await self._database.reads.rows(_BY_ID, {"ids": list(ids)})
        deleted = [each for each in _readable(rows) if each.deleted_at and each.clock.applied_version == each.version]
        findings = await self._confirmed(deleted)
        for schedule_id, note in await self._strays.among(ids - {row["id"] for row in rows}):
            findings.append(Finding(FindingKind.STRAY, schedule_id, None, note))
        return findings


def _waiting(schedule: Schedule) -> Finding | None:
    if schedule.clock.applied_version == schedule.version:
        return None
    name = schedule.definition.name
    if schedule.clock.error is not None:
        return Finding(FindingKind.REFUSED, schedule.id, name, f"Temporal refused it: {schedule.clock.error}")
    versions = f"version {schedule.version} is not applied; the clock holds {schedule.clock.applied_version or 'none'}"
    return Finding(FindingKind.PENDING, schedule.id, name, f"{versions}.")


def _is_suspect(schedule: Schedule, entry: Entry | None) -> bool:
    if entry is None:
        return schedule.state(datetime.now(UTC)) is not ScheduleState.FINISHED
    return entry.version not in (None, schedule.clock.clock_version) or entry.form != _wanted_form(schedule)


def _wanted_form(schedule: Schedule) -> str | None:
    """None, which no clock has, for a row that makes no clock: describing it then says why."""
    try:
        return desired_listed_form(schedule.definition)
    except InvalidInput:
        return None


def _readable(rows: Sequence[Columns]) -> list[Schedule]:
    found = []
    for row in rows:
        try:
            found.append(schedule_rows.whole(row))
        except Exception:
            log.exception("A row cannot be read", action="sweep", schedule_id=str(row["id"]))
    return found


async def _each(do: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R | None]:
    """The results in order, None where one went wrong. A few may; where many get no answer, it is an outage."""

    async def one(item: T) -> R | None:
        try:
            return await do(item)
        except (TemporalAway, Unavailable):
            raise
        except Exception:
            log.exception("A clock is left to the next sweep", action="sweep")
            return None

    answers = await of_each(one, items)
    if answers.is_outage:
        raise answers.away[0]
    return answers.found
