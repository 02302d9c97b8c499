"""What was measured: figures by name, of each contestant, in each workload. Kept in a file between runs."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks.rounds import Speed

Figures = dict[str, float]


@dataclass
class Results:
    """The figures of the last run of each workload."""

    date: str = ""
    machine: str = ""
    workloads: dict[str, dict[str, Figures]] = field(default_factory=dict)
    profile: dict[str, dict[str, float]] = field(default_factory=dict)
    """Microseconds a request, by stage, by workload."""

    def figure(self, workload: str, name: str, figure: str) -> float | None:
        """None where it was not measured."""
        return self.workloads.get(workload, {}).get(name, {}).get(figure)


def of_speed(speed: Speed, **more: float) -> Figures:
    return {**asdict(speed), **more}


def read(path: Path) -> Results:
    return Results(**json.loads(path.read_text())) if path.exists() else Results()


def write(path: Path, results: Results) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(results), indent=1))


def merged(before: Results, new: Results) -> Results:
    """The new figures in place of the old; those of another machine are not comparable, and go."""
    if before.machine != new.machine:
        return new
    return replace(new, workloads={**before.workloads, **new.workloads}, profile=new.profile or before.profile)
