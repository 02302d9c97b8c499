"""One API for all attacks, with API keys and the limits of production, and the figures at the end."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nextfire.embedded import Postgres, Temporal
from services.api_keys import ApiKeys
from services.database import Database
from services.principals import Role
from tests.attacks.target import SECRET, Report, Target
from tests.databases import Databases
from tests.programs import api, environment

REPORT = pytest.StashKey[Report]()

REGISTER = """mutation ($input: RegisterAgentInput!) {
  registerAgent(input: $input) { ... on AgentRegistered { agent { id } } ... on UserError { message } }
}"""
CREATE = """mutation ($input: CreateScheduleInput!) {
  createSchedule(input: $input) { ... on ScheduleCreated { schedule { id } } ... on UserError { message } }
}"""


@pytest.fixture(scope="session")
async def attacked_url(postgres: Postgres, databases: Databases) -> AsyncIterator[str]:
    """A database for all attacks of the session."""
    name = await databases.take()
    yield postgres.url(name)
    await databases.give_back(name)


@pytest.fixture(scope="session")
async def target(
    attacked_url: str, temporal: Temporal, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> AsyncIterator[Target]:
    """The API under attack. What is planted belongs to another account than the attacker's."""
    logs: Path = tmp_path_factory.mktemp("attacked")
    variables = environment(attacked_url, temporal.address, NEXTFIRE_AUTH="keys")
    database = Database(attacked_url)
    keys = ApiKeys(database)
    _, owner = await keys.create(account_id="owner", name="owner", role=Role.OPERATOR, expires_at=None)
    _, attacker = await keys.create(account_id="attacker", name="attacker", role=Role.EDITOR, expires_at=None)
    await database.close()
    report = pytestconfig.stash.setdefault(REPORT, Report())
    with api(logs, variables) as running:
        target = Target(running, attacker.text, owner.text, report)
        await plant(target)
        yield target


async def plant(target: Target) -> None:
    """An agent and a schedule of the other account, with the secret wherever a text goes."""
    async with target.client() as client:
        client.headers["authorization"] = f"Bearer {target.bystander}"

        async def change(document: str, mutation: str, values: dict[str, object]) -> str:
            response = await client.post("/graphql", json={"query": document, "variables": {"input": values}})
            (made,) = response.json()["data"][mutation].values()
            return str(made["id"])

        agent = await change(
            REGISTER,
            "registerAgent",
            {"name": SECRET, "description": SECRET, "protocol": "SYNC", "url": "http://127.0.0.1:9"},
        )
        await change(
            CREATE,
            "createSchedule",
            {
                "agentId": agent,
                "name": SECRET,
                "description": SECRET,
                "cadence": {"cron": {"expression": "0 0 1 1 *"}},
                "initialInput": {"content": SECRET},
                "taskMetadata": {"secret": SECRET},
                "labels": [{"key": "secret", "value": SECRET}],
            },
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    report = config.stash.get(REPORT, None)
    if report is not None and report.inputs:
        terminalreporter.section("figures of the attacks")
        for line in report.lines():
            terminalreporter.write_line(line)
