"""Which tests are the fault matrix, when they run, and the table at the end.

`fault("F10")` says which fault of docs/faults.md a test shows, wherever it stands. A test that is also marked `matrix`
takes its time, and runs with `--faults` alone (`make faults`), which in turn runs nothing but faults.
"""

from pathlib import Path

import pytest

from tests.faults.figures import Figures

FIGURES = pytest.StashKey[Figures]()
LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--faults", action="store_true", help="run the whole fault matrix, and nothing else")
    group.addoption("--faults-table", type=Path, help="where to write the table of figures as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = Figures()
    config.stash[LEFT_OUT] = 0
    config.addinivalue_line("markers", "fault(name): the fault of the matrix that this test shows")
    config.addinivalue_line("markers", "matrix: takes its time, and runs with --faults alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    marker, wanted = ("fault", True) if config.getoption("faults") else ("matrix", False)
    left_out = [item for item in items if (item.get_closest_marker(marker) is not None) is not wanted]
    if left_out:
        config.stash[LEFT_OUT] = len(left_out)
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """Where a test puts what it has measured."""
    return pytestconfig.stash[FIGURES]


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
    terminalreporter.section("the same in Markdown")
    terminalreporter.write_line(figures.as_markdown())
    if table := config.getoption("faults_table"):
        table.write_text(figures.as_markdown() + "\n")
