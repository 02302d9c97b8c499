"""The directory of one `nextfire dev`: its lock, and what it remembers from one run to the next."""

import contextlib
import fcntl
import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nextfire.processes import StackError, end_leftover, free_port, is_free, read_text


class DataDirectory:
    """The data of one `nextfire dev`, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self._state_file = path / "state.json"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the directory, made if need be, and stop what a killed run left in it.

        Raises:
            StackError: another process holds it, or it cannot be written.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "lock").open("a+")
        except OSError as error:
            raise StackError(f"The data directory {self.path} cannot be used: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(already_running(self.path, read_text(self.path / "lock"))) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            for pid_file in self.logs.glob("*.pid"):
                end_leftover(pid_file)
            yield

    def port(self, name: str, *, wish: int | None = None) -> int:
        """The port that `name` had in the run before, if that is free; else a new one: the `wish`, or any."""
        ports = self.recall("ports") or {}
        known = ports.get(name)
        if known is not None and is_free(known):
            return int(known)
        others = set(ports.values())
        port = wish if wish is not None and wish not in others and is_free(wish) else free_port()
        self.remember("ports", {**ports, name: port})
        return port

    def secret_key(self) -> str:
        """The key that seals the agents' API keys in the database: made once, 32 bytes in URL-safe base64."""
        known = self.recall("secret_key")
        if known is None:
            known = urlsafe_b64encode(os.urandom(32)).decode()
            self.remember("secret_key", known)
        return str(known)

    def recall(self, key: str) -> Any:
        """What was remembered under `key`; None if nothing was."""
        return json.loads(read_text(self._state_file) or "{}").get(key)

    def remember(self, key: str, value: object) -> None:
        """Keep a value for this run and the next ones."""
        state = json.loads(read_text(self._state_file) or "{}")
        draft = self._state_file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(json.dumps({**state, key: value}, indent=2))
        draft.replace(self._state_file)


def already_running(path: Path, pid: str) -> str:
    """The message for one that comes second."""
    return (
        f"Another `nextfire dev` (process {pid or 'unknown'}) is running with the data directory {path}.\n"
        f"Stop it first, or give this one a place of its own: nextfire dev --data-dir DIRECTORY --port PORT"
    )
