"""Who may see and do what, where an authorization provider decides."""

import json
from typing import Any

import pytest
from sqlalchemy import func, select

from resolvers.ids import Kind, key_of
from services.authorization import agent_resource, schedule_resource
from services.errors import ProviderMisconfigured, Unavailable
from services.tables import agents, new_id
from tests.agents.scripted import status
from tests.provider.scripted import (
    CHECK,
    SEARCH,
    ScriptedProvider,
    answer,
    everything,
    principal,
)
from tests.schema.api import Api, creation
from tests.stack import Stack

ADA, BOB = principal("ada"), principal("bob")


def agent_selector(agent_id: str) -> str:
    return agent_resource(key_of(Kind.AGENT, agent_id)).selector


def selector(agent_id: str, schedule_id: str) -> str:
    return schedule_resource(key_of(Kind.AGENT, agent_id), key_of(Kind.SCHEDULE, schedule_id)).selector


async def count(provided: Stack, table: Any) -> int:
    async with provided.base.database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


async def test_lists_are_filtered_before_they_are_cut(ada: Api, bob: Api, provider: ScriptedProvider) -> None:
    # given two agents with three schedules and three runs each, of which bob may read one agent and its second schedule
    ids = [
        (agent_id, [await ada.schedule(agent_id) for _ in range(3)])
        for agent_id in [await ada.agent(), await ada.agent()]
    ]
    runs = [await _triggered(ada, schedule_id) for _, schedule_ids in ids for schedule_id in schedule_ids]
    agent_id, (_, schedule_id, _) = ids[0]
    seen = {agent_selector(agent_id), selector(agent_id, schedule_id)}
    provider.decide = lambda who, _type, name, _operation: who["user_id"] == "ada" or name in seen
    # when he reads pages of one
    document = """{
      agents(first: 1) { totalCount pageInfo { hasNextPage } nodes { id
        schedules(first: 1) { totalCount pageInfo { hasNextPage } nodes { id
          runs(first: 1) { totalCount nodes { id } } lastRun { id } } } } }
      schedules(first: 1) { totalCount pageInfo { hasNextPage } nodes { id } }
      runs(first: 1) { totalCount pageInfo { hasNextPage } nodes { id } }
    }"""
    page = {"totalCount": 1, "pageInfo": {"hasNextPage": False}}
    run = {"id": runs[1]}
    schedule = {"id": schedule_id, "runs": {"totalCount": 1, "nodes": [run]}, "lastRun": run}
    assert await bob.ask(document) == {
        "agents": {**page, "nodes": [{"id": agent_id, "schedules": {**page, "nodes": [schedule]}}]},
        "schedules": {**page, "nodes": [{"id": schedule_id}]},
        "runs": {**page, "nodes": [run]},
    }
    assert provider.of_path(CHECK)[-1].json["operation"] != "read"
    # and whoever needs no filter sees everything of the account
    provider.unscoped = True
    counts = "{ agents { totalCount } schedules { totalCount } runs { totalCount } }"
    assert [each["totalCount"] for each in (await ada.ask(counts)).values()] == [2, 6, 6]


async def test_runs_without_a_schedule_are_seen_by_their_agent(ada: Api, bob: Api, provider: ScriptedProvider) -> None:
    seen, hidden = await ada.agent(), await ada.agent()
    own = [await _run_of(ada, agent_id) for agent_id in (seen, hidden)]
    provider.decide = lambda who, _type, name, _operation: who["user_id"] == "ada" or name == agent_selector(seen)
    assert await bob.ask("{ runs { totalCount nodes { id } } }") == {
        "runs": {"totalCount": 1, "nodes": [{"id": own[0]}]}
    }
    answers = [await bob.ask("query($id: ID!) { run(id: $id) { id } }", id=run_id) for run_id in own]
    assert answers == [{"run": {"id": own[0]}}, {"run": None}]


async def test_an_agent_that_may_not_be_seen_is_null_below_its_schedule(
    ada: Api, bob: Api, provider: ScriptedProvider
) -> None:
    agent_id = await ada.agent()
    await ada.schedule(agent_id)
    provider.decide = lambda who, kind, _name, _operation: who["user_id"] == "ada" or kind != "agent"
    found = await bob.ask("{ schedules { nodes { deliveryMethod agent { name } } } }")
    assert found == {"schedules": {"nodes": [{"deliveryMethod": "MESSAGE_SEND", "agent": None}]}}


