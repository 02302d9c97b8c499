"""The embedded servers: they start, keep their data, and leave no process behind."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from nextfire.embedded import Postgres, Temporal, knows_search_attributes, running_postgres, running_temporal
from nextfire.processes import Child, StackError, accepts, free_port, is_free
from tests.waiting import is_alive, wait_until


async def query(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@pytest.fixture
def closed_home(tmp_path: Path) -> Path:
    """A directory with a space in its name, below one that only its owner may pass, as root's home is."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    return closed / "with space"


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A directory that every user may pass; pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def test_each_test_has_a_migrated_database_of_its_own(database_url: str) -> None:
    assert await query(database_url, "SELECT to_regclass('alembic_version') IS NOT NULL")


async def test_the_session_temporal_has_the_search_attributes(temporal: Temporal) -> None:
    assert knows_search_attributes(temporal.address)


async def test_postgres_keeps_its_data_over_a_restart(closed_home: Path) -> None:
    # given
    with running_postgres(closed_home, free_port(), closed_home / "postgres.log") as first:
        await query(first.url("postgres"), "CREATE TABLE kept AS SELECT 42 AS answer")
    # when
    with running_postgres(closed_home, free_port(), closed_home / "postgres.log") as second:
        answer = await query(second.url("postgres"), "SELECT answer FROM kept")
    # then
    assert answer == 42
    assert first.child.exit_code == second.child.exit_code == 0
    assert not psutil.pid_exists(second.child.pid)


async def test_postgres_starts_where_everybody_may_pass(open_home: Path) -> None:
    with running_postgres(open_home / "postgres", free_port(), open_home / "postgres.log") as server:
        assert await query(server.url("postgres"), "SELECT 1") == 1


async def test_postgres_does_not_replace_data_whose_password_is_lost(closed_home: Path) -> None:
    with running_postgres(closed_home, free_port(), closed_home / "postgres.log"):
        pass
    (closed_home / "password").unlink()
    again = running_postgres(closed_home, free_port(), closed_home / "postgres.log")
    with pytest.raises(StackError, match="password is missing"):
        again.__enter__()
    assert (closed_home / "data" / "PG_VERSION").exists()


async def test_postgres_asks_for_its_password(postgres: Postgres) -> None:
    url = postgres.url("postgres").replace(postgres.password, "guess")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await query(url, "SELECT 1")


async def test_postgres_replaces_a_server_that_a_killed_run_left(closed_home: Path) -> None:
    # given a server whose supervisor has gone without it
    with running_postgres(closed_home, free_port(), closed_home / "postgres.log") as left:
        await query(left.url("postgres"), "CREATE TABLE kept AS SELECT 42 AS answer")
        # when
        with running_postgres(closed_home, free_port(), closed_home / "postgres.log") as server:
            # then
            assert not is_alive(left.child.pid)
            assert await query(server.url("postgres"), "SELECT answer FROM kept") == 42


async def test_postgres_ignores_the_pid_file_of_a_reused_pid(closed_home: Path) -> None:
    # given
    with running_postgres(closed_home, free_port(), closed_home / "postgres.log"):
        pass
    (closed_home / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{closed_home / 'data'}\n")
    # when
    with running_postgres(closed_home, free_port(), closed_home / "postgres.log") as server:
        # then
        assert await query(server.url("postgres"), "SELECT 1") == 1


async def test_temporal_restarts_on_its_data_and_replaces_a_leftover(closed_home: Path) -> None:
    # given
    log = closed_home / "temporal.log"
    with running_temporal(closed_home, free_port(), free_port(), log) as left:
        # when
        with running_temporal(closed_home, free_port(), free_port(), log) as second:
            # then
            assert not is_alive(left.child.pid)
            assert knows_search_attributes(second.address)
        assert not psutil.pid_exists(second.child.pid)
    assert (closed_home / "temporal.db").exists()
    assert not (closed_home / "temporal.pid").exists()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = running_postgres(tmp_path, int(taken.getsockname()[1]), tmp_path / "postgres.log")
        with pytest.raises(StackError, match=r"(?s)Postgres ended with exit code 1.*could not bind"):
            server.__enter__()


def test_a_child_that_ignores_signals_is_killed(tmp_path: Path) -> None:
    # given
    script = "from signal import *; signal(SIGTERM, SIG_IGN); print('up', flush=True); pause()"
    child = Child("deaf", [sys.executable, "-c", script], tmp_path / "deaf.log")
    child.wait_until(lambda: child.last_lines() == "up", 30)
    # when
    child.stop(signal.SIGTERM, grace_seconds=0.1)
    # then
    assert child.exit_code == -signal.SIGKILL
    assert not psutil.pid_exists(child.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_children_die_with_a_killed_parent(closed_home: Path) -> None:
    # given a process with both servers
    script = """
        import pathlib, signal, sys
        from nextfire.embedded import running_postgres, running_temporal
        from nextfire.processes import free_port
        home = pathlib.Path(sys.argv[1])
        postgres = running_postgres(home / "postgres", free_port(), home / "postgres.log")
        temporal = running_temporal(home / "temporal", free_port(), free_port(), home / "temporal.log")
        with postgres as p, temporal as t:
            print(p.child.pid, t.child.pid, flush=True)
            signal.pause()
        """
    command = [sys.executable, "-c", textwrap.dedent(script), str(closed_home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_alive(pid) for pid in pids)
        # when
        parent.kill()
    # then
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_free_port_can_be_listened_on_and_then_is_not_free() -> None:
    port = free_port()
    assert is_free(port)
    assert not accepts(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        assert accepts(port)
