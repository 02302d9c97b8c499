"""The auditor: every due time has its run, and every run comes to its end.

It holds the due times that the history of a schedule implies against its runs. What may still run is started, and the
rest is recorded as missed or skipped. Any number of auditors may be at it at once: the claim decides.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

import structlog
from sqlalchemy import Uuid, any_, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY

from services.clock import TemporalAway
from services.database import Database
from services.due import expected_fires
from services.due_fires import DueFires, Missing
from services.errors import Unavailable
from services.failpoints import Failpoint, reach
from services.histories import Histories, History
from services.lost_runs import LostRuns
from services.run import Run, RunStatus, RunTrigger
from services.starter import Pending, Starter, manual_workflow_id
from services.tables import runs
from services.wakeup import Notifier

log = structlog.get_logger(__name__)

GRACE = timedelta(seconds=60)
"""How long after its time a fire is left to the clock."""
FIRES_AT_ONCE = 100
"""Of one schedule: its row is locked while they are claimed."""
STARTS_AT_ONCE = 8
OLDEST_MARK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Summary:
    """What an audit came to. `expected` is the sum of found, started, skipped and missed, but for failed schedules."""

    expected: int = 0
    found: int = 0
    started: int = 0
    skipped: int = 0
    missed: int = 0
    restarted: int = 0
    duplicates: int = 0
    failed: int = 0
    """Schedules that could not be audited; the log says why."""
    unasked: int = 0
    """1 where Temporal did not tell which runs have lost their workflow."""

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(*(mine + yours for mine, yours in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class _Due:
    """The next due times of a schedule to be looked at; `rest` is where to go on if there are more."""

    fires: Missing
    settled: datetime
    is_news: bool
    """Whether the mark is worth writing: a schedule without a due time may keep its old one for a while."""
    rest: History | None


class Auditor:
    def __init__(self, database: Database, notifier: Notifier, starter: Starter, lost: LostRuns) -> None:
        self._database = database
        self._notifier = notifier
        self._starter = starter
        self._lost = lost
        self._histories = Histories(database)
        self._due = DueFires(database)

    async def audit(self, *, since: datetime | None = None, grace: timedelta = GRACE) -> Summary:
        """From where each schedule was left the last time, or `since` for all, up to `grace` ago.

        Raises `Unavailable`. With Temporal away, the runs are recorded all the same, and started later.
        """
        now = datetime.now(UTC) - grace
        summary = Summary()
        async for page in self._histories.pages(since):
            summary += Summary(duplicates=await self._duplicates(page))
            while page:
                done, page = await self._round(page, now, marks=since is None)
                summary += done
        summary += await self._restart()
        _say(summary)
        return summary

    async def _round(self, page: list[History], now: datetime, *, marks: bool) -> tuple[Summary, list[History]]:
        """The next few due times of each, so that none waits for another's long list; who has more of them."""
        due, failed = [], 0
        for history in page:
            try:
                due.append(_next(history, now))
            except Exception:
                log.exception("A schedule cannot be audited", action="audit", schedule_id=str(history.schedule_id))
                failed += 1
        asked = [each.fires for each in due if each.fires.fires]
        missing = await self._due.missing(asked)
        expected = sum(len(each.fires) for each in asked)
        made, broken = await self._claim(missing)
        found = expected - len(made) - sum(len(each.fires) for each in missing if each.schedule_id in broken)
        if marks:
            await self._mark([each for each in due if each.is_news and each.fires.schedule_id not in broken])
        summary = Summary(expected=expected, found=found, failed=failed + len(broken)) + _count(made)
        return summary, [each.rest for each in due if each.rest and each.fires.schedule_id not in broken]

    async def _claim(self, missing: list[Missing]) -> tuple[list[Run], set[UUID]]:
        """The runs that were made, and the schedules for which that failed."""
        made: list[Run] = []
        broken = set()
        for each in missing:
            try:
                made += await self._due.claim(each)
            except Unavailable:
                raise
            except Exception:
                log.exception("Due times cannot be claimed", action="audit", schedule_id=str(each.schedule_id))
                broken.add(each.schedule_id)
        await reach(Failpoint.AFTER_AUDIT_CLAIM)
        self._notifier.poke()
        gate = asyncio.Semaphore(STARTS_AT_ONCE)
        await asyncio.gather(*(self._start(run, gate) for run in made if run.finished_at is None))
        return made, broken

    async def _start(self, run: Run, gate: asyncio.Semaphore) -> None:
        async with gate:
            await self._starter.start_soon(Pending(run.id, manual_workflow_id(run.id), run.trigger))

    async def _mark(self, settled: list[_Due]) -> None:
        if settled:
            await self._due.mark([each.fires.schedule_id for each in settled], [each.settled for each in settled])

    async def _restart(self) -> Summary:
        try:
            return Summary(restarted=await self._lost.restart())
        except TemporalAway:
            return Summary(unasked=1)

    async def _duplicates(self, page: Sequence[History]) -> int:
        """Due times with more than one run. There can be none, which is why it is worth a look."""
        first = min((history.after for history in page), default=None)
        if first is None:
            return 0
        ids = [history.schedule_id for history in page]
        twice = (
            select(runs.c.schedule_id)
            .where(
                runs.c.schedule_id == any_(literal(ids, ARRAY(Uuid))),
                runs.c.fire_at >= first,
                runs.c.trigger == RunTrigger.SCHEDULED,
            )
            .group_by(runs.c.schedule_id, runs.c.fire_at)
            .having(func.count() > 1)
            .subquery()
        )
        async with self._database.read() as connection:
            return int((await connection.execute(select(func.count()).select_from(twice))).scalar_one())


def _next(history: History, now: datetime) -> _Due:
    until = history.due_by(now)
    fires = tuple(islice(expected_fires(history.regimes, history.after, until), FIRES_AT_ONCE))
    more = len(fires) == FIRES_AT_ONCE
    settled = fires[-1] if more else until
    rest = History(history.schedule_id, settled, history.regimes) if more else None
    is_news = bool(fires) or settled - history.after > OLDEST_MARK
    return _Due(Missing(history.schedule_id, fires), settled, is_news, rest)


def _count(made: list[Run]) -> Summary:
    missed = sum(run.status is RunStatus.MISSED for run in made)
    skipped = sum(run.status is RunStatus.SKIPPED for run in made)
    return Summary(started=len(made) - missed - skipped, skipped=skipped, missed=missed)


def _say(summary: Summary) -> None:
    if summary.started or summary.skipped or summary.missed or summary.restarted:
        log.warning(
            "Due times had no run",
            action="audit",
            started=summary.started,
            skipped=summary.skipped,
            missed=summary.missed,
            restarted=summary.restarted,
        )
    if summary.duplicates:
        log.error("Due times have two runs", action="audit", duplicates=summary.duplicates)
