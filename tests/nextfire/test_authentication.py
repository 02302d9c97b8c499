"""Which mode the API starts in, and when it refuses to."""

import subprocess
import sys
from pathlib import Path

import pytest

from nextfire.authentication import is_loopback
from nextfire.embedded import Temporal
from tests.programs import api, environment

NOWHERE = "127.0.0.1:9"


def refused(command: str = "serve", **values: str) -> str:
    """What `nextfire serve`, or another command, says when it does not start."""
    variables = environment("postgresql://nobody@127.0.0.1:9/nothing", NOWHERE, **values)
    ended = subprocess.run(
        [sys.executable, "-m", "nextfire", command],
        env={name: value for name, value in variables.items() if value},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.2",
        "127.255.255.254",
        "::1",
        "0:0:0:0:0:0:0:1",
        "::ffff:127.0.0.1",
        "localhost",
        "LocalHost",
    ],
)
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0", "::", "", "0", "127.1", "2130706433", "10.0.0.1", "192.168.1.1", "169.254.1.1", "::ffff:0.0.0.0",
        "::ffff:10.0.0.1", "fe80::1", "localhost.example.com", "nextfire", "127.0.0.1.example.com", "127.0.0.1 ",
        "[::1]",
    ],
)  # fmt: skip
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_without_a_mode_the_choice_is_explained() -> None:
    said = refused(NEXTFIRE_AUTH="")
    assert "NEXTFIRE_AUTH" in said
    assert "nextfire keys create" in said
    assert "open" in said


def test_a_mode_that_is_none_is_named() -> None:
    said = refused(NEXTFIRE_AUTH="password")
    assert "NEXTFIRE_AUTH: Input should be 'open'" in said


def test_the_provider_s_mode_needs_a_provider() -> None:
    assert "NEXTFIRE_PROVIDER_URL must say where the provider is" in refused(NEXTFIRE_AUTH="provider")


@pytest.mark.parametrize("values", [{"NEXTFIRE_AUTH": ""}, {"NEXTFIRE_AUTH": "provider"}])
def test_a_worker_needs_the_mode_as_well(values: dict[str, str]) -> None:
    assert "NEXTFIRE_AUTH" in refused(command="worker", **values)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com"])
def test_open_is_for_loopback(host: str) -> None:
    said = refused(NEXTFIRE_AUTH="open", NEXTFIRE_HOST=host)
    assert f"NEXTFIRE_HOST={host} may be reached from other machines" in said
    assert "NEXTFIRE_OPEN_TO_NETWORK=true" in said


def test_open_says_so_and_listens_elsewhere_when_told_twice(
    database_url: str, temporal: Temporal, tmp_path: Path
) -> None:
    variables = environment(database_url, temporal.address, NEXTFIRE_HOST="0.0.0.0", NEXTFIRE_OPEN_TO_NETWORK="true")
    with api(tmp_path, variables) as running:
        assert running.ask("{ __typename }") == {"data": {"__typename": "Query"}}
        (line,) = [line for line in running.child.log.read_text().splitlines() if "open_mode" in line]
        assert "NO AUTHENTICATION" in line
        assert '"level":"warning"' in line
