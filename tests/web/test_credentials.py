"""The playground of an API that asks for credentials."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect

from nextfire.embedded import Temporal
from nextfire.playground_routes import BUILD
from services.api_keys import ApiKeys
from services.database import Database
from services.principals import Role
from tests.no_tls import NO_TLS
from tests.programs import Api, api, environment
from tests.web.playground_page import PlaygroundPage

REGISTER = """
mutation ($input: RegisterAgentInput!) { registerAgent(input: $input) { ... on AgentRegistered { agent { id } } } }
"""
CREATE = """
mutation ($input: CreateScheduleInput!) {
  createSchedule(input: $input) { ... on ScheduleCreated { schedule { id } } }
}"""
NAME = "made-elsewhere"
CHANGES = "subscription Changes { scheduleChanged { schedule { name } } }"


@pytest.fixture
async def key(database_url: str) -> str:
    database = Database(database_url, pool_size=1)
    _, key = await ApiKeys(database).create(account_id="acme", name="visitor", role=Role.OPERATOR, expires_at=None)
    await database.close()
    return key.text


@pytest.fixture
def running(database_url: str, temporal: Temporal, tmp_path: Path) -> Iterator[Api]:
    assert (BUILD / "index.html").is_file(), "The playground is not built: run `make playground`."
    with api(tmp_path, environment(database_url, temporal.address, NEXTFIRE_AUTH="keys")) as running:
        yield running


@pytest.fixture
async def playground(browser: Browser, running: Api) -> AsyncIterator[PlaygroundPage]:
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    yield PlaygroundPage(await context.new_page(), running.url)
    await context.close()


async def test_the_headers_tab_goes_with_everything(playground: PlaygroundPage, running: Api, key: str) -> None:
    # given a page that shows what is missing, and where it goes
    page = playground.page
    await playground.open()
    await expect(page.locator(".graphiql-response .view-lines")).to_contain_text("Nobody is known by these credentials")
    await playground.set_headers({"Authorization": f"Bearer {key}"})
    # when the schema is read again
    await page.get_by_role("button", name="Re-fetch GraphQL schema").click()
    await expect(page.locator(".graphiql-explorer-root")).to_contain_text("schedules")
    # then queries go with the header
    await playground.run()
    await playground.response(lambda response: response.get("data", {}).get("schedules", {}).get("totalCount") == 0)
    # and subscriptions too
    await playground.show_tab("FireStatus")
    await playground.set_headers({"Authorization": f"Bearer {key}"})
    await playground.set_query(CHANGES)
    async with page.expect_websocket():
        await playground.run()
    await expect(page.get_by_role("button", name="Stop query")).to_be_visible()
    await create_schedule(running.url, key)
    await playground.response(lambda response: NAME in str(response.get("data")))
    # and nothing keeps it
    await playground.stop()
    await playground.show_tab("Agents")
    stored = await playground.stored(active_tab=(await playground.tab_names()).index("Agents"))
    assert "scheduleChanged" in stored
    assert key not in stored
    assert key not in page.url


async def create_schedule(url: str, key: str) -> None:
    async with httpx.AsyncClient(
        headers={"authorization": f"Bearer {key}"}, timeout=30, trust_env=False, verify=NO_TLS
    ) as http:

        async def change(query: str, values: dict[str, Any]) -> Any:
            answer = await http.post(f"{url}/graphql", json={"query": query, "variables": {"input": values}})
            return answer.json()["data"]

        made = await change(REGISTER, {"name": "agent", "protocol": "SYNC", "url": "http://127.0.0.1:9"})
        schedule = {
            "agentId": made["registerAgent"]["agent"]["id"],
            "name": NAME,
            "cadence": {"cron": {"expression": "0 0 1 1 *"}},
            "initialInput": {"content": "Go."},
        }
        await change(CREATE, schedule)
