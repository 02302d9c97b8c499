from typing import Any

import pytest

from tests.schema.api import Api

UNKNOWN = "Agent:00000000-0000-7000-8000-000000000000"
AGENT = "{ id name description protocol url status deliveryMethod version deletedAt }"


async def registered(api: Api, **values: Any) -> dict[str, Any]:
    wanted = {"name": "reporter", "protocol": "SYNC", "url": "http://agent.test", **values}
    return await api.change("registerAgent", wanted, f"... on AgentRegistered {{ agent {AGENT} }}")


async def updated(api: Api, agent_id: str, version: int = 1, **values: Any) -> dict[str, Any]:
    fields = (
        f"... on AgentUpdated {{ agent {AGENT} }} ... on AgentVersionConflict {{ expected actual current {AGENT} }}"
    )
    return await api.change("updateAgent", {"id": agent_id, "expectedVersion": version, **values}, fields)


@pytest.mark.parametrize(
    ("protocol", "method"), [("SYNC", "MESSAGE_SEND"), ("ASYNC", "EVENT_SEND"), ("AGENTIC", "EVENT_SEND")]
)
async def test_an_agent_is_registered_and_read_back(api: Api, protocol: str, method: str) -> None:
    answer = await registered(api, protocol=protocol, url="http://agent.test/", apiKey="secret")

    assert answer["__typename"] == "AgentRegistered"
    agent = answer["agent"]
    assert agent == {
        "id": agent["id"],
        "name": "reporter",
        "description": None,
        "protocol": protocol,
        "url": "http://agent.test",
        "status": "ACTIVE",
        "deliveryMethod": method,
        "version": 1,
        "deletedAt": None,
    }
    by_id = await api.ask(f"query($id: ID!) {{ agent(by: {{id: $id}}) {AGENT} }}", id=agent["id"])
    by_name = await api.ask(f'{{ agent(by: {{name: "reporter"}}) {AGENT} }}')
    assert by_id == by_name == {"agent": agent}


async def test_everything_that_is_wrong_with_an_agent_is_said_at_once(api: Api) -> None:
    answer = await registered(api, name="No Name", url="ftp://user:pw@x", description="a" * 1001, apiKey="\x00")

    assert answer["__typename"] == answer["code"].title().replace("_", "") == "InvalidInput"
    paths = {tuple(issue["path"]) for issue in answer["issues"]}
    assert paths == {("input", "name"), ("input", "url"), ("input", "description"), ("input", "apiKey")}


async def test_a_taken_name_is_answered_with_a_free_one(api: Api) -> None:
    await registered(api)

    answer = await registered(api)

    assert answer["__typename"] == "NameTaken"
    assert (answer["path"], answer["suggestion"]) == (["input", "name"], "reporter-2")


async def test_an_update_changes_what_is_present_and_null_clears(api: Api) -> None:
    agent = (await registered(api, description="Writes reports."))["agent"]

    renamed = await updated(api, agent["id"], name="writer")
    cleared = await updated(api, agent["id"], 2, description=None, apiKey=None)
    unchanged = await updated(api, agent["id"], 3)

    assert renamed["agent"] == agent | {"name": "writer", "version": 2}
    assert cleared["agent"] == agent | {"name": "writer", "description": None, "version": 3}
    assert unchanged["agent"] == cleared["agent"]


async def test_null_is_refused_where_a_value_is_needed_together_with_all_else(api: Api) -> None:
    agent_id = await api.agent()

    answer = await updated(api, agent_id, name=None, protocol=None, url="nowhere")

    assert answer["__typename"] == "InvalidInput"
    assert [issue["path"] for issue in answer["issues"]] == [["input", "name"], ["input", "protocol"], ["input", "url"]]
    assert answer["issues"][0]["message"] == "This may not be null: leave it out, or give a value."


async def test_an_update_of_another_version_is_a_conflict_with_what_is_there(api: Api) -> None:
    agent = (await registered(api))["agent"]

    answer = await updated(api, agent["id"], 7, name="writer")

    assert answer["__typename"] == "AgentVersionConflict"
    assert (answer["code"], answer["path"]) == ("VERSION_CONFLICT", ["input", "expectedVersion"])
    assert (answer["expected"], answer["actual"], answer["current"]) == (7, 1, agent)


async def test_an_update_to_a_taken_name_is_refused(api: Api) -> None:
    await registered(api)
    other = await api.agent()

    assert (await updated(api, other, name="reporter"))["__typename"] == "NameTaken"


async def test_a_deleted_agent_stays_readable_and_frees_its_name(api: Api) -> None:
    agent = (await registered(api))["agent"]

    answer = await api.change("deleteAgent", {"id": agent["id"]}, f"... on AgentDeleted {{ agent {AGENT} }}")

    gone = answer["agent"]
    assert gone["deletedAt"] is not None
    assert gone == agent | {"status": "DELETED", "version": 2, "deletedAt": gone["deletedAt"]}
    found = await api.ask(
        f"""query($id: ID!) {{
          agent(by: {{id: $id}}) {AGENT}
          named: agent(by: {{name: "reporter"}}) {{ id }}
          live: agents {{ totalCount }}
          all: agents(filter: {{includeDeleted: true}}) {{ totalCount }}
          deleted: agents(filter: {{statuses: [DELETED]}}) {{ totalCount }}
        }}""",
        id=agent["id"],
    )
    assert found == {
        "agent": gone,
        "named": None,
        "live": {"totalCount": 0},
        "all": {"totalCount": 1},
        "deleted": {"totalCount": 1},
    }
    assert (await registered(api))["__typename"] == "AgentRegistered"


async def test_deleting_another_version_is_a_conflict(api: Api) -> None:
    agent_id = await api.agent()

    answer = await api.change("deleteAgent", {"id": agent_id, "expectedVersion": 2})

    assert answer["__typename"] == "AgentVersionConflict"


async def test_an_agent_that_is_not_there_is_not_found(api: Api) -> None:
    for agent_id in (UNKNOWN, "", "nonsense", "Agent:", UNKNOWN.replace("Agent", "Run"), "\x00", "5"):
        for answer in (await updated(api, agent_id, name="writer"), await api.change("deleteAgent", {"id": agent_id})):
            assert (answer["__typename"], answer["path"]) == ("NotFound", ["input", "id"])


async def test_an_agent_of_another_account_is_not_there(api: Api) -> None:
    agent_id = await api.agent(name="reporter")
    other = api.other()

    answer = await updated(other, agent_id, name="writer")
    found = await other.ask(
        """query($id: ID!) {
          agent(by: {id: $id}) { id } named: agent(by: {name: "reporter"}) { id } node(id: $id) { id }
          agents { totalCount nodes { id } }
        }""",
        id=agent_id,
    )

    assert answer["__typename"] == "NotFound"
    assert found == {"agent": None, "named": None, "node": None, "agents": {"totalCount": 0, "nodes": []}}
