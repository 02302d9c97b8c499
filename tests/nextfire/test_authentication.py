"""Which mode the API starts in, and when it refuses to."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click import ClickException

from nextfire.authentication import NotConfigured, checked_mode, chosen_mode, is_loopback
from nextfire.commands.environment import load_settings
from nextfire.embedded import Temporal
from nextfire.settings import AuthMode, Settings
from tests.programs import api, environment
from tests.stack import settings

NOWHERE = "127.0.0.1:9"
NO_DATABASE = "postgresql://nobody@127.0.0.1:9/nothing"


def refused(command: str) -> str:
    """What `nextfire {command}` says when it does not start because no mode is chosen."""
    variables = environment(NO_DATABASE, NOWHERE)
    del variables["NEXTFIRE_AUTH"]
    ended = subprocess.run(
        [sys.executable, "-m", "nextfire", command],
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stderr


def reason(check: Callable[[Settings], object] = checked_mode, **values: Any) -> str:
    """Why the API does not start with these settings."""
    with pytest.raises(NotConfigured) as caught:
        check(settings(NO_DATABASE, **values))
    return str(caught.value)


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


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_without_a_mode_the_choice_is_explained(command: str) -> None:
    said = refused(command)
    assert "NEXTFIRE_AUTH" in said
    assert "nextfire keys create" in said
    assert "open" in said


def test_a_mode_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", NO_DATABASE)
    monkeypatch.setenv("NEXTFIRE_AUTH", "password")
    with pytest.raises(ClickException) as caught:
        load_settings()
    assert "NEXTFIRE_AUTH: Input should be 'open'" in caught.value.message


@pytest.mark.parametrize("check", [checked_mode, chosen_mode], ids=["API", "worker"])
def test_the_provider_s_mode_needs_a_provider(check: Callable[[Settings], object]) -> None:
    assert "NEXTFIRE_PROVIDER_URL must say where the provider is" in reason(check, auth=AuthMode.PROVIDER)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com"])
def test_open_is_for_loopback(host: str) -> None:
    said = reason(host=host)
    assert f"NEXTFIRE_HOST={host} may be reached from other machines" in said
    assert "NEXTFIRE_OPEN_TO_NETWORK=true" in said


def test_open_says_so_and_listens_elsewhere_when_told_twice(
    database_url: str, temporal: Temporal, tmp_path: Path
) -> None:
    variables = environment(database_url, temporal.address, NEXTFIRE_HOST="0.0.0.0", NEXTFIRE_OPEN_TO_NETWORK="true")
    with api(tmp_path, variables) as running:
        assert running.ask("{ __typename }")["data"] == {"__typename": "Query"}
        (line,) = [line for line in running.child.log.read_text().splitlines() if "open_mode" in line]
        assert "NO AUTHENTICATION" in line
        assert '"level":"warning"' in line
