"""Stores of a test's own, to be killed, frozen, and brought back with their data or without."""

import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from nextfire.embedded import Postgres, Temporal, running_postgres, running_temporal
from nextfire.processes import Child, accepts, free_port
from tests.conftest import FAST_SETTINGS
from tests.waiting import wait_until


class OwnServer:
    """What both stores have in common: a port that stays, and a process that comes and goes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.kills = 0
        self._child: Child | None = None
        self._running = contextlib.ExitStack()

    def kill(self) -> None:
        """SIGKILL, and return when nothing of it is left."""
        child = self._alive()
        tree = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
        child.send(signal.SIGKILL)
        wait_until(lambda: child.exit_code is not None and not accepts(self.port))
        psutil.wait_procs(tree, timeout=30)
        assert child.exit_code == -signal.SIGKILL
        self.kills += 1
        self._running.close()

    def freeze(self) -> None:
        """SIGSTOP to all of it: connections stay, and nobody answers."""
        for process in self._tree():
            process.suspend()

    def thaw(self) -> None:
        for process in self._tree():
            process.resume()

    def close(self) -> None:
        if self._child is not None and self._child.exit_code is None:
            self.thaw()
        self._running.close()

    def _alive(self) -> Child:
        assert self._child is not None
        assert self._child.exit_code is None
        return self._child

    def _tree(self) -> list[psutil.Process]:
        root = psutil.Process(self._alive().pid)
        return [root, *root.children(recursive=True)]


class OwnTemporal(OwnServer):
    """A Temporal server on a port of its own."""

    def __init__(self, directory: Path, options: Sequence[str]) -> None:
        super().__init__(directory)
        self._options = options
        self._lives = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *, empty: bool = False) -> Temporal:
        """Start it on its data, or on none; blocks until it answers."""
        self._lives += 1 if empty or not self._lives else 0
        data, log = self.directory / f"temporal-{self._lives}", self.directory / "temporal.log"
        self._running = contextlib.ExitStack()
        server = self._running.enter_context(running_temporal(data, self.port, free_port(), log, options=self._options))
        self._child = server.child
        return server


class OwnPostgres(OwnServer):
    """A Postgres server on a port of its own."""

    url: str = ""
    """Of the database that is always there."""

    def start(self) -> Postgres:
        """Start it on its data; blocks until it answers."""
        log = self.directory / "postgres.log"
        self._running = contextlib.ExitStack()
        server = self._running.enter_context(
            running_postgres(self.directory / "postgres", self.port, log, settings=FAST_SETTINGS)
        )
        self._child, self.url = server.child, server.url("postgres")
        return server


@contextlib.contextmanager
def own_temporal(directory: Path, options: Sequence[str]) -> Iterator[OwnTemporal]:
    server = OwnTemporal(directory, options)
    try:
        server.start()
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def own_postgres(directory: Path) -> Iterator[OwnPostgres]:
    server = OwnPostgres(directory)
    try:
        server.start()
        yield server
    finally:
        server.close()
