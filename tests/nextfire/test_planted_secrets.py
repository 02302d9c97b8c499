"""No credential is ever stored or logged: secrets are planted in a day of traffic, and looked for everywhere."""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from nextfire.embedded import Temporal
from tests.agents.scripted import Answer, ScriptedAgent, error, full, status, stream
from tests.programs import Api, api, environment, program
from tests.provider.scripted import CHECK, ScriptedProvider, answer, principal
from tests.schema.api import creation, failures, input_type
from tests.waiting import eventually

HOURS = 24


@dataclass
class Planted:
    """Texts that nobody else has, each by where it was put."""

    texts: dict[str, str] = field(default_factory=dict)

    def new(self, place: str) -> str:
        return self.texts.setdefault(place, f"planted{uuid4().hex}")


@dataclass
class Client:
    """A caller over HTTP whose every request carries secrets."""

    running: Api
    headers: dict[str, str]

    async def post(self, query: str, **variables: Any) -> dict[str, Any]:
        response = await asyncio.to_thread(
            httpx.post,
            f"{self.running.url}/graphql",
            json={"query": query, "variables": variables},
            headers=self.headers,
            timeout=120,
            trust_env=False,
        )
        found: dict[str, Any] = response.json()
        return found

    async def change(self, mutation: str, wanted: dict[str, Any], fields: str = "") -> dict[str, Any]:
        document = f"mutation($input: {input_type(mutation)}!) {{ {mutation}(input: $input) {{"
        found = await self.post(f"{document} {failures(mutation)} {fields} }} }}", input=wanted)
        assert "errors" not in found, found
        done: dict[str, Any] = found["data"][mutation]
        return done


@pytest.fixture
def planted() -> Planted:
    return Planted()


async def test_no_planted_secret_is_stored_or_logged(
    database_url: str,
    temporal: Temporal,
    servers: Path,
    tmp_path: Path,
    planted: Planted,
    scripted_agent: ScriptedAgent,
) -> None:
    token = planted.new("authorization")
    who = principal("ada", password=planted.new("the principal's metadata"))
    async with ScriptedProvider(tokens={token: {**who, "api_key": planted.new("the principal")}}) as provider:
        variables = environment(
            database_url,
            temporal.address,
            NEXTFIRE_AUTH="provider",
            NEXTFIRE_PROVIDER_URL=provider.url,
            NEXTFIRE_LOG_LEVEL="debug",
        )
        with ExitStack() as programs:
            running = await asyncio.to_thread(programs.enter_context, api(tmp_path, variables))
            await asyncio.to_thread(programs.enter_context, program("worker", tmp_path, variables))
            client = Client(
                running,
                {
                    "authorization": f"Bearer {token}",
                    "cookie": f"session={planted.new('a cookie')}",
                    "x-api-key": planted.new("a header"),
                },
            )
            # given a day of traffic: every hour a run, and every mutation, with all that can go wrong
            await _day(client, planted, scripted_agent)
            await _failures(client, planted, provider)
        # when everything that was written is looked through
        stored = await _rows(database_url)
        logged = _files(tmp_path, "*.log")
        files = _files(servers, "*")
    # then what is to be kept is found there
    assert any(b"Write the report." in each for each in stored)
    assert all(any(action in each for each in logged) for action in (b"worker_ready", b"provider.failed"))
    assert len(scripted_agent.of("message/send")) > HOURS
    assert scripted_agent.requests[0].headers["x-agent-api-key"] == planted.texts["an agent's key"]
    # and no secret is
    assert len(planted.texts) == 12
    found = [
        (place, name)
        for place, text in planted.texts.items()
        for name, texts in (("database", stored), ("logs", logged), ("files of the servers", files))
        for each in texts
        if text.encode() in each
    ]
    assert found == []


