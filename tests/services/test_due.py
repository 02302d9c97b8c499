"""The oracle: which due times the history of a schedule implies."""

from datetime import UTC, datetime, timedelta

from services.cadence import Cadence, Cron, Interval
from services.due import Regime, expected_fires

HOURLY = Cron("0 * * * *", "UTC")
HALF_PAST = Cron("30 * * * *", "UTC")
EVERY_SECOND = Interval(timedelta(seconds=1))


def at(hour: int, minute: int = 0, second: int = 0, microsecond: int = 0) -> datetime:
    return datetime(2026, 3, 2, hour, minute, second, microsecond, tzinfo=UTC)


def regime(
    since: datetime,
    cadence: Cadence = HOURLY,
    *,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    active: bool = True,
) -> Regime:
    return Regime(since, cadence, start_at, end_at, timedelta(0), active)


def test_nothing_is_due_before_the_schedule_or_up_to_the_mark() -> None:
    regimes = [regime(at(8, 30))]
    assert list(expected_fires(regimes, at(0), at(10))) == [at(9), at(10)]
    assert list(expected_fires(regimes, at(9), at(10))) == [at(10)]
    assert list(expected_fires(regimes, at(10), at(9))) == []
    assert list(expected_fires([], at(0), at(10))) == []


def test_each_version_is_in_force_from_its_commit_to_the_next_one() -> None:
    regimes = [regime(at(8)), regime(at(10, 15), HALF_PAST), regime(at(11, 30), HOURLY)]
    assert list(expected_fires(regimes, at(8), at(13))) == [at(9), at(10), at(10, 30), at(11, 30), at(12), at(13)]


def test_a_due_time_at_the_very_commit_is_the_older_versions_and_counts_once() -> None:
    for commit in (at(9), at(9, 0, 0, 500_000)):
        regimes = [regime(at(8, 30)), regime(commit)]
        assert list(expected_fires(regimes, at(8), at(10))) == [at(9), at(10)]
    regimes = [regime(at(9), EVERY_SECOND), regime(at(9, 0, 2, 700_000), EVERY_SECOND)]
    assert list(expected_fires(regimes, at(8), at(9, 0, 4))) == [at(9, 0, second) for second in range(1, 5)]


def test_nothing_is_due_while_it_is_paused_or_deleted() -> None:
    regimes = [regime(at(8)), regime(at(9, 30), active=False), regime(at(11, 30)), regime(at(12, 30), active=False)]
    assert list(expected_fires(regimes, at(8), at(15))) == [at(9), at(12)]


def test_nothing_is_due_outside_the_window() -> None:
    regimes = [regime(at(8), start_at=at(10), end_at=at(11))]
    assert list(expected_fires(regimes, at(8), at(15))) == [at(10), at(11)]
