"""The wire client against real agents, made with agentex-sdk and run by a Python of their own.

`make agentex` builds that environment and names its Python in NEXTFIRE_AGENTEX_PYTHON. Without the variable these tests
are skipped and say so; with it they run, and a Python that is not there or lacks the SDK is a failure.
"""

import json
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nextfire.processes import Child, accepts, free_port, running
from services import acp
from services.acp import (
    Accepted,
    AcpAgent,
    AcpAuthor,
    AcpClient,
    AcpContent,
    AcpEvent,
    AcpTask,
    Healthy,
    Outcome,
    Protocol,
    Refused,
    Reply,
)
from services.dialing import Dialer
from services.outbound import OutboundRules
from tests.waiting import wait_until

PYTHON = os.environ.get("NEXTFIRE_AGENTEX_PYTHON", "")
API_KEY = "the-agent's-key"
START_SECONDS = 120

pytestmark = [
    pytest.mark.agentex,
    pytest.mark.skipif(
        not PYTHON, reason="needs a real agentex-sdk agent: run `make agentex` (NEXTFIRE_AGENTEX_PYTHON is unset)"
    ),
]

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
TASK = AcpTask(uuid.uuid4(), "scheduled-run:S:F", NOW, NOW, {"model": "m"}, {"trigger_type": "scheduled"})


