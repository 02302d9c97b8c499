"""`nextfire dev` as its user runs it: as a program, stopped by signals, with real children."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from nextfire.processes import free_port
from tests.no_tls import NO_TLS
from tests.programs import PATIENT
from tests.waiting import is_alive, wait_until

STARTED = "Nextfire is running"
START_SECONDS = 300
STOP_SECONDS = 60
SCHEDULE_NAMES = "{ schedules(first: 50) { nodes { name } totalCount } agents(first: 50) { totalCount } }"


class Run:
    """One run of `nextfire dev`, with its output in a file."""

    def __init__(self, directory: Path, port: int, output: Path, **environment: str) -> None:
        self.port = port
        self._output = output
        command = [sys.executable, "-m", "nextfire", "dev", "--data-dir", str(directory)]
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **PATIENT, "NEXTFIRE_PORT": str(port), **environment},
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_for(self, text: str) -> re.Match[str]:
        """Return the first match of `text` in the output, waiting for it."""
        wait_until(lambda: re.search(text, self.output) or self.process.poll() is not None, START_SECONDS)
        found = re.search(text, self.output)
        assert found, f"It ended with {self.process.returncode} and without {text!r}:\n{self.output}"
        return found

    def children(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def ask(self, query: str) -> Any:
        with httpx.Client(trust_env=False, verify=NO_TLS) as client:
            answer = client.post(f"http://127.0.0.1:{self.port}/graphql", json={"query": query}).json()
        assert "errors" not in answer, answer
        return answer["data"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a space in its path."""
    return tmp_path_factory.mktemp("dev home") / ".nextfire"


@pytest.fixture(scope="module")
def first(home: Path) -> Iterator[Run]:
    """The first run on its data directory, started and seeded."""
    run = Run(home, free_port(), home.parent / "first.log")
    try:
        run.wait_for(STARTED)
        yield run
    finally:
        run.process.kill()
        run.process.wait()


def test_the_first_run_seeds_and_says_where_everything_is(first: Run, home: Path) -> None:
    with httpx.Client(trust_env=False, verify=NO_TLS) as client:
        assert client.get(f"http://127.0.0.1:{first.port}/readyz").status_code == 200
    state = first.ask(SCHEDULE_NAMES)
    assert state["agents"]["totalCount"] == 2
    assert state["schedules"]["totalCount"] == 4
    for expected in ("/graphql", "Temporal UI", "postgresql://", "demo-sync", "demo-async", str(home / "logs")):
        assert expected in first.output


def test_a_seeded_schedule_fires_with_a_line(first: Run) -> None:
    first.wait_for(r"\d\d:\d\d:\d\d  DELIVERED  every-20-seconds -> demo-sync  \d+ ms")


def test_a_second_start_on_the_same_data_is_refused(first: Run, home: Path) -> None:
    second = Run(home, free_port(), home.parent / "second.log")
    assert second.process.wait(START_SECONDS) == 1
    assert f"(process {first.process.pid}) is running" in second.output
    assert str(home) in second.output


def test_a_taken_port_is_named_with_the_variable_to_change(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        run = Run(tmp_path / ".nextfire", port, tmp_path / "output.log")
        assert run.process.wait(START_SECONDS) == 1
    assert f"Port {port} of 127.0.0.1 is taken" in run.output
    assert f"NEXTFIRE_PORT={port + 1}" in run.output
    assert not (tmp_path / ".nextfire" / "postgres").exists()


def test_a_stop_leaves_no_process_and_the_next_start_finds_the_data(first: Run, home: Path) -> None:
    # given
    children = first.children()
    assert len(children) >= 6
    before = json.loads((home / "state.json").read_text())
    # when
    exit_code = first.stop(signal.SIGTERM)
    # then
    assert exit_code == 0
    assert [child for child in children if is_alive(child.pid)] == []
    # when
    second = Run(home, free_port(), home.parent / "restart.log")
    try:
        second.wait_for(STARTED)
        # then
        state = second.ask(SCHEDULE_NAMES)
        assert "demonstration" not in second.output
        assert json.loads((home / "state.json").read_text())["ports"]["sync"] == before["ports"]["sync"]
        assert second.stop(signal.SIGINT) == 0
    finally:
        second.process.kill()
        second.process.wait()
    assert state["schedules"]["totalCount"] == 4


def test_a_killed_run_takes_its_children_along_and_the_next_start_works(home: Path) -> None:
    # given
    run = Run(home, free_port(), home.parent / "killed.log")
    run.wait_for(STARTED)
    children = run.children()
    # when
    run.process.kill()
    run.process.wait()
    # then
    if sys.platform == "linux":  # where the kernel tells a child of its parent's death
        wait_until(lambda: not any(is_alive(child.pid) for child in children))
    again = Run(home, free_port(), home.parent / "again.log")
    try:
        again.wait_for(STARTED)
        assert again.ask(SCHEDULE_NAMES)["schedules"]["totalCount"] == 4
        check_that_a_dead_child_ends_it(again)
    finally:
        again.process.kill()
        again.process.wait()


def check_that_a_dead_child_ends_it(run: Run) -> None:
    """Kill the worker of `run`, which must name it and take the rest along."""
    children = run.children()
    (worker,) = [child for child in children if child.cmdline()[-1] == "worker"]
    worker.kill()
    assert run.process.wait(STOP_SECONDS) == 1
    assert "worker ended unexpectedly with signal SIGKILL" in run.output
    assert "logs/worker.log" in run.output
    assert [child for child in children if is_alive(child.pid)] == []
