"""The matrix is whole: every fault that docs/faults.md names has a test, and every test names a fault of it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.figures import REPORTED, Figures, quantile
from tests.programs import environment

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"@pytest\.mark\.fault\(\"(F\d+)\"\)")
IN_TABLE = re.compile(r"^\| (F\d+) \|", re.MULTILINE)


def test_every_fault_has_a_test_and_every_test_a_fault() -> None:
    marked = {name for path in (ROOT / "tests").rglob("test_*.py") for name in NAMED.findall(path.read_text())}
    listed = IN_TABLE.findall((ROOT / "docs" / "faults.md").read_text())
    assert len(listed) == len(set(listed)) == 29
    assert marked == set(listed)


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_program_refuses_a_failpoint_that_it_does_not_know(command: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "nextfire", command],
        env=environment("postgresql://x", "127.0.0.1:9", NEXTFIRE_FAILPOINTS="after_lunch=kill"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "NEXTFIRE_FAILPOINTS" in ended.stderr
    assert "'after_lunch' is none of before_commit" in ended.stderr


def test_a_program_with_failpoints_says_so_before_all_else() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "nextfire", "serve"],
        env=environment("postgresql://nobody@127.0.0.1:9/x", "127.0.0.1:9", NEXTFIRE_FAILPOINTS="after_claim=kill"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "FAILPOINTS ARE ARMED" in ended.stderr.splitlines()[0]
    assert '"level":"critical"' in ended.stderr.splitlines()[0]


def test_the_table_holds_every_figure() -> None:
    figures = Figures()
    figures.injected("worker: killed", 2)
    figures.injected("clock: delete")
    figures.add("Due times with two runs", 0)
    for seconds in range(1, 101):
        figures.took("Heal: orphan", seconds)
    assert figures.rows() == [
        ("Faults injected", "3"),
        ("  clock: delete", "1"),
        ("  worker: killed", "2"),
        ("Due times with two runs", "0"),
        ("Heal: orphan", "p50 50.00 s, p99 99.00 s, n 100"),
    ]
    assert "| &emsp;clock: delete | 1 |" in figures.as_markdown()
    assert quantile([7.0], 0.99) == 7.0


def test_what_a_run_has_not_measured_is_named() -> None:
    figures = Figures()
    figures.add("Due times expected")
    figures.took("Heal: orphan", 1.0)
    assert figures.lacking() == [name for name in REPORTED if name not in ("Due times expected", "Heal: orphan")]


def test_what_the_workers_have_measured_is_one_table() -> None:
    figures = Figures()
    for seconds in (1.0, 3.0):
        worker = Figures()
        worker.injected("clock: delete", 2)
        worker.add("Due times with two runs", 0)
        worker.took("Heal: orphan", seconds)
        figures.take_over(json.loads(json.dumps(worker.to_json())))
    assert figures.rows() == [
        ("Faults injected", "4"),
        ("  clock: delete", "4"),
        ("Due times with two runs", "0"),
        ("Heal: orphan", "p50 1.00 s, p99 3.00 s, n 2"),
    ]
