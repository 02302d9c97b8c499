"""Child processes of the embedded stack: each in a process group of its own, and never left behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

LAUNCHER = Path(__file__).with_name("launch.py")
POLL_SECONDS = 0.05


class StackError(Exception):
    """A part of the embedded stack did not start or did not stay; the message is for who started it."""


class Child:
    """A running child process, with its output in a log file and its identity in a pid file beside that.

    It dies with this process, even when that is killed: on Linux the kernel sends it `death_signal` then, and
    elsewhere the next one with the same log finds it by the pid file and stops it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        user: str = "",
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.log = log
        self._pid_file = log.with_suffix(".pid")
        end_leftover(self._pid_file)
        self._process = start(command, log, environment, directory, user, death_signal)
        self._pid_file.write_text(f"{self.pid} {psutil.Process(self.pid).create_time()}")

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for the signal that ended it; None while it runs."""
        return self._process.poll()

    def last_lines(self, count: int = 15) -> str:
        """The end of the log."""
        return "\n".join(read_text(self.log).splitlines()[-count:])

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Return when `ready()` is true.

        Raises:
            StackError: the process ended before that, or it took longer than `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if self.exit_code is not None:
                raise StackError(f"{self.name} ended with {ending(self.exit_code)}.{self.excerpt()}")
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} was not ready within {seconds:.0f} s.{self.excerpt()}")
            time.sleep(POLL_SECONDS)

    def excerpt(self) -> str:
        """The end of the log as a part of a message."""
        return f" The end of {self.log}:\n{self.last_lines() or '(empty)'}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        self._process.send_signal(number)

    def stop(self, *signals: signal.Signals, grace_seconds: float = 10) -> None:
        """End it: with each of `signals` in turn, `grace_seconds` apart, and its whole group with SIGKILL."""
        for number in signals or (signal.SIGTERM,):
            if self.exit_code is None:
                self.send(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(grace_seconds)
        # The group as well, so that no grandchild outlives the child that forgot it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._pid_file.unlink(missing_ok=True)


@contextlib.contextmanager
def running(child: Child, *signals: signal.Signals, grace_seconds: float = 10) -> Iterator[Child]:
    """Stop `child` at the end of the block, whatever happens in it."""
    try:
        yield child
    finally:
        child.stop(*signals, grace_seconds=grace_seconds)


def start(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None,
    directory: Path | None,
    user: str,
    death_signal: signal.Signals,
) -> subprocess.Popen[bytes]:
    """Start `command` by the launcher, with its output in `log`; the log of the last run is kept too."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name(f"{log.name}.previous"))
    launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(death_signal)), user]
    with log.open("wb") as output:
        return subprocess.Popen(
            [*launch, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=directory,
            process_group=0,
        )


def ending(exit_code: int) -> str:
    """The exit code in words."""
    return f"signal {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"


def end_leftover(pid_file: Path) -> None:
    """Stop the process that an earlier run left behind, if the pid file names one that is still the same."""
    pid, _, created = read_text(pid_file).partition(" ")
    if pid and created:
        # A pid alone may be that of any other process by now.
        end_process(int(pid), lambda process: abs(process.create_time() - float(created)) < 1)
    pid_file.unlink(missing_ok=True)


def end_process(pid: int, is_ours: Callable[[psutil.Process], bool]) -> None:
    """Stop a process that is no child of this one, if `is_ours` recognises it."""
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(pid)
        if is_ours(process):
            # SIGINT and not SIGTERM, at which Postgres would wait for its clients to leave.
            for number in (signal.SIGINT, signal.SIGKILL):
                process.send_signal(number)
                if ends(process, 10):
                    return


def ends(process: psutil.Process, seconds: float) -> bool:
    """Whether the process ends within `seconds`; one that only waits for its parent to notice has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(POLL_SECONDS)
    return False


def read_text(path: Path) -> str:
    """The text of a file; empty when there is none."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As servers do it, so that connections in TIME_WAIT do not count; and without SO_REUSEPORT, so that a
        # listener that has it, as Temporal does, is noticed rather than joined.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A free port of 127.0.0.1, which the kernel gives to nobody else for the next minute.

    A connection to it is made and closed from the server's side, which leaves the port in TIME_WAIT: it can
    be had by its number then, but is not handed out.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            client.recv(1)
    return port


def accepts(port: int) -> bool:
    """Whether somebody listens on `port` of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
