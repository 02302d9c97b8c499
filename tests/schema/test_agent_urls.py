"""Where agents may be: told when one is registered, and kept when a run is delivered."""

import asyncio
from collections.abc import Sequence

import pytest

from nextfire.worker import temporal_worker
from resolvers.ids import Kind, key_of
from services.acp import AcpClient, http_client
from services.agents import Agents
from services.dialing import Dialer
from services.outbound import OutboundRules
from services.principals import OPEN_ACTOR
from services.run import RunError, RunStatus
from tests.agents.scripted import ScriptedAgent
from tests.schema.api import Api
from tests.stack import Stack

NAMES = {"agent.example": ["93.184.215.14"], "inside.example": ["10.0.0.5"], "both.example": ["10.0.0.5", "8.8.8.8"]}


async def resolve(host: str, port: int) -> Sequence[str]:
    await asyncio.sleep(0)
    if host not in NAMES:
        raise OSError
    return NAMES[host]


@pytest.fixture
def public(running: Stack, api: Api) -> Api:
    """A caller of a Nextfire whose private networks are closed."""
    base = running.base
    return api.swapped(agents=Agents(base.database, base.secrets, Dialer(OutboundRules(), resolve)))


CLOSED = "Agents cannot be reached at this host: its name must lead to an address outside of closed networks."


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:8001", CLOSED),
        ("http://[::1]:8001/agent", CLOSED),
        ("http://169.254.169.254/latest/meta-data", CLOSED),
        ("http://inside.example", CLOSED),
        ("http://nowhere.example", CLOSED),
        (
            "http://2130706433",
            "Write an IPv4 address as four decimal numbers, and an IPv6 address without a zone.",
        ),
    ],
)
async def test_an_agent_inside_is_neither_registered_nor_moved_to(public: Api, url: str, message: str) -> None:
    # given
    agent_id = await public.agent(url="https://agent.example/writer")

    # when
    registered = await public.change("registerAgent", {"name": "a", "protocol": "SYNC", "url": url})
    updated = await public.change("updateAgent", {"id": agent_id, "expectedVersion": 1, "url": url})

    # then
    issues = [{"path": ["input", "url"], "message": message}]
    assert (registered["__typename"], registered["issues"]) == ("InvalidInput", issues)
    assert (updated["__typename"], updated["issues"]) == ("InvalidInput", issues)


@pytest.mark.parametrize("url", ["https://agent.example", "http://8.8.8.8:8000", "http://both.example"])
async def test_an_agent_outside_is_registered(public: Api, url: str) -> None:
    assert await public.agent(url=url)


async def test_a_run_does_not_reach_an_agent_whose_network_was_closed(
    running: Stack, api: Api, scripted_agent: ScriptedAgent
) -> None:
    # given a run of an agent that was registered while private networks were open
    schedule_id = await api.schedule(await api.agent(url=scripted_agent.url))
    trigger = running.services.manual_runs.trigger
    run = await trigger(OPEN_ACTOR, key_of(Kind.SCHEDULE, schedule_id), idempotency_key=None, note=None)

    # when a worker delivers it that may not connect there
    async with (
        http_client(Dialer(OutboundRules())) as http,
        temporal_worker(running.base, running.base.temporal, AcpClient(http)),
    ):
        ended = await running.ended(run.id)

    # then it has failed at the first attempt, and says why
    message = "Nextfire may not connect to the host of this URL: its operator has closed that network."
    assert (ended.status, ended.attempt_count) == (RunStatus.FAILED, 1)
    assert ended.error == RunError("ADDRESS_DENIED", message, retryable=False)
    assert scripted_agent.requests == []