async def test_what_a_caller_may_do_is_asked_at_once_for_a_page(ada: Api, bob: Api, provider: ScriptedProvider) -> None:
    # given three schedules, of which bob may change the first and delete the second
    agent_id = await ada.agent()
    first, second, third = [await ada.schedule(agent_id) for _ in range(3)]
    allowed = {
        (selector(agent_id, first), "update"),
        (selector(agent_id, second), "delete"),
    }
    provider.decide = lambda who, _type, name, operation: operation == "read" or (name, operation) in allowed
    provider.asked.clear()
    permission = "{ allowed reason }"
    document = (
        "{ schedules(orderBy: {field: CREATED_AT, direction: ASC}) { nodes { id viewerCan {"
        f" update {permission} delete {permission} trigger {permission} }} }} }} }}"
    )
    found = (await bob.ask(document))["schedules"]["nodes"]
    yes = {"allowed": True, "reason": None}

    def no(verb: str) -> dict[str, Any]:
        return {"allowed": False, "reason": f"You may not {verb} this schedule."}

    assert found == [
        {"id": first, "viewerCan": {"update": yes, "delete": no("delete"), "trigger": yes}},
        {"id": second, "viewerCan": {"update": no("change"), "delete": yes, "trigger": no("run")}},
        {"id": third, "viewerCan": {"update": no("change"), "delete": no("delete"), "trigger": no("run")}},
    ]
    # then each was asked about once: two operations of three schedules, and one list
    assert len(provider.of_path(CHECK)) == 6
    assert len(provider.of_path(SEARCH)) == 1


MUTATIONS: dict[str, dict[str, Any]] = {
    "updateAgent": {"expectedVersion": 1, "name": "other"},
    "deleteAgent": {},
    "runAgent": {"initialInput": {"content": "Go."}},
    "createSchedule": {},
    "updateSchedule": {"expectedVersion": 1, "name": "other"},
    "pauseSchedule": {},
    "resumeSchedule": {},
    "deleteSchedule": {},
    "triggerSchedule": {},
    "skipFire": {"fireAt": "2099-01-01T00:00:00Z"},
    "unskipFire": {"fireAt": "2099-01-01T00:00:00Z"},
    "backfillSchedule": {"from": "2024-01-01T00:00:00Z", "to": "2024-12-31T00:00:00Z"},
    "retryRun": {},
    "resolveRun": {"outcome": "DELIVERED"},
}


@pytest.mark.parametrize("mutation", MUTATIONS)
async def test_a_denied_change_is_forbidden_to_who_may_see_and_nothing_to_who_may_not(
    mutation: str, ada: Api, bob: Api, provider: ScriptedProvider
) -> None:
    agent_id = await ada.agent()
    schedule_id = await ada.schedule(agent_id)
    ids = {"agent": agent_id, "schedule": schedule_id, "run": await _triggered(ada, schedule_id)}
    there = ids[_kind(mutation)]
    wanted, absent = (_input(mutation, each) for each in (there, f"{there.partition(':')[0]}:{new_id()}"))
    # given one who may only read
    provider.decide = lambda _who, _type, _name, operation: operation == "read"
    denied = await bob.change(mutation, wanted)
    assert (denied["__typename"], denied["code"]) == ("Forbidden", "FORBIDDEN")
    # and one who may not even do that
    provider.decide = lambda *_: False
    provider.asked.clear()
    hidden = await bob.change(mutation, wanted)
    asked_of_hidden = [asked.json["operation"] for asked in provider.asked]
    provider.asked.clear()
    # then it is as if it were not there, in what is said and in what is asked
    assert hidden["__typename"] == "NotFound"
    assert hidden == await bob.change(mutation, absent)
    assert asked_of_hidden == [asked.json["operation"] for asked in provider.asked]
    assert len(asked_of_hidden) == 2


async def test_registering_an_agent_may_be_forbidden(ada: Api, provided: Stack, provider: ScriptedProvider) -> None:
    provider.decide = lambda *_: False
    denied = await ada.change("registerAgent", {"name": "echo", "protocol": "SYNC", "url": "http://agent.test"})
    assert denied["message"] == "You may not register this agent."
    assert await count(provided, agents) == 0


LOOKUPS = {
    Kind.AGENT: ["node(id: $id) { id }", "nodes(ids: [$id]) { id }", "agent(by: {id: $id}) { id }"],
    Kind.SCHEDULE: ["node(id: $id) { id }", "nodes(ids: [$id]) { id }", "schedule(by: {id: $id}) { id }"],
    Kind.RUN: ["node(id: $id) { id }", "nodes(ids: [$id]) { id }", "run(id: $id) { id }"],
    Kind.TASK: ["node(id: $id) { id }", "nodes(ids: [$id]) { id }"],
}


