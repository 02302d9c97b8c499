"""A browser of the session, a page of the playground per test, and the stack that they look at."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright, expect

from nextfire.embedded import Postgres, Temporal
from nextfire.playground_routes import BUILD
from tests.databases import Databases
from tests.programs import Api, api, demo_agent, environment, program
from tests.web.chromium import QUIET, find_chromium
from tests.web.playground_page import PlaygroundPage

PATIENCE_MS = 90_000
REGISTER = """
mutation ($input: RegisterAgentInput!) {
  registerAgent(input: $input) { ... on AgentRegistered { agent { id } } }
}"""
CREATE = """
mutation ($input: CreateScheduleInput!) {
  createSchedule(input: $input) { ... on ScheduleCreated { schedule { id } } }
}"""


@pytest.fixture(scope="session")
async def nextfire_url(
    postgres: Postgres, databases: Databases, temporal: Temporal, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """The base URL of an API with a worker, a demo agent and a schedule, without a slash at its end."""
    assert (BUILD / "index.html").is_file(), "The playground is not built: run `make playground`."
    logs = tmp_path_factory.mktemp("playground")
    variables = environment(postgres.url(await databases.take()), temporal.address)
    with api(logs, variables) as running, program("worker", logs, variables), demo_agent(logs) as agent_url:
        made(running, agent_url)
        yield running.url


def made(running: Api, agent_url: str) -> None:
    """An agent, and a schedule that does not fire by itself while the tests run."""
    agent = {"name": "demo", "protocol": "SYNC", "url": agent_url}
    agent_id = running.ask(REGISTER, input=agent)["data"]["registerAgent"]["agent"]["id"]
    running.ask(
        CREATE,
        input={
            "agentId": agent_id,
            "name": "yearly",
            "cadence": {"cron": {"expression": "0 0 1 1 *"}},
            "initialInput": {"content": "Say hello."},
        },
    )


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=find_chromium(), args=QUIET)
        yield chromium
        await chromium.close()


@pytest.fixture
async def blank_page(browser: Browser, nextfire_url: str) -> AsyncIterator[PlaygroundPage]:
    """A page for the playground; when the test ends, it must have stayed on its host and had no problem."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    page = PlaygroundPage(await context.new_page(), nextfire_url)
    yield page
    page.assert_clean()
    await context.close()


@pytest.fixture
async def playground(blank_page: PlaygroundPage) -> PlaygroundPage:
    """The playground, open and ready."""
    await blank_page.open()
    return blank_page
