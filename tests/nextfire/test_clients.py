"""What frontends use, against the whole product: Apollo Client, urql, graphql-ws and graphql-sse, run by node."""

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nextfire.embedded import Postgres, Temporal, running_temporal
from nextfire.processes import free_port
from tests.databases import Databases
from tests.nextfire.transport.node import install_clients, node_command, run_node
from tests.programs import READY_SECONDS, Api, answers, api, environment, program
from tests.waiting import eventually, wait_until

ROOT = Path(__file__).parents[2]
SNIPPETS = re.findall(r"^```js\n(.*?)^```", (ROOT / "docs/transport.md").read_text(), re.MULTILINE | re.DOTALL)
KINDS = ["apollo", "apollo-older", "urql", "urql-sse"]
STREAMS = {
    "apollo": 'multipart/mixed; boundary="-"',
    "apollo-older": 'multipart/mixed; boundary="-"',
    "urql": "text/event-stream; charset=utf-8",
    "urql-sse": "text/event-stream; charset=utf-8",
}
REGISTER = """
mutation ($input: RegisterAgentInput!) {
  registerAgent(input: $input) { ... on AgentRegistered { agent { id } } }
}"""
CREATE = """
mutation ($input: CreateScheduleInput!) {
  createSchedule(input: $input) { ... on ScheduleCreated { schedule { id clock { status } } } }
}"""
TRIGGER = """
mutation ($id: ID!) { triggerSchedule(input: {id: $id}) { ... on ScheduleTriggered { run { id } } } }"""
PAGE = """{
  schedules(first: 3) { nodes { id name ... @defer(label: "live") { live { status nextFireAt nextFires(first: 2) } } } }
}"""
OVERLAPPING = """{
  schedules(first: 2) {
    nodes {
      id
      ... @defer(label: "a") { live { status paused } agent { id name } }
      ... @defer(label: "b") { live { status nextFireAt } agent { id protocol } lastRun { status } }
    }
    totalCount
  }
}"""

ONE = '{ schedule(by: {id: "%s"}) { id name ... @defer { live { status fireCount } } } }'
WRONG = PAGE.replace("first: 2", "first: 1000")


@dataclass(frozen=True)
class Told:
    """What one kind of client sent, and what its application saw."""

    kind: str
    schedule_id: str
    page: dict[str, Any]
    overlapping: dict[str, Any]
    one: dict[str, Any]
    wrong: dict[str, Any]


@pytest.fixture(scope="module")
def clients() -> Path:
    return install_clients()