async def test_a_denied_read_is_like_absence(ada: Api, bob: Api, provider: ScriptedProvider) -> None:
    agent_id = await ada.agent(name="echo")
    schedule_id = await ada.schedule(agent_id, name="nightly")
    run_id = await _triggered(ada, schedule_id)
    task = await ada.ask("query($id: ID!) { run(id: $id) { task { id } } }", id=run_id)
    ids = {Kind.AGENT: agent_id, Kind.SCHEDULE: schedule_id, Kind.RUN: run_id, Kind.TASK: task["run"]["task"]["id"]}
    for kind, fields in LOOKUPS.items():
        for field in fields:
            document = f"query($id: ID!) {{ {field} }}"
            assert ids[kind] in json.dumps(await bob.ask(document, id=ids[kind]))
    by_name = "query($agent: ID!, $agentName: String!, $name: String!) { agent(by: {name: $agentName}) { id }"
    by_name += " schedule(by: {named: {agentId: $agent, name: $name}}) { id } }"
    found = await bob.ask(by_name, agent=agent_id, agentName="echo", name="nightly")
    assert found == {"agent": {"id": agent_id}, "schedule": {"id": schedule_id}}
    # when bob may see nothing
    provider.decide = lambda *_: False
    for kind, fields in LOOKUPS.items():
        for field in fields:
            document = f"query($id: ID!) {{ {field} }}"
            answers = []
            for id in (ids[kind], f"{kind}:{new_id()}", "nonsense", f"{kind}:x"):  # noqa: A001 - as in the API
                provider.asked.clear()
                answers.append((await bob.answer(document, id=id), len(provider.asked)))
            # what is of no kind is known to be nothing without asking; the rest is alike
            assert answers[0] == answers[1]
            assert answers[0][0] == answers[2][0] == answers[3][0]
    for name in ("nightly", "other", "No Name"):
        provider.asked.clear()
        found = await bob.ask(by_name, agent=agent_id, agentName="echo" if name == "nightly" else name, name=name)
        assert (found, len(provider.asked)) == ({"agent": None, "schedule": None}, 2)


@pytest.mark.parametrize("code", [404, 422, 429, 500, 503])
async def test_an_outage_is_neither_absence_nor_permission(code: int, ada: Api, provider: ScriptedProvider) -> None:
    agent_id = await ada.agent()
    provider.broken |= {CHECK: answer({}, code), SEARCH: answer({}, code)}
    expected = ProviderMisconfigured if code in (404, 422) else Unavailable
    for document in (
        "query($id: ID!) { agent(by: {id: $id}) { id } }",
        "query($id: ID!) { node(id: $id) { id } }",
        "query($id: ID!) { agents(filter: {search: $id}) { totalCount } }",
        "mutation($id: ID!) { deleteAgent(input: {id: $id}) { __typename } }",
    ):
        text = document.replace("$id: ID!", "$id: String!") if "search" in document else document
        assert type(await ada.refusal(text, id=agent_id)) is expected


async def test_subscribers_see_the_events_of_what_they_may_read(
    ada: Api, bob: Api, provided: Stack, provider: ScriptedProvider
) -> None:
    agent_id = await ada.agent()
    hidden, seen = [await ada.schedule(agent_id) for _ in range(2)]
    provider.decide = lambda who, _type, name, _operation: who["user_id"] == "ada" or name == selector(agent_id, seen)
    cursor = (await ada.ask("{ eventCursor }"))["eventCursor"]
    fires = "subscription($after: String) { fireStatus(after: $after) { run { id schedule { id } } } }"
    changes = "subscription($after: String) { scheduleChanged(after: $after) { schedule { id } } }"
    async with bob.events(fires, after=cursor) as of_runs, bob.events(changes, after=cursor) as of_schedules:
        for schedule_id in (hidden, seen):
            await ada.change("pauseSchedule", {"id": schedule_id})
        runs = [await _triggered(ada, schedule_id) for schedule_id in (hidden, seen)]
        assert await of_runs.next() == {"run": {"id": runs[1], "schedule": {"id": seen}}}
        assert await of_schedules.next() == {"schedule": {"id": seen}}
        # and while nobody can say whether they may, nothing is shown and nothing is lost
        provider.broken[CHECK] = status(503)
        await ada.services.schedules.resume(ada.actor, key_of(Kind.SCHEDULE, seen), expected_version=None, note=None)
        assert isinstance(await of_schedules.refusal(), Unavailable)


async def test_decisions_are_not_remembered(ada: Api, provider: ScriptedProvider) -> None:
    agent_id = await ada.agent()
    document = "query($id: ID!) { agent(by: {id: $id}) { id } }"
    assert await ada.ask(document, id=agent_id) == {"agent": {"id": agent_id}}
    provider.decide = lambda *_: False
    assert await ada.ask(document, id=agent_id) == {"agent": None}
    provider.decide = everything
    assert await ada.ask(document, id=agent_id) == {"agent": {"id": agent_id}}


async def _triggered(ada: Api, schedule_id: str) -> str:
    answer = await ada.change("triggerSchedule", {"id": schedule_id}, "... on ScheduleTriggered { run { id } }")
    return str(answer["run"]["id"])


async def _run_of(ada: Api, agent_id: str) -> str:
    wanted = {"agentId": agent_id, "initialInput": {"content": "Go."}}
    answer = await ada.change("runAgent", wanted, "... on AgentRunStarted { run { id } }")
    return str(answer["run"]["id"])


def _kind(mutation: str) -> str:
    if mutation in ("updateAgent", "deleteAgent", "runAgent", "createSchedule"):
        return "agent"
    return "run" if mutation in ("retryRun", "resolveRun") else "schedule"


def _input(mutation: str, id: str) -> dict[str, Any]:
    if mutation == "createSchedule":
        return creation(id, name="another")
    return {"agentId" if mutation == "runAgent" else "id": id, **MUTATIONS[mutation]}
