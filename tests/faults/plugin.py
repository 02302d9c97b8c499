"""Which tests are the fault matrix, when they run, and the table at the end.

`fault("F10")` says which fault of docs/faults.md a test shows, wherever it stands. A test that is also marked `matrix`
takes its time, and runs with `--faults` alone (`make faults`), which in turn runs nothing but faults.

The soak takes its length and its seed from here, and the seed is said before anything else.

With pytest-xdist each worker measures for itself, and hands it over at its end.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.figures import Figures

FIGURES = pytest.StashKey[Figures]()
SOAK = pytest.StashKey["Soak"]()
LEFT_OUT = pytest.StashKey[int]()


@dataclass(frozen=True)
class Soak:
    minutes: float
    seed: int


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--faults", action="store_true", help="run the whole fault matrix, and nothing else")
    group.addoption("--soak-minutes", type=float, default=0.5, help="for how long the soak breaks things at random")
    group.addoption("--soak-seed", type=int, help="which faults it chooses; another one each time by default")
    group.addoption("--faults-table", type=Path, help="where to write the table of figures as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = Figures()
    config.stash[LEFT_OUT] = 0
    seed = config.getoption("soak_seed")
    if seed is None:
        seed = getattr(config, "workerinput", {}).get("soak_seed", random.randrange(1_000_000))
    config.stash[SOAK] = Soak(config.getoption("soak_minutes"), seed)
    config.addinivalue_line("markers", "fault(name): the fault of the matrix that this test shows")
    config.addinivalue_line("markers", "matrix: takes its time, and runs with --faults alone")


def pytest_report_header(config: pytest.Config) -> str | None:
    soak = config.stash[SOAK]
    return f"soak: {soak.minutes:g} minutes, seed {soak.seed}" if config.getoption("faults") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    marker, wanted = ("fault", True) if config.getoption("faults") else ("matrix", False)
    left_out = [item for item in items if (item.get_closest_marker(marker) is not None) is not wanted]
    if left_out:
        config.stash[LEFT_OUT] = len(left_out)
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of pytest-xdist what it must not choose by itself."""
    node.workerinput["soak_seed"] = node.config.stash[SOAK].seed


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker: hand over what was measured."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["figures"] = session.config.stash[FIGURES].to_json()
        output["left_out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker has measured. One that has crashed hands nothing over."""
    output = getattr(node, "workeroutput", {})
    if "figures" in output:
        node.config.stash[FIGURES].take_over(output["figures"])
        node.config.stash[LEFT_OUT] = output["left_out"]  # each worker collects all tests


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """Where a test puts what it has measured."""
    return pytestconfig.stash[FIGURES]


@pytest.fixture(scope="session")
def soak(pytestconfig: pytest.Config) -> Soak:
    return pytestconfig.stash[SOAK]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("faults"):
        if config.stash[LEFT_OUT]:
            terminalreporter.write_line(f"{config.stash[LEFT_OUT]} fault tests are left to `make faults`.")
        return
    figures = config.stash[FIGURES]
    if figures.is_empty:
        return
    terminalreporter.section("figures of the fault matrix")
    terminalreporter.write_line(figures.as_text())
    if lacking := figures.lacking():
        terminalreporter.write_line(f"Not measured by this run: {'; '.join(lacking)}.")
    terminalreporter.section("the same in Markdown")
    terminalreporter.write_line(figures.as_markdown())
    if table := config.getoption("faults_table"):
        table.write_text(figures.as_markdown() + "\n")