@pytest.fixture(scope="module")
async def running(
    postgres: Postgres, databases: Databases, temporal: Temporal, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """A `nextfire serve` with three schedules."""
    variables = environment(postgres.url(await databases.take()), temporal.address)
    with api(tmp_path_factory.mktemp("clients"), variables) as served:
        made(served)
        yield served


def made(running: Api, count: int = 3) -> list[str]:
    """The ids of new schedules that do not fire by themselves."""
    agent = {"name": "agent", "protocol": "SYNC", "url": "http://127.0.0.1:9"}
    agent_id = running.ask(REGISTER, input=agent)["data"]["registerAgent"]["agent"]["id"]
    cadence = {"cron": {"expression": "0 0 1 1 *"}}
    wanted = {"agentId": agent_id, "cadence": cadence, "initialInput": {"content": "Go."}}
    created = [
        running.ask(CREATE, input={**wanted, "name": f"schedule-{number}"})["data"]["createSchedule"]["schedule"]
        for number in range(count)
    ]
    return [each["id"] for each in created]


async def asked(clients: Path, kind: str, running: Api, *queries: str) -> list[Any]:
    """What a client sent and saw, for each query."""
    found: list[Any] = plain(await run_node(clients, "incremental.mjs", kind, f"{running.url}/graphql", *queries))
    return found


@pytest.fixture(scope="module", params=KINDS)
async def told(request: pytest.FixtureRequest, running: Api, clients: Path) -> Told:
    """What one kind of client saw of each query, in a process for all of them."""
    schedule_id = running.ask("{ schedules(first: 1) { nodes { id } } }")["data"]["schedules"]["nodes"][0]["id"]
    queries = {"page": PAGE, "overlapping": OVERLAPPING, "one": ONE % schedule_id, "wrong": WRONG}
    found = await in_time(lambda: asked(clients, request.param, running, *queries.values()))
    return Told(request.param, schedule_id, *found)


async def in_time(answered: Callable[[], Awaitable[Any]]) -> Any:
    """An answer for which Temporal had time enough, which it need not have on a busy machine."""

    async def found() -> Any | None:
        answer = await answered()
        return None if "TIMED_OUT" in json.dumps(answer) else answer

    return await eventually(found, 120)


async def whole(running: Api, query: str) -> Any:
    """The data of a query as one has it at once."""
    at_once = re.sub(r"@defer(\(.*?\))?", "", query)
    return await in_time(lambda: asyncio.to_thread(lambda: running.ask(at_once)["data"]))


def plain(value: Any) -> Any:
    """A value without the type names that Apollo Client asks for by itself."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items() if name != "__typename"}
    return [plain(each) for each in value] if isinstance(value, list) else value


def nodes(state: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = state["data"]["schedules"]["nodes"]
    return found


async def test_live_fields_of_a_page_come_later(running: Api, told: Told) -> None:
    # then the page was there before its live fields, and in the end it is the page as one would have it at once
    assert [(each["status"], each["type"]) for each in told.page["sent"]] == [(200, STREAMS[told.kind])]
    assert [sorted(node) for node in nodes(told.page["seen"][0])] == [["id", "name"]] * 3
    assert told.page["seen"][-1] == {"data": await whole(running, PAGE), "errors": []}
    assert {node["live"]["status"] for node in nodes(told.page["seen"][-1])} == {"AVAILABLE"}


async def test_overlapping_parts_are_merged_in_their_places(running: Api, told: Told) -> None:
    assert told.overlapping["seen"][-1] == {"data": await whole(running, OVERLAPPING), "errors": []}
    assert sorted(nodes(told.overlapping["seen"][-1])[0]["live"]) == ["nextFireAt", "paused", "status"]


async def test_live_fields_of_one_schedule_come_later(told: Told) -> None:
    first, last = told.one["seen"][0], told.one["seen"][-1]
    schedule = {"id": told.schedule_id, "name": first["data"]["schedule"]["name"]}
    assert first == {"data": {"schedule": schedule}, "errors": []}
    live = {"status": "AVAILABLE", "fireCount": 0}
    assert last == {"data": {"schedule": {**schedule, "live": live}}, "errors": []}


async def test_an_error_of_a_later_part_is_shown_with_its_code(told: Told) -> None:
    first, last = told.wrong["seen"][0], told.wrong["seen"][-1]
    assert first["errors"] == []
    assert {error["extensions"]["code"] for error in last["errors"]} == {"INVALID_INPUT"}
    assert [node["name"] for node in nodes(last)] == [node["name"] for node in nodes(first)]


async def test_live_fields_say_why_there_are_none_while_temporal_is_away(
    database_url: str, tmp_path: Path, clients: Path
) -> None:
    # given an API whose Temporal freezes, and then dies
    port = free_port()
    with (
        running_temporal(tmp_path / "temporal", port, free_port(), tmp_path / "temporal.log") as temporal,
        api(tmp_path, environment(database_url, temporal.address)) as running,
    ):
        made(running)
        os.kill(temporal.child.pid, signal.SIGSTOP)
        try:
            # when
            frozen = [await asked(clients, kind, running, PAGE) for kind in ("apollo", "urql")]
        finally:
            os.kill(temporal.child.pid, signal.SIGCONT)
        os.kill(temporal.child.pid, signal.SIGKILL)
        wait_until(lambda: temporal.child.exit_code is not None)
        dead = [await asked(clients, kind, running, PAGE) for kind in ("apollo", "urql")]

    # then the page is whole both times, with the reason
    for (answer,) in [*frozen, *dead]:
        first, last = answer["seen"][0], answer["seen"][-1]
        assert (first["errors"], last["errors"], len(nodes(last))) == ([], [], 3)
        assert [sorted(node) for node in nodes(first)] == [["id", "name"]] * 3
        # A connection on which nothing is heard for long is given up, so a server that froze may be away as well.
        assert {node["live"]["status"] for node in nodes(last)} <= {"UNAVAILABLE", "TIMED_OUT"}
        assert {node["live"]["nextFireAt"] for node in nodes(last)} == {None}


class Snippet:
    """A block of the documentation, run by node."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        assert self._process.stdout is not None
        text = (await asyncio.wait_for(self._process.stdout.readline(), 60)).decode()
        if not text:
            assert self._process.stderr is not None
            raise AssertionError((await self._process.stderr.read()).decode())
        return text.strip()


@asynccontextmanager
async def snippet(importing: str, clients: Path, url: str) -> AsyncIterator[Snippet]:
    """The one block that imports the package, with the server's own address."""
    (code,) = (block for block in SNIPPETS if f"from '{importing}'" in block)
    host = url.removeprefix("http://")
    # Node has no WebSocket of its own before version 22; browsers do.
    prelude = "import { WebSocket as Ws } from 'ws'; globalThis.WebSocket ??= Ws;\n"
    process = await asyncio.create_subprocess_exec(
        *node_command(), "--input-type=module", "--eval", prelude + code.replace("127.0.0.1:8000", host),
        cwd=clients, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Snippet(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("package", ["@apollo/client", "@urql/core"])
async def test_the_documentation_shows_how_parts_are_read(running: Api, clients: Path, package: str) -> None:
    async with snippet(package, clients, running.url) as shown:
        text = ""
        while "nextFireAt" not in text:
            text += await shown.line()
    assert text.startswith("streaming")
    assert "complete" in text


@pytest.mark.parametrize("package", ["graphql-ws", "graphql-sse"])
async def test_the_documentation_shows_how_to_follow_without_a_gap(
    database_url: str, temporal: Temporal, tmp_path: Path, clients: Path, package: str
) -> None:
    # given an API on a port of its own, and a client that follows it
    variables = {**environment(database_url, temporal.address), "NEXTFIRE_PORT": str(free_port())}
    with serving(tmp_path, variables) as first:
        (schedule_id, *_) = made(first, 1)
        async with snippet(package, clients, first.url) as shown:
            # when the API is killed and comes back, with events before, meanwhile and after
            await triggered_when_followed(first, schedule_id, shown)
            os.kill(first.child.pid, signal.SIGKILL)
            wait_until(lambda: first.child.exit_code is not None)
            with serving(tmp_path, variables) as second:
                after = [triggered(second, schedule_id) for _ in range(3)]
                heard = [await shown.line() for _ in after]

    # then it has all of them, each once and in order
    assert heard == [f"MANUAL {run_id}" for run_id in after]


def triggered(running: Api, schedule_id: str) -> str:
    return str(running.ask(TRIGGER, id=schedule_id)["data"]["triggerSchedule"]["run"]["id"])


async def triggered_when_followed(running: Api, schedule_id: str, shown: Snippet) -> None:
    """Trigger until the client follows, which takes its cursor at a moment of its own choice."""
    hearing = asyncio.create_task(shown.line())
    runs: list[str] = []
    while not hearing.done():
        runs.append(await asyncio.to_thread(triggered, running, schedule_id))
        await asyncio.wait({hearing}, timeout=0.5)
    heard = await hearing
    assert heard in [f"MANUAL {run_id}" for run_id in runs]
    for run_id in runs[runs.index(heard.removeprefix("MANUAL ")) + 1 :]:
        assert await shown.line() == f"MANUAL {run_id}"


@contextmanager
def serving(logs: Path, variables: dict[str, str]) -> Iterator[Api]:
    """`nextfire serve` on the port that the variables name, once it answers."""
    with program("serve", logs, variables) as child:
        running = Api(child, f"http://127.0.0.1:{variables['NEXTFIRE_PORT']}")
        child.wait_until(lambda: answers(running), READY_SECONDS)
        yield running
