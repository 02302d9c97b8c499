"""The workloads. Each is a function of a `Bench` that gives the figures of every contestant."""

from collections.abc import Callable

from benchmarks.bench import Bench
from benchmarks.results import Figures
from benchmarks.workloads import feed, installation, live, reads, writes

WORKLOADS: dict[str, Callable[[Bench], dict[str, Figures]]] = {
    "page": reads.page,
    "client-page": reads.client_page,
    "by-id": reads.by_id,
    "last-run": reads.last_run,
    "last-three": reads.last_three,
    "live-page": live.live_page,
    "crowd": live.crowd,
    "deferred": live.deferred,
    "trusted": installation.trusted,
    "update": writes.update,
    "create": writes.create,
    "trigger": writes.trigger,
    "subscribers": feed.subscribers,
    "replay": feed.replay,
    "growth": installation.growth,
    "start": installation.start,
}
