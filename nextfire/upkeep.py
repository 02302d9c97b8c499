"""What the worker does by itself, on demand: `nextfire reconcile` and `nextfire audit`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from nextfire.settings import Settings
from nextfire.temporal import temporal_client
from nextfire.wiring import foundation
from nextfire.worker import auditor, sweeper
from services.clock import TemporalAway
from services.clock_leases import LeaseLost
from services.sweeps import Finding, Sweeper

Say = Callable[[str], None]


async def reconcile(settings: Settings, say: Say, *, dry_run: bool) -> bool:
    """Find every clock that is not as its row wants it, and put it right unless `dry_run`; whether all are right now.

    Raises `TemporalAway` and `Unavailable`.
    """
    async with foundation(settings, await temporal_client(lazy=True)) as base:
        sweep = sweeper(base, described=None)
        findings = await sweep.look()
        for finding in findings:
            say(f"{finding.schedule_id} {finding.name or '(no row)'} {finding.kind}: {finding.text}")
        if dry_run or not findings:
            say(f"{_clocks(len(findings))} would be changed." if findings else "Every clock is as its row wants it.")
            return not findings
        right = [await _put_right(sweep, finding, say) for finding in findings]
        say(f"{_clocks(sum(right))} put right, {len(right) - sum(right)} left.")
        return all(right)


async def _put_right(sweep: Sweeper, finding: Finding, say: Say) -> bool:
    try:
        if await sweep.put_right(finding):
            return True
        reason = "another process is at it, or Temporal refuses it"
    except (TemporalAway, LeaseLost) as error:
        reason = str(error) or "it took too long"
    say(f"{finding.schedule_id} is left as it is: {reason}.")
    return False


def _clocks(count: int) -> str:
    return f"{count} clock{'' if count == 1 else 's'}"


async def audit(settings: Settings, say: Say, *, hours: float | None) -> bool:
    """Hold due times against runs, and make up for what is missing; whether nothing was wrong.

    Raises `Unavailable`.
    """
    since = None if hours is None else datetime.now(UTC) - timedelta(hours=hours)
    async with foundation(settings, await temporal_client(lazy=True)) as base:
        summary = await auditor(base).audit(since=since)
    say(f"Due times expected  {summary.expected}")
    say(f"  with a run        {summary.found}")
    say(f"  started now       {summary.started}")
    say(f"  recorded skipped  {summary.skipped}")
    say(f"  recorded missed   {summary.missed}")
    say(f"Due times run twice {summary.duplicates}")
    say(f"Lost runs restarted {'unknown: Temporal does not answer' if summary.unasked else summary.restarted}")
    if summary.failed:
        say(f"Schedules that could not be audited: {summary.failed}; the log says why.")
    return not (summary.duplicates or summary.failed or summary.unasked)
