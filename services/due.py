"""When a schedule was due: the due times of each version, from its commit until the next one's.

Postgres decides, so a version is in force from its commit, whenever its clock follows. What the clock of the version
before still brings until then is claimed as well; it is only not expected. This is the oracle of the fault tests.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from services.cadence import Cadence
from services.cadence import compile as compile_cadence
from services.calendar import fires
from services.cron import Spec


@dataclass(frozen=True, slots=True)
class Regime:
    """What one version of a schedule says of its times, in force from `since`."""

    since: datetime
    cadence: Cadence
    start_at: datetime | None
    end_at: datetime | None
    jitter: timedelta
    active: bool
    """Neither paused nor deleted."""


def expected_fires(regimes: Sequence[Regime], after: datetime, until: datetime) -> Iterator[datetime]:
    """Every due time strictly after `after` and up to `until` that must have a run, in order.

    `regimes` are those of successive versions, the first of which is in force at `after` or begins later.
    """
    for regime, following in pairwise([*regimes, None]):
        assert regime is not None  # noqa: S101 - only the last of the list is
        low = max(after, regime.since)
        high = until if following is None else min(until, following.since)
        if regime.active and low < high:
            last = high if regime.end_at is None else min(high, regime.end_at)
            yield from fires(_compiled(regime.cadence), low, start=regime.start_at, end=last)


@lru_cache(maxsize=16_384)
def _compiled(cadence: Cadence) -> Spec:
    """Kept, since reading a cron costs more than finding its next time."""
    return compile_cadence(cadence)
