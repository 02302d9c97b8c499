"""`python -m benchmarks`: run them, print the tables, keep the figures, and put them into the docs."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks import picture, profiling, report, results
from benchmarks.bench import Bench
from benchmarks.machine import OTHER_CORES, description, on_cores
from benchmarks.results import Results
from benchmarks.rounds import FULL, SHORT, Pace
from benchmarks.stack import ROOT, running_stack
from benchmarks.workloads import WORKLOADS

KEPT = ROOT / ".nextfire" / "benchmarks.json"
PAGE, PICTURE = ROOT / "docs" / "performance.md", ROOT / "docs" / "benchmarks.svg"


@click.command()
@click.option("--only", default="", help="Some workloads, with commas between them; all by default.")
@click.option("--rounds", type=click.IntRange(min=1), default=FULL.rounds, show_default=True)
@click.option("--no-peers", is_flag=True, help="The product and the limit only.")
@click.option("--profile", is_flag=True, help="Where a request's time goes, instead of how long it takes.")
@click.option("--check", is_flag=True, help="A few requests each over little data: do they run, do answers agree?")
def main(only: str, rounds: int, no_peers: bool, profile: bool, check: bool) -> None:
    """Measure the real server beside its peers."""
    pace = SHORT if check else replace(FULL, rounds=rounds)
    found = Results(datetime.now(UTC).date().isoformat(), description())
    names = () if profile else chosen(only)
    try:
        with benching(pace, peers=not no_peers) as bench:
            if profile or check:
                found.profile = profiling.profile(bench)
                click.echo(profiling.table(found.profile))
            run(bench, names, found)
    finally:
        # What was measured before something failed, too.
        if not check:
            keep(found)
    if check:
        require_all(found)
        click.echo("All benchmarks run, and all answers agree.")


def chosen(only: str) -> Sequence[str]:
    names = only.split(",") if only else [*WORKLOADS]
    if unknown := {*names} - {*WORKLOADS}:
        raise click.BadParameter(f"There is no {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}.")
    return names


@contextmanager
def benching(pace: Pace, *, peers: bool) -> Iterator[Bench]:
    """Everything that is needed, and nothing left behind."""
    with (
        tempfile.TemporaryDirectory(prefix="nextfire-bench-") as directory,
        on_cores(OTHER_CORES),
        running_stack(Path(directory)) as stack,
        closing(Bench(stack, pace, peers)) as bench,
    ):
        yield bench


def run(bench: Bench, names: Sequence[str], found: Results) -> None:
    """Measure one workload after the other, and show each as soon as it is there."""
    for name in names:
        figures = WORKLOADS[name](bench)
        found.workloads[name] = figures
        click.echo(f"\n{name}\n\n{report.workload_table(name, figures)}")


def require_all(found: Results) -> None:
    """Every table and the picture can be made, whatever was measured."""
    report.markdown(found)
    picture.svg(found)


def keep(found: Results) -> None:
    """Put the figures beside those of earlier runs, and all of them into the docs."""
    everything = results.merged(results.read(KEPT), found)
    results.write(KEPT, everything)
    report.put_into(PAGE, everything)
    PICTURE.write_text(picture.svg(everything))
    click.echo(f"\n{report.goals_table(everything)}")


if __name__ == "__main__":
    main()
