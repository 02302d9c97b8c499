"""Reading single things: by id, by name, and by any id."""

import pytest

from schema import build_schema
from services.errors import InvalidInput
from services.principals import Actor, Principal, PrincipalType
from tests.schema.api import Api

MALFORMED = ["", "nonsense", "Schedule", "Schedule:", "Schedule:1", ":", "\x00", "\ud800", "Schedule:" + "0" * 1000]
UNKNOWN = [f"{kind}:00000000-0000-7000-8000-000000000000" for kind in ("Schedule", "Agent", "Run", "Task", "Message")]


async def test_an_id_that_is_nothing_is_null_everywhere(api: Api) -> None:
    document = """query($id: ID!) {
      node(id: $id) { id }
      nodes(ids: [$id, $id]) { id }
      agent(by: {id: $id}) { id }
      schedule(by: {id: $id}) { id }
      named: schedule(by: {named: {agentId: $id, name: "nightly"}}) { id }
      run(id: $id) { id }
      schedules(filter: {agentIds: [$id]}) { totalCount }
      runs(filter: {scheduleIds: [$id], agentIds: [$id]}) { totalCount }
    }"""
    await api.schedule(await api.agent(), name="nightly")

    for each in MALFORMED + UNKNOWN:
        found = await api.ask(document, id=each)
        assert (each, found) == (
            each,
            {
                "node": None,
                "nodes": [None, None],
                "agent": None,
                "schedule": None,
                "named": None,
                "run": None,
                "schedules": {"totalCount": 0},
                "runs": {"totalCount": 0},
            },
        )


async def test_a_name_that_is_nobodys_is_null(api: Api) -> None:
    document = """query($agent: ID!, $name: String!) {
      agent(by: {name: $name}) { id }
      schedule(by: {named: {agentId: $agent, name: $name}}) { id }
    }"""
    agent_id = await api.agent()

    for name in ("", "No Name", "\x00", "\ud800", "x" * 65, "unknown"):
        assert await api.ask(document, agent=agent_id, name=name) == {"agent": None, "schedule": None}


async def test_every_kind_of_node_is_found_by_its_id_at_its_place(api: Api) -> None:
    agent_id = await api.agent()
    schedule_id = await api.schedule(agent_id, name="nightly")
    triggered = await api.change(
        "triggerSchedule", {"id": schedule_id}, "... on ScheduleTriggered { run { id task { id } } }"
    )
    run_id, task_id = triggered["run"]["id"], triggered["run"]["task"]["id"]
    ids = [task_id, "nonsense", schedule_id, run_id, UNKNOWN[0], agent_id, schedule_id]
    fields = """{
      __typename id
      ... on Agent { name } ... on Schedule { name agent { id } }
      ... on Run { schedule { id } } ... on Task { displayName }
    }"""

    found = await api.ask(f"query($ids: [ID!]!) {{ nodes(ids: $ids) {fields} }}", ids=ids)

    assert [node and (node["__typename"], node["id"]) for node in found["nodes"]] == [
        ("Task", task_id),
        None,
        ("Schedule", schedule_id),
        ("Run", run_id),
        None,
        ("Agent", agent_id),
        ("Schedule", schedule_id),
    ]
    for node_id, node in zip(ids, found["nodes"], strict=True):
        assert await api.ask(f"query($id: ID!) {{ node(id: $id) {fields} }}", id=node_id) == {"node": node}
    assert await api.other().ask("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=ids) == {"nodes": [None] * 7}


async def test_too_many_ids_are_refused(api: Api) -> None:
    error = await api.refusal("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=["x"] * 101)

    assert isinstance(error, InvalidInput)
    assert error.path == ("ids",)


async def test_a_schedule_is_found_by_its_agent_and_name(api: Api) -> None:
    agent_id, other = await api.agent(), await api.agent()
    schedule_id = await api.schedule(agent_id, name="nightly")
    document = """query($agent: ID!) {
      schedule(by: {named: {agentId: $agent, name: "nightly"}}) { id agent { id } deliveryMethod }
    }"""

    assert await api.ask(document, agent=agent_id) == {
        "schedule": {"id": schedule_id, "agent": {"id": agent_id}, "deliveryMethod": "MESSAGE_SEND"}
    }
    assert await api.ask(document, agent=other) == {"schedule": None}


@pytest.mark.parametrize("by", ["{}", '{id: "x", name: "y"}', "{id: null}", '{nobody: "x"}'])
async def test_a_reference_is_by_exactly_one_thing(api: Api, by: str) -> None:
    _, errors = await api.answer(f"{{ agent(by: {by}) {{ id }} }}")

    assert len(errors) == 1
    assert errors[0].path is None
    assert "Maybe" not in errors[0].message


async def test_the_viewer_is_who_asks(api: Api) -> None:
    document = "{ viewer { authenticated principal { type userId serviceAccountId accountId } } }"
    principal = Principal(PrincipalType.USER, "ada", None, "acme")

    assert await api.ask(document) == {"viewer": {"authenticated": False, "principal": None}}
    assert await Api(api.services, Actor("acme", principal)).ask(document) == {
        "viewer": {
            "authenticated": True,
            "principal": {"type": "USER", "userId": "ada", "serviceAccountId": None, "accountId": "acme"},
        }
    }


async def test_the_server_tells_of_itself(api: Api) -> None:
    found = await api.ask("{ serverInfo { version schedulesEnabled temporalReachable temporalNamespace } }")

    assert found["serverInfo"] == {
        "version": api.services.server.version,
        "schedulesEnabled": True,
        "temporalReachable": True,
        "temporalNamespace": "default",
    }


async def test_without_schedules_only_agents_are_nodes(api: Api) -> None:
    agent_id = await api.agent()
    schedule_id = await api.schedule(agent_id)
    schema = build_schema(schedules=False)

    result = await schema.execute(
        "query($ids: [ID!]!) { nodes(ids: $ids) { __typename } }",
        variable_values={"ids": [agent_id, schedule_id]},
        context_value=api.context(),
    )

    assert (result.errors, result.data) == (None, {"nodes": [{"__typename": "Agent"}, None]})
