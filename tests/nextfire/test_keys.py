"""The mode `keys` from end to end: as programs, over every transport, and what of it is written down."""

import asyncio
import base64
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from websockets.asyncio.client import connect

from nextfire.embedded import Temporal
from tests.agents.scripted import ScriptedAgent, full, stream
from tests.nextfire.transport.conftest import Socket, npm_clients
from tests.nextfire.transport.node import run_node
from tests.no_tls import NO_TLS
from tests.programs import Api, api, environment, program
from tests.waiting import eventually

__all__ = ["npm_clients"]

FIRES = "subscription { fireStatus { cursor run { id } } }"
REGISTER = """
mutation ($input: RegisterAgentInput!) {
  registerAgent(input: $input) { ... on AgentRegistered { agent { id } } ... on UserError { code } }
}"""
CREATE = """
mutation ($input: CreateScheduleInput!) {
  createSchedule(input: $input) {
    ... on ScheduleCreated {
      schedule { id creator { type userId serviceAccountId accountId } changes { nodes { by { serviceAccountId } } } }
    }
    ... on UserError { code message }
  }
}"""
PATIENCE = 120
"""Seconds; a worker on a busy machine takes a while to start."""
SEEN = "{ agents { totalCount } schedules { totalCount nodes { name } } }"


@dataclass(frozen=True)
class Cli:
    """`nextfire keys` with its environment."""

    variables: Mapping[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nextfire", "keys", *arguments],
            env=dict(self.variables),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def create(self, *arguments: str) -> str:
        """The key that is printed."""
        made = self.run("create", *arguments)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()


@dataclass(frozen=True)
class Caller:
    """Asks with an API key."""

    api: Api
    key: str

    @property
    def authorization(self) -> str:
        return f"Bearer {self.key}"

    def post(self, query: str, **variables: Any) -> httpx.Response:
        body = {"query": query, "variables": variables}
        headers = {"authorization": self.authorization}
        return httpx.post(
            f"{self.api.url}/graphql", json=body, headers=headers, timeout=30, trust_env=False, verify=NO_TLS
        )

    def ask(self, query: str, **variables: Any) -> Any:
        answer = self.post(query, **variables).json()
        assert "errors" not in answer, answer
        return answer["data"]

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[Socket]:
        url = f"{self.api.url.replace('http', 'ws')}/graphql"
        async with connect(url, subprotocols=["graphql-transport-ws"]) as connection:  # type: ignore[list-item]
            socket = Socket(connection)
            await socket.say({"type": "connection_init", "payload": {"authorization": self.authorization}})
            yield socket


@contextmanager
def serving(database_url: str, temporal: Temporal, logs: Path, **values: str) -> Iterator[tuple[Api, Cli]]:
    variables = environment(database_url, temporal.address, NEXTFIRE_AUTH="keys", **values)
    with api(logs, variables) as running:
        yield running, Cli(variables)


async def test_a_key_from_its_making_to_its_end(
    database_url: str, temporal: Temporal, tmp_path: Path, npm_clients: Path
) -> None:
    with serving(database_url, temporal, tmp_path) as (running, cli):
        # given a key
        key = cli.create("--account", "acme", "--name", "deploy", "--role", "operator", "--expires-in-days", "90")
        assert re.fullmatch(r"nfk_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}", key)
        key_id = key.split("_")[1]
        caller = Caller(running, key)
        # then it is let in everywhere, and others nowhere
        assert caller.ask(SEEN) == {"agents": {"totalCount": 0}, "schedules": {"totalCount": 0, "nodes": []}}
        assert running.post({"query": SEEN}).status_code == 401
        assert Caller(running, key[:-1] + ("a" if key[-1] != "a" else "b")).post(SEEN).status_code == 401
        listed = cli.run("list").stdout
        assert re.search(rf"{key_id}\s+acme\s+deploy\s+operator", listed)
        assert key not in listed
        for path in ("/healthz", "/readyz", "/"):
            assert running.get(path).status_code == 200
        # given a socket and a stream that are open
        events = asyncio.create_task(
            run_node(npm_clients, "subscribe.mjs", "sse", f"{running.url}/graphql", FIRES, caller.authorization)
        )
        async with caller.socket() as socket:
            assert await socket.hear() == {"type": "connection_ack"}
            await socket.subscribe(FIRES)
            # when it is revoked
            revoked = await asyncio.to_thread(cli.run, "revoke", key_id)
            assert (revoked.returncode, revoked.stdout) == (0, f"The key {key_id} of deploy in acme is revoked.\n")
            # then it is refused everywhere within seconds
            assert await socket.closed() == (4401, "Nobody is known by these credentials. This API key was revoked.")
        heard = await events
        assert heard["results"] == [] or "errors" in heard["results"][-1]
        refused = await asyncio.to_thread(caller.post, SEEN)
        assert refused.status_code == 401
        assert refused.json()["errors"][0]["message"] == (
            "Nobody is known by these credentials. This API key was revoked."
        )
        assert key_id not in cli.run("list").stdout
        assert key_id in cli.run("list", "--account", "acme", "--all").stdout


def test_what_the_command_line_refuses(database_url: str, temporal: Temporal) -> None:
    cli = Cli(environment(database_url, temporal.address))
    for arguments, said in [
        (("create", "--name", "Not A Name", "--role", "viewer"), "name: Use 1 to 64"),
        (("create", "--name", "ci", "--role", "king"), "'king' is not one of"),
        (("create", "--name", "ci", "--role", "viewer", "--expires-in-days", "-1"), "--expires-in-days"),
        (("revoke", "nobodys"), "There is no such API key."),
    ]:
        ended = cli.run(*arguments)
        assert ended.returncode != 0
        assert said in ended.stderr
        assert "Traceback" not in ended.stderr
    (head,) = cli.run("list", "--all").stdout.splitlines()
    assert head.split() == ["id", "account", "name", "role", "created", "last", "used", "expires", "revoked"]


@pytest.mark.parametrize("url", ["postgresql://u:p@ss:s3cr3t@h:abc/d", "postgresql:/u:s3cr3t@h/d", "s3cr3t"])
def test_a_malformed_database_url_is_not_quoted(url: str) -> None:
    ended = Cli(environment(url, "127.0.0.1:9")).run("list")
    assert ended.returncode == 1
    assert "DATABASE_URL must look like" in ended.stderr
    assert "s3cr3t" not in ended.stderr


def test_the_holder_is_recorded_and_sees_its_account_only(
    database_url: str, temporal: Temporal, tmp_path: Path
) -> None:
    with serving(database_url, temporal, tmp_path) as (running, cli):
        # given two service accounts of one account, one with two keys, and one of another account
        first, second, other, stranger = (
            Caller(running, cli.create("--account", account, "--name", name, "--role", "operator"))
            for account, name in [("acme", "deploy"), ("acme", "deploy"), ("acme", "other"), ("globex", "deploy")]
        )
        # when one creates a schedule
        agent = first.ask(REGISTER, input={"name": "agent", "protocol": "SYNC", "url": "http://127.0.0.1:9"})
        wanted = {
            "agentId": agent["registerAgent"]["agent"]["id"],
            "name": "yearly",
            "cadence": {"cron": {"expression": "0 0 1 1 *"}},
            "initialInput": {"content": "Go."},
            "idempotencyKey": "once",
        }
        made = first.ask(CREATE, input=wanted)["createSchedule"]["schedule"]
        # then it is the creator, by name
        assert made["creator"] == {
            "type": "SERVICE_ACCOUNT",
            "userId": None,
            "serviceAccountId": "deploy",
            "accountId": "acme",
        }
        assert made["changes"]["nodes"] == [{"by": {"serviceAccountId": "deploy"}}]
        # and the same service account with its other key gets the same answer, another one makes a request of its own
        assert second.ask(CREATE, input=wanted)["createSchedule"]["schedule"]["id"] == made["id"]
        assert other.ask(CREATE, input=wanted)["createSchedule"]["code"] == "NAME_TAKEN"
        # and another account sees nothing of it
        assert stranger.ask(SEEN) == {"agents": {"totalCount": 0}, "schedules": {"totalCount": 0, "nodes": []}}
        assert other.ask(SEEN)["schedules"]["totalCount"] == 1


async def test_credentials_are_written_down_nowhere(
    database_url: str, temporal: Temporal, tmp_path: Path, scripted_agent: ScriptedAgent
) -> None:
    """Each secret is planted where clients put them, rightly or not; everything is logged that can be."""
    scripted_agent.always(stream(full("Done.")))
    variables = environment(database_url, temporal.address, NEXTFIRE_AUTH="keys", NEXTFIRE_LOG_LEVEL="debug")
    cli = Cli(variables)
    key = cli.create("--account", "acme", "--name", "deploy", "--role", "operator")
    planted = {name: f"planted-{name}-5ecr3t" for name in ("bearer", "basic", "query", "userinfo", "init", "cookie")}
    with api(tmp_path, variables) as running, program("worker", tmp_path, variables) as worker:
        caller = Caller(running, key)
        # given fires of a schedule that the key's holder made
        agent = caller.ask(
            REGISTER,
            input={"name": "agent", "protocol": "SYNC", "url": scripted_agent.url, "apiKey": "planted-agent-5ecr3t"},
        )
        wanted = {
            "agentId": agent["registerAgent"]["agent"]["id"],
            "name": "busy",
            "cadence": {"interval": {"everySeconds": 1}},
            "initialInput": {"content": "Go."},
        }
        assert "schedule" in caller.ask(CREATE, input=wanted)["createSchedule"]
        assert await eventually(lambda: delivered_by(caller), PATIENCE)
        # when secrets come in by every way
        await asyncio.to_thread(send_everywhere, running, planted)
        await open_sockets(running, caller, planted)
        # and a key that was just made
        unused = await asyncio.to_thread(cli.create, "--account", "acme", "--name", "unused", "--role", "viewer")
        logs = [running.child.log, worker.log]
    written = "\n".join(log.read_text() for log in logs) + await dump(database_url)
    # then the log and the database hold what happened
    assert "api_starting" in written
    assert "busy" in written
    assert key.split("_")[1] in written
    # and of the secrets nothing, in no spelling
    secrets = {key, unused, key.split("_")[2], unused.split("_")[2], "planted-agent-5ecr3t", *planted.values()}
    for secret in secrets:
        spellings = {secret, base64.b64encode(secret.encode()).decode().rstrip("="), secret.encode().hex()}
        assert [each for each in spellings if each in written] == [], secret


def send_everywhere(running: Api, planted: Mapping[str, str]) -> None:
    """Requests that are refused, each with a secret in it."""
    basic = base64.b64encode(f"user:{planted['basic']}".encode()).decode()
    port = running.url.rpartition(":")[2]
    for url, headers in [
        (f"{running.url}/graphql", {"authorization": f"Bearer {planted['bearer']}"}),
        (f"{running.url}/graphql", {"authorization": f"Basic {basic}"}),
        (f"{running.url}/graphql", {"authorization": planted["bearer"], "cookie": f"session={planted['cookie']}"}),
        (f"{running.url}/graphql", {"x-api-key": planted["bearer"], "x-request-id": "sane"}),
        (f"{running.url}/graphql?access_token={planted['query']}", {}),
        (f"{running.url}/nowhere?access_token={planted['query']}", {}),
        (f"http://user:{planted['userinfo']}@127.0.0.1:{port}/graphql", {}),
    ]:
        answer = httpx.post(
            url, json={"query": "{ __typename }"}, headers=headers, timeout=30, trust_env=False, verify=NO_TLS
        )
        assert answer.status_code in (401, 404)
        assert not any(secret in answer.text for secret in planted.values())


async def open_sockets(running: Api, caller: Caller, planted: Mapping[str, str]) -> None:
    """A socket that is refused, and one that is let in and sends what is no message."""
    url = f"{running.url.replace('http', 'ws')}/graphql?access_token={planted['query']}"
    headers = {"authorization": f"Bearer {planted['bearer']}", "cookie": f"session={planted['cookie']}"}
    async with connect(
        url,
        subprotocols=["graphql-transport-ws"],  # type: ignore[list-item]
        additional_headers=headers,
    ) as connection:
        socket = Socket(connection)
        await socket.say({"type": "connection_init", "payload": {"password": planted["init"]}})
        code, reason = await socket.closed()
        assert code == 4401
        assert not any(secret in (reason or "") for secret in planted.values())
    async with caller.socket() as socket:
        await socket.hear()
        await socket.subscribe("{ __typename }", extensions={"token": planted["init"]})
        assert (await socket.hear())["payload"]["data"] == {"__typename": "Query"}
        await socket.say('{"type": "' + planted["init"])
        assert (await socket.closed())[0] == 4400


async def delivered_by(caller: Caller) -> bool | None:
    found = await asyncio.to_thread(caller.ask, "{ runs(filter: {statuses: [DELIVERED]}) { totalCount } }")
    return found["runs"]["totalCount"] > 0 or None


async def dump(database_url: str) -> str:
    """Every row of every table, as JSON."""
    connection = await asyncpg.connect(database_url)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [
        await connection.fetch(f'SELECT row_to_json(each)::text AS row FROM "{table["tablename"]}" AS each')
        for table in tables
    ]
    await connection.close()
    assert len(tables) > 10
    return json.dumps([[row["row"] for row in each] for each in rows], ensure_ascii=False)