async def _day(client: Client, planted: Planted, agent: ScriptedAgent) -> None:
    """A schedule that has run for each hour of yesterday, and all that can be done with it and its agent."""
    agent.always(stream(full("It is done.")))
    wanted = {"name": "echo", "protocol": "SYNC", "url": agent.url, "apiKey": planted.new("an agent's key")}
    registered = await client.change("registerAgent", wanted, "... on AgentRegistered { agent { id version } }")
    agent_id = registered["agent"]["id"]
    hourly = creation(agent_id, cadence={"cron": {"expression": "0 * * * *"}})
    created = await client.change("createSchedule", hourly, "... on ScheduleCreated { schedule { id version } }")
    schedule_id = str(created["schedule"]["id"])
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    times = {"from": _text(today - timedelta(days=1)), "to": _text(today - timedelta(seconds=1))}
    day = await client.change("backfillSchedule", {"id": schedule_id, **times}, "... on BackfillStarted { fires }")
    assert len(day["fires"]) == HOURS
    await eventually(partial(_delivered, client, schedule_id, HOURS), 300)
    await client.change("updateSchedule", {"id": schedule_id, "expectedVersion": 1, "description": "hourly"})
    for mutation in ("pauseSchedule", "resumeSchedule", "triggerSchedule"):
        await client.change(mutation, {"id": schedule_id})
    # What is scripted from here on is for others than the run that was triggered.
    await eventually(partial(_delivered, client, schedule_id, HOURS + 1))
    at = _text(datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=2))
    for mutation in ("skipFire", "unskipFire"):
        await client.change(mutation, {"id": schedule_id, "fireAt": at})
    # an agent that says its own key when it fails, and one whose key is another
    agent.script(error(-32000, f"Bad key {wanted['apiKey']}"))
    await _run_agent(client, agent_id, "FAILED")
    changed = {"id": agent_id, "expectedVersion": 1, "apiKey": planted.new("an agent's next key")}
    await client.change("updateAgent", changed)
    agent.script(status(401))
    run_id = await _run_agent(client, agent_id, "FAILED")
    await client.change("retryRun", {"id": run_id, "note": "once more"})
    await client.change("resolveRun", {"id": run_id, "outcome": "DELIVERED"})
    other = await client.change("createSchedule", creation(agent_id), "... on ScheduleCreated { schedule { id } }")
    await client.change("deleteSchedule", {"id": other["schedule"]["id"]})
    second = {"name": "other", "protocol": "ASYNC", "url": "http://127.0.0.1:9", "apiKey": planted.new("a third key")}
    registered = await client.change("registerAgent", second, "... on AgentRegistered { agent { id } }")
    await client.change("deleteAgent", {"id": registered["agent"]["id"]})


async def _failures(client: Client, planted: Planted, provider: ScriptedProvider) -> None:
    """Requests that are refused, and a provider that fails with secrets in what it says."""
    stranger = Client(client.running, {"authorization": f"Bearer {planted.new('a token that is refused')}"})
    assert (await stranger.post("{ agents { totalCount } }"))["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    invalid = {"name": "X", "protocol": "SYNC", "url": "no url", "apiKey": planted.new("a key that is refused") + "\n"}
    assert (await client.change("registerAgent", invalid))["__typename"] == "InvalidInput"
    assert "errors" in await client.post("{ nothing }")
    provider.broken[CHECK] = Answer(status=500, body=planted.new("an error of the provider").encode())
    failed = await client.post('{ node(id: "Agent:x") { id } agent(by: {name: "echo"}) { id } }')
    assert failed["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    provider.broken[CHECK] = answer({"detail": planted.new("a denial of the provider")}, 403)
    await client.post('{ agent(by: {name: "echo"}) { id } }')


async def _run_agent(client: Client, agent_id: str, end: str) -> str:
    wanted = {"agentId": agent_id, "initialInput": {"content": "Go."}}
    run = (await client.change("runAgent", wanted, "... on AgentRunStarted { run { id } }"))["run"]["id"]

    async def ended() -> str | None:
        found = await client.post("query($id: ID!) { run(id: $id) { status } }", id=run)
        return str(run) if found["data"]["run"]["status"] == end else None

    return await eventually(ended)


async def _delivered(client: Client, schedule_id: str, count: int) -> bool | None:
    document = "query($id: ID!) { schedule(by: {id: $id}) { runs(filter: {statuses: [DELIVERED]}) { totalCount } } }"
    found = await client.post(document, id=schedule_id)
    return True if found["data"]["schedule"]["runs"]["totalCount"] >= count else None


async def _rows(database_url: str) -> list[bytes]:
    """Every value of every table, as text and as bytes."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = [row for table in tables for row in await connection.fetch(f'SELECT * FROM "{table[0]}"')]
    finally:
        await connection.close()
    return [*_values(rows)]


def _values(rows: list[asyncpg.Record]) -> Iterator[bytes]:
    for row in rows:
        for value in row.values():
            yield value if isinstance(value, bytes) else str(value).encode()


def _files(directory: Path, pattern: str) -> list[bytes]:
    """What is in them; servers that are running make and delete some meanwhile."""
    found = []
    for path in directory.rglob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                found.append(path.read_bytes())
    return found


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
