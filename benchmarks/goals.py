"""The goals, each a bound on a figure or on a ratio of two."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.results import Results

Value = Callable[[Results], float | None]


@dataclass(frozen=True)
class Goal:
    """What is wanted, and where it is found."""

    text: str
    bound: float
    value: Value
    at_least: bool = True
    unit: str = ""

    def reached(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def missed_by(self, value: float) -> float:
        """The part of the bound that is missing, or too much."""
        return abs(value - self.bound) / self.bound


def figure(workload: str, name: str, kind: str, *, scale: float = 1) -> Value:
    def value(results: Results) -> float | None:
        found = results.figure(workload, name, kind)
        return None if found is None else found * scale

    return value


def ratio(above: Value, below: Value) -> Value:
    def value(results: Results) -> float | None:
        found, of = above(results), below(results)
        return found / of if found is not None and of else None

    return value


def faster(workload: str, peer: str, ours: str = "nextfire") -> Value:
    """Our requests per second over theirs."""
    return ratio(figure(workload, ours, "per_second"), figure(workload, peer, "per_second"))


def largest(*values: Value) -> Value:
    def value(results: Results) -> float | None:
        found = [each(results) for each in values]
        return max(each for each in found if each is not None) if None not in found else None

    return value


def _slower_when_grown(kind: str) -> Value:
    return faster("growth", f"{kind}, many", f"{kind}, few")


GOALS = [
    Goal("Page of 50, to the limit", 0.65, faster("page", "limit")),
    Goal("Page of 50, to Mercurius with JIT", 1.3, faster("page", "Mercurius with JIT")),
    Goal("Page of 50, to PostGraphile", 2, faster("page", "PostGraphile")),
    Goal("Page of 50, to the REST design", 7, faster("page", "FastAPI REST")),
    Goal("The page as clients send it, to the plain one", 0.9, faster("client-page", "plain", "as clients send it")),
    Goal("One by id, to the limit", 0.6, faster("by-id", "limit")),
    Goal("One by id, to PostGraphile", 1.6, faster("by-id", "PostGraphile")),
    Goal("Live page: calls of Temporal", 1, figure("live-page", "nextfire", "list_calls"), at_least=False),
    Goal(
        "Live page, how much faster than describes",
        10,
        ratio(figure("live-page", "describes", "alone_ms"), figure("live-page", "nextfire", "alone_ms")),
    ),
    Goal(
        "Live page, our CPU",
        5,
        figure("live-page", "nextfire", "alone_cpu_us", scale=1e-3),
        at_least=False,
        unit="ms",
    ),
    Goal(
        "Live page for 64 clients: list calls a second",
        10,
        figure("crowd", "nextfire", "list_calls_per_second"),
        at_least=False,
    ),
    Goal("Update with `expectedVersion`, to the same SQL", 0.5, faster("update", "limit")),
    Goal(
        "Deferred live page: first part, to the page without live",
        1.15,
        ratio(figure("deferred", "first part", "first_ms"), figure("deferred", "without live", "first_ms")),
        at_least=False,
    ),
    Goal(
        "One event to 1,000 subscribers, the last",
        25,
        figure("subscribers", "many", "last_ms"),
        at_least=False,
        unit="ms",
    ),
    Goal("Memory of a subscriber", 32, figure("subscribers", "many", "kb_each"), at_least=False, unit="KB"),
    Goal(
        "One event to 5,000 subscribers, the last",
        120,
        figure("subscribers", "more", "last_ms"),
        at_least=False,
        unit="ms",
    ),
    Goal(
        "One event to 100 beside a stalled one, the last",
        25,
        figure("subscribers", "beside a stalled one", "last_ms"),
        at_least=False,
        unit="ms",
    ),
    Goal("Replay, events a second", 20_000, figure("replay", "nextfire", "per_second")),
    Goal(
        "100,000 schedules to 1,000, the worst of by id, page and live page",
        1.2,
        largest(*(_slower_when_grown(kind) for kind in ("by id", "page", "live page"))),
        at_least=False,
    ),
    Goal("Trusted documents, to cached ones (as fast, but for noise)", 0.97, faster("trusted", "by text", "by hash")),
    Goal("Start of `serve`", 2, figure("start", "nextfire", "seconds"), at_least=False, unit="s"),
]


def measured(results: Results) -> Iterator[tuple[Goal, float | None]]:
    """Each goal and what was found."""
    for goal in GOALS:
        yield goal, goal.value(results)
