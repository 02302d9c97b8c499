"""The playground in a real browser, against a running stack."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
from playwright.async_api import expect

from services.run import UNFINISHED, RunStatus
from tests.no_tls import NO_TLS
from tests.web.playground_page import PlaygroundPage

TABS = ["Schedules", "Agents", "CreateSchedule", "FireStatus"]

DEFERRED = """query Deferred {
  schedules(first: 1) {
    nodes { name ... @defer { live { status } agent { name } } ... @defer { live { nextFireAt } agent { protocol } } }
  }
}"""

TRIGGER = """mutation ($id: ID!) {
  triggerSchedule(input: {id: $id}) { ... on ScheduleTriggered { run { id } } }
}"""


async def test_page_stands_without_other_hosts(playground: PlaygroundPage, tmp_path: Path) -> None:
    await expect(playground.page).to_have_title("Nextfire")
    assert await playground.tab_names() == TABS
    assert f"{playground.url}/graphql" in playground.requested
    assert any("worker" in url for url in playground.requested)
    playground.assert_clean()
    await playground.page.screenshot(path=tmp_path / "playground.png")


async def test_schedules_tab_shows_live_fields(playground: PlaygroundPage) -> None:
    await playground.run()

    response = await playground.response(lambda response: "data" in response)

    assert "errors" not in response
    first = response["data"]["schedules"]["edges"][0]["node"]
    assert first.keys() == {"id", "name", "state", "agent", "cadence", "clock", "live", "lastRun"}
    assert first["live"]["status"] == "AVAILABLE"
    assert len(first["live"]["nextFires"]) == 3
    await expect(playground.page.locator(".graphiql-response .view-lines")).to_contain_text("totalCount")


async def test_agents_tab_gives_the_id_that_the_mutation_starts_with(playground: PlaygroundPage) -> None:
    await playground.show_tab("Agents")
    await playground.run()
    response = await playground.response(lambda response: "agents" in response.get("data", {}))
    ids = [edge["node"]["id"] for edge in response["data"]["agents"]["edges"]]

    await playground.show_tab("CreateSchedule")

    assert (await playground.variables())["input"]["agentId"] in ids


async def test_created_schedule_is_seen_to_fire(playground: PlaygroundPage, tmp_path: Path) -> None:
    # given a schedule made in the playground
    await playground.show_tab("CreateSchedule")
    name = f"browser-{uuid4().hex[:12]}"
    variables = await playground.variables()
    await playground.set_variables({"input": variables["input"] | {"name": name}})
    await playground.run()
    response = await playground.response(lambda response: "createSchedule" in response.get("data", {}))
    assert response["data"]["createSchedule"]["__typename"] == "ScheduleCreated"
    schedule = response["data"]["createSchedule"]["schedule"]
    assert schedule["name"] == name

    # when it is triggered, twice, while the subscription runs
    cursor = (await ask(playground.url, "{ eventCursor }"))["eventCursor"]
    await playground.show_tab("FireStatus")
    await playground.set_variables({"after": cursor})
    await playground.run()
    first = await trigger(playground.url, schedule["id"])
    await playground.response(lambda response: has_ended(response, first))
    second = await trigger(playground.url, schedule["id"])
    response = await playground.response(lambda response: second in shown_runs(response))

    # then both runs stand in the response, the newest event first
    runs = [run for run in shown_runs(response) if run in (first, second)]
    assert runs[0] == second
    assert runs[-1] == first
    await expect(playground.page.locator(".graphiql-response .view-lines")).to_contain_text(name)
    await playground.page.screenshot(path=tmp_path / "subscription.png")
    await playground.stop()
    await expect(playground.page.get_by_role("button", name="Execute query")).to_be_visible()


async def test_link_carries_an_operation_whose_deferred_part_arrives(blank_page: PlaygroundPage) -> None:
    await blank_page.open(f"#{urlencode({'query': DEFERRED})}")
    assert await blank_page.tab_names() == ["Deferred", *TABS]

    await blank_page.run()

    def is_whole(response: dict[str, Any]) -> bool:
        node: dict[str, Any] = response["data"]["schedules"]["nodes"][0]
        return bool(node.get("live", {}).keys() == {"status", "nextFireAt"})

    response = await blank_page.response(is_whole)
    node = response["data"]["schedules"]["nodes"][0]
    assert node.keys() == {"name", "live", "agent"}
    assert node["live"]["status"] == "AVAILABLE"
    assert node["agent"] == {"name": "demo", "protocol": "SYNC"}


async def test_what_is_run_at_once_is_what_the_editor_shows(playground: PlaygroundPage) -> None:
    # another name than before, and none
    await playground.run_at_once("query Pasted { pasted: eventCursor }")
    await playground.response(lambda response: "pasted" in response.get("data", {}))
    await playground.run_at_once("{ nameless: eventCursor }")
    await playground.response(lambda response: "nameless" in response.get("data", {}))
    # a subscription after a query, and the other way round
    async with playground.page.expect_websocket():
        await playground.run_at_once("subscription Pasted { fireStatus { cursor } }")
    await playground.stop()
    await playground.run_at_once("query Again { again: eventCursor }")
    await playground.response(lambda response: "again" in response.get("data", {}))
    # and what is no GraphQL is for the API to say
    await playground.run_at_once("query {")
    await playground.response(lambda response: "Syntax Error" in str(response["errors"]))


async def test_request_headers_are_not_stored(playground: PlaygroundPage) -> None:
    await playground.page.get_by_role("button", name="Headers").click()
    await playground.page.locator(".graphiql-editor-tool .view-lines").last.click()
    await playground.page.keyboard.insert_text('{"Authorization": "Bearer not-to-be-stored"}')
    async with playground.page.expect_request("**/graphql") as sent:
        await playground.run()
    assert (await sent.value).headers["authorization"] == "Bearer not-to-be-stored"
    await playground.response(lambda response: "data" in response)
    await playground.show_tab("Agents")

    stored = await playground.stored(active_tab=TABS.index("Agents"))

    assert "CreateSchedule" in stored
    assert "not-to-be-stored" not in stored


async def test_dark_scheme_is_followed(playground: PlaygroundPage, tmp_path: Path) -> None:
    editor = playground.page.locator(".graphiql-query-editor .monaco-editor")
    await expect(editor).to_have_class(re.compile(r"\bvs\b"))

    await playground.page.emulate_media(color_scheme="dark")

    await expect(editor).to_have_class(re.compile(r"\bvs-dark\b"))
    await playground.page.screenshot(path=tmp_path / "dark.png")


def has_ended(response: dict[str, Any], run_id: str) -> bool:
    """Whether the newest event of the run is its last: none of it comes after those of later runs."""
    shown = (response.get("data") or {}).get("fireStatus", [])
    statuses = [RunStatus(event["status"]) for event in shown if event["run"]["id"] == run_id]
    return bool(statuses) and statuses[0] not in UNFINISHED


def shown_runs(response: dict[str, Any]) -> list[str]:
    return [event["run"]["id"] for event in (response.get("data") or {}).get("fireStatus", [])]


async def trigger(url: str, schedule_id: str) -> str:
    data = await ask(url, TRIGGER, {"id": schedule_id})
    run_id: str = data["triggerSchedule"]["run"]["id"]
    return run_id


async def ask(url: str, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    async with httpx.AsyncClient(verify=NO_TLS) as client:
        body = {"query": query, "variables": variables}
        answer: dict[str, Any] = (await client.post(f"{url}/graphql", json=body)).raise_for_status().json()
    assert "errors" not in answer
    data: dict[str, Any] = answer["data"]
    return data