class Agent:
    """A running agent: where it is, and what its handlers have seen."""

    def __init__(self, url: str, protocol: Protocol, log: Path) -> None:
        self.url = url
        self.entity = AcpAgent(uuid.uuid4(), "demo", "", protocol, url, NOW, NOW)
        self._log = log

    def seen(self) -> list[dict[str, Any]]:
        """What the handlers were called with, in order."""
        return [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []

    async def send(self, client: AcpClient, body: bytes, key: str, api_key: str = API_KEY) -> Outcome:
        return await client.send(self.url, body, request_id=f"attempt-{key}", idempotency_key=key, api_key=api_key)

    async def ask(self, client: AcpClient, text: str, key: str) -> Outcome:
        body = acp.message_send_body(self.entity, TASK, AcpContent(AcpAuthor.USER, text), key)
        return await self.send(client, body, key)


@contextmanager
def running_agent(kind: str, directory: Path) -> Iterator[Agent]:
    """An agent of agentex-sdk on a free port; `directory` gets its logs."""
    assert Path(PYTHON).exists(), f"NEXTFIRE_AGENTEX_PYTHON names no file: {PYTHON}"
    port, log = free_port(), directory / f"{kind}.jsonl"
    environment = {
        "PATH": os.environ["PATH"],
        "AGENT_KIND": kind,
        "AGENT_LOG": str(log),
        "AGENT_NAME": "demo",
        "AGENT_API_KEY": API_KEY,
        "ACP_URL": "http://127.0.0.1",
        "ACP_PORT": str(port),
        "ACP_TYPE": "async" if kind == "async" else "sync",
        # Empty, else the agent looks for a server to register with; and no look at the network for prices or traces.
        "AGENTEX_BASE_URL": "",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OTEL_SDK_DISABLED": "true",
        "DD_TRACE_ENABLED": "false",
    }
    command = [PYTHON, "-m", "uvicorn", "agent:acp", "--host", "127.0.0.1", "--port", str(port)]
    child = Child(
        f"agentex {kind} agent",
        [*command, "--app-dir", str(Path(__file__).parent)],
        directory / f"{kind}.log",
        environment=environment,
    )
    with running(child):
        child.wait_until(lambda: accepts(port), START_SECONDS)
        protocol = Protocol.ASYNC if kind == "async" else Protocol.SYNC
        yield Agent(f"http://127.0.0.1:{port}", protocol, log)


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[AcpClient]:
    async with acp.http_client(Dialer(OutboundRules(private_networks=True))) as http:
        yield AcpClient(http)


@pytest.fixture(scope="module")
def sync_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with running_agent("sync", tmp_path_factory.mktemp("agentex")) as agent:
        yield agent


@pytest.fixture(scope="module")
def streaming_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with running_agent("streaming", tmp_path_factory.mktemp("agentex")) as agent:
        yield agent


@pytest.fixture(scope="module")
def async_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with running_agent("async", tmp_path_factory.mktemp("agentex")) as agent:
        yield agent


def text(content: str, index: int = 0) -> Reply:
    return Reply(index, AcpAuthor.AGENT, "text", content)


async def test_a_sync_agent_answers(sync_agent: Agent, client: AcpClient) -> None:
    assert await client.health(sync_agent.url) == Healthy(None)

    # when it is asked
    outcome = await sync_agent.ask(client, "hello ✓", "key-1")

    # then it answers, and its handler saw the whole request and the key
    assert outcome == Accepted((text("You said hello ✓"),))
    (seen,) = sync_agent.seen()
    params = seen["params"]
    assert (params["agent"]["id"], params["agent"]["acp_type"]) == (str(sync_agent.entity.id), "sync")
    assert (params["task"]["name"], params["task"]["params"]) == (TASK.name, {"model": "m"})
    assert params["task"]["task_metadata"] == {"trigger_type": "scheduled"}
    assert (params["content"]["author"], params["content"]["content"]) == ("user", "hello ✓")
    assert params["stream"] is True
    headers = params["request"]["headers"]
    assert (headers["x-idempotency-key"], headers["x-request-id"]) == ("key-1", "attempt-key-1")
    assert "x-agent-api-key" not in headers


@pytest.mark.parametrize(
    ("asked", "outcome"),
    [
        ("nothing", Accepted()),
        ("raise", Refused("RPC_-32603", "it broke")),
    ],
)
async def test_a_sync_agent_says_nothing_or_raises(
    sync_agent: Agent, client: AcpClient, asked: str, outcome: Outcome
) -> None:
    assert await sync_agent.ask(client, asked, f"key-{asked}") == outcome


async def test_a_sync_agent_answers_several_messages(sync_agent: Agent, client: AcpClient) -> None:
    outcome = await sync_agent.ask(client, "several", "key-several")
    assert isinstance(outcome, Accepted)
    assert [(reply.index, reply.kind) for reply in outcome.replies] == [(0, "text"), (1, "data"), (2, "text")]
    assert [outcome.replies[0].content, outcome.replies[2].content] == ["one", "three"]
    assert json.loads(outcome.replies[1].content)["data"] == {"n": 2}


async def test_a_sync_agent_refuses_a_task(sync_agent: Agent, client: AcpClient) -> None:
    body = acp.task_create_body(sync_agent.entity, TASK, "key-2")
    outcome = await sync_agent.send(client, body, "key-2")
    assert isinstance(outcome, Refused)
    assert outcome.code == "RPC_-32601"


async def test_a_streaming_agent(streaming_agent: Agent, client: AcpClient) -> None:
    outcome = await streaming_agent.ask(client, "hello", "key-1")
    assert outcome == Accepted((text("You said hello"), text("and that was all", 1)))
    outcome = await streaming_agent.ask(client, "break", "key-2")
    assert outcome == Refused("RPC_-32603", "broke in the middle")


def seen_by(agent: Agent, count: int) -> None:
    """Waits until the agent's handlers were called `count` times; an async agent calls them when it has answered."""
    wait_until(lambda: len(agent.seen()) == count)


async def test_an_async_agent_takes_every_method(async_agent: Agent, client: AcpClient) -> None:
    # given one request of each kind
    event = AcpEvent(uuid.uuid4(), 1, NOW, AcpContent(AcpAuthor.USER, "hello ✓"))
    bodies = {
        "task/create": acp.task_create_body(async_agent.entity, TASK, "key-1"),
        "event/send": acp.event_send_body(async_agent.entity, TASK, event, "key-1"),
        "task/cancel": acp.task_cancel_body(async_agent.entity, TASK, "key-1"),
    }

    # when they are sent, then each is accepted, and its handler gets it with the key
    for count, (method, body) in enumerate(bodies.items(), start=1):
        assert await async_agent.send(client, body, "key-1") == Accepted()
        seen_by(async_agent, count)
        seen = async_agent.seen()[-1]
        assert seen["handler"] == method
        assert seen["params"]["request"]["headers"]["x-idempotency-key"] == "key-1"
    created, sent, _ = async_agent.seen()
    assert created["params"]["params"] == {"model": "m"}
    assert (sent["params"]["event"]["id"], sent["params"]["event"]["sequence_id"]) == (str(event.id), 1)
    assert sent["params"]["event"]["content"]["content"] == "hello ✓"


async def test_an_agent_that_is_sent_nonsense_refuses_it(async_agent: Agent, client: AcpClient) -> None:
    body = acp.task_create_body(async_agent.entity, TASK, "key-3").replace(b'"acp_type":"async"', b'"acp_type":"x"')
    outcome = await async_agent.send(client, body, "key-3")
    assert isinstance(outcome, Refused)
    assert outcome.code == "RPC_-32603"
