"""`nextfire serve` and `nextfire worker` as processes: the whole path, and what they do while a store is away."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrations import upgrade
from nextfire.__main__ import main
from nextfire.embedded import Temporal, running_postgres, running_temporal
from nextfire.processes import free_port
from tests.agents.scripted import ScriptedAgent, full, stream
from tests.programs import Api, api, environment, program, status_of
from tests.waiting import PATIENCE, eventually, wait_until

REGISTER = """
mutation ($input: RegisterAgentInput!) {
  registerAgent(input: $input) { ... on AgentRegistered { agent { id } } ... on UserError { message } }
}"""
CREATE = """
mutation ($input: CreateScheduleInput!) {
  createSchedule(input: $input) {
    ... on ScheduleCreated { schedule { id version clock { status } live { status nextFireAt } } }
    ... on UserError { code message path }
  }
}"""
PAGE = "{ schedules { nodes { id name live { status nextFireAt } lastRun { status } } } }"
NOWHERE = "127.0.0.1:9"


def made(running: Api, url: str, cadence: object) -> dict[str, object]:
    """The schedule of a new agent at the url."""
    agent = {"name": "agent", "protocol": "SYNC", "url": url}
    agent_id = running.ask(REGISTER, input=agent)["data"]["registerAgent"]["agent"]["id"]
    wanted = {"agentId": agent_id, "name": "nightly", "cadence": cadence, "initialInput": {"content": "Go."}}
    schedule: dict[str, object] = running.ask(CREATE, input=wanted)["data"]["createSchedule"]["schedule"]
    return schedule


async def test_a_schedule_made_over_http_fires(
    database_url: str, temporal: Temporal, tmp_path: Path, scripted_agent: ScriptedAgent
) -> None:
    # given the API and a worker
    scripted_agent.always(stream(full("Done.")))
    variables = environment(database_url, temporal.address)
    with api(tmp_path, variables) as running, program("worker", tmp_path, variables) as worker:
        # when a schedule is created that is due every second
        every_second = {"interval": {"everySeconds": 1}}
        schedule = await asyncio.to_thread(made, running, scripted_agent.url, every_second)
        assert schedule["clock"] == {"status": "IN_SYNC"}
        # then its fires reach the agent, and the page tells
        await scripted_agent.received(1)

        async def delivered() -> bool | None:
            (row,) = (await asyncio.to_thread(running.ask, PAGE))["data"]["schedules"]["nodes"]
            return True if (row["lastRun"] or {}).get("status") == "DELIVERED" else None

        await eventually(delivered)
        # and both programs end by themselves when they are told to
        os.kill(worker.pid, signal.SIGTERM)
        await asyncio.to_thread(wait_until, lambda: worker.exit_code is not None)
        assert worker.exit_code == 0


def test_without_postgres_it_says_so_and_exits() -> None:
    variables = environment("postgresql://nobody@127.0.0.1:9/nothing", NOWHERE)
    for command in ("serve", "worker", "migrate"):
        ended = subprocess.run(
            [sys.executable, "-m", "nextfire", command],
            env=variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert ended.returncode == 1
        assert "Postgres does not answer at DATABASE_URL" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_without_temporal_the_api_serves_and_the_worker_waits(database_url: str, tmp_path: Path) -> None:
    variables = environment(database_url, NOWHERE)
    with api(tmp_path, variables) as running, program("worker", tmp_path, variables) as worker:
        # when a schedule is created while there is no Temporal
        schedule = made(running, "http://127.0.0.1:9", {"interval": {"everySeconds": 60}})
        # then it is kept, and everything but the live values is there
        assert schedule["clock"] == {"status": "PENDING"}
        (row,) = running.ask(PAGE)["data"]["schedules"]["nodes"]
        assert (row["name"], row["live"]) == ("nightly", {"status": "UNAVAILABLE", "nextFireAt": None})
        ready = running.get("/readyz")
        assert (ready.status_code, ready.json()["temporal"]) == (200, "unavailable")
        # and the worker says what it waits for, and still stops when told
        wait_until(lambda: "waits for it" in worker.last_lines())
        os.kill(worker.pid, signal.SIGTERM)
        wait_until(lambda: worker.exit_code is not None)
        assert worker.exit_code == 0


@pytest.mark.fault("F14")
def test_an_outage_of_postgres_is_told_and_passes_by_itself(temporal: Temporal, tmp_path: Path) -> None:
    # given a Postgres of this test's own
    port, log = free_port(), tmp_path / "postgres.log"
    with running_postgres(tmp_path / "postgres", port, log) as server:
        url = server.url("postgres")
        upgrade(url)
    with (
        running_postgres(tmp_path / "postgres", port, log) as server,
        api(tmp_path, environment(url, temporal.address)) as running,
    ):
        assert status_of(running, "/readyz") == 200
        # when it dies
        os.kill(server.child.pid, signal.SIGQUIT)
        wait_until(lambda: server.child.exit_code is not None)
        # then that is what readiness and queries say
        assert status_of(running, "/readyz") == 503
        assert status_of(running, "/healthz") == 200
        (error,) = running.ask(PAGE)["errors"]
        assert error["extensions"]["code"] == "UNAVAILABLE"
        # and when it is back, so are they
        with running_postgres(tmp_path / "postgres", port, log):
            wait_until(lambda: status_of(running, "/readyz") == 200)
            assert running.ask(PAGE)["data"]["schedules"]["nodes"] == []


@pytest.mark.fault("F6")
def test_a_schedule_waits_in_postgres_until_temporal_is_back(database_url: str, tmp_path: Path) -> None:
    port, ui = free_port(), free_port()
    variables = environment(database_url, f"127.0.0.1:{port}")
    with api(tmp_path, variables) as running, program("worker", tmp_path, variables):
        schedule = made(running, "http://127.0.0.1:9", {"cron": {"expression": "0 0 1 1 *"}})
        assert schedule["clock"] == {"status": "PENDING"}
        with running_temporal(tmp_path / "temporal", port, ui, tmp_path / "temporal.log"):
            wait_until(
                lambda: (
                    running.ask("{ schedules { nodes { clock { status } } } }")["data"]["schedules"]["nodes"]
                    == [{"clock": {"status": "IN_SYNC"}}]
                )
            )


@pytest.mark.parametrize("command", ["dev", "serve", "worker", "migrate", "schema", "secret-key", "keys"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    shown = CliRunner().invoke(main, [command, "--help"], prog_name="nextfire")
    assert shown.exit_code == 0
    assert f"nextfire {command}" in shown.output.split("Example:")[1]


def test_a_wrong_setting_is_named() -> None:
    variables = environment("postgresql://x", NOWHERE, NEXTFIRE_PORT="many")
    ended = CliRunner().invoke(main, ["serve"], env=variables)
    assert ended.exit_code == 1
    assert "NEXTFIRE_PORT" in ended.stderr


def test_without_the_flag_the_schedule_part_is_absent(database_url: str, temporal: Temporal, tmp_path: Path) -> None:
    variables = environment(database_url, temporal.address, ENABLE_AGENT_RUN_SCHEDULES="false")
    with api(tmp_path, variables) as running:
        names = {each["name"] for each in running.ask("{ __schema { types { name } } }")["data"]["__schema"]["types"]}
        assert "Agent" in names
        assert not {name for name in names if "Schedule" in name}


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_command_loads_nothing_that_only_others_use(command: str) -> None:
    # given a process that has loaded nothing yet
    load = f"import sys; from nextfire.__main__ import main; main.get_command(None, {command!r}); print(*sys.modules)"
    # when it loads a command
    loaded = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, check=True).stdout.split()
    # then it has all of that command, and not what draws tables, verifies tokens or counts in a Redis
    assert f"nextfire.commands.{command}" in loaded
    assert {"rich", "rich.console", "jwt", "limits", "nextfire.dev"}.isdisjoint(loaded)
