"""The figures as tables, for the terminal and for docs/performance.md."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.goals import Goal, measured
from benchmarks.profiling import table
from benchmarks.results import Figures, Results

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
COLUMNS = {
    "per_second": ("per second", "{:,.0f}"),
    "cpu_us": ("CPU, µs", "{:,.0f}"),
    "p50_ms": ("p50, ms", "{:,.1f}"),
    "p99_ms": ("p99, ms", "{:,.1f}"),
}
OTHERS = {
    "first_ms": ("first part, ms", "{:,.1f}"),
    "alone_ms": ("alone, ms", "{:,.1f}"),
    "alone_cpu_us": ("alone, CPU µs", "{:,.0f}"),
    "list_calls": ("list calls each", "{:,.1f}"),
    "list_calls_per_second": ("list calls a second", "{:,.1f}"),
    "subscribers": ("subscribers", "{:,.0f}"),
    "last_ms": ("to the last, ms", "{:,.1f}"),
    "kb_each": ("KB each", "{:,.1f}"),
    "events": ("events", "{:,.0f}"),
    "seconds": ("seconds", "{:,.2f}"),
}
FIRST_PARTS_OF = frozenset({"deferred"})
"""Where the time to the first part says something."""


def markdown(results: Results) -> str:
    """Everything that was measured."""
    parts = [f"Measured on {results.date}: {results.machine}.", goals_table(results)]
    parts += [
        f"### {name}\n\n{workload_table(name, figures)}" for name, figures in results.workloads.items() if figures
    ]
    if results.profile:
        parts.append(f"### Where the time goes\n\n{table(results.profile)}")
    return "\n\n".join(parts)


def goals_table(results: Results) -> str:
    rows = [_goal_row(goal, value) for goal, value in measured(results)]
    return "\n".join(["| what | goal | measured | |", "|---|---|---|---|", *rows])


def _goal_row(goal: Goal, value: float | None) -> str:
    sign = "≥" if goal.at_least else "≤"
    bound = f"{sign} {goal.bound:,g} {goal.unit}".strip()
    if value is None:
        return f"| {goal.text} | {bound} | not measured | |"
    verdict = "reached" if goal.reached(value) else f"**missed by {goal.missed_by(value):.0%}**"
    found = f"{_shown(value)} {goal.unit}".strip()
    return f"| {goal.text} | {bound} | {found} | {verdict} |"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def workload_table(workload: str, figures: Mapping[str, Figures]) -> str:
    """One row for each contestant, with its ratio to the limit where that ran too."""
    columns = [*_columns(workload, figures)]
    limit = figures.get("limit", {}).get("per_second")
    heads = ["", *(title for _, title, _ in columns), *(["to the limit"] if limit else [])]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, values in figures.items():
        cells = [form.format(values[kind]) if kind in values else "" for kind, _, form in columns]
        cells += [f"{values['per_second'] / limit:.2f}"] if limit else []
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _columns(workload: str, figures: Mapping[str, Figures]) -> Iterator[tuple[str, str, str]]:
    """The kinds of figures that there are here, with titles and forms."""
    there = {kind for values in figures.values() for kind in values}
    for kind, (title, form) in (COLUMNS | OTHERS).items():
        if kind in there and (kind != "first_ms" or workload in FIRST_PARTS_OF):
            yield kind, title, form


def put_into(page: Path, results: Results) -> None:
    """Replace what the page says between the marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{markdown(results)}\n\n{END}{after}")
