"""Pages: forwards and backwards, in every order, against the whole list sorted by hand."""

from typing import Any

from services.errors import InvalidInput
from tests.schema.api import Api

SCHEDULES = """
  query($filter: ScheduleFilter, $orderBy: ScheduleOrder, $first: Int, $after: String, $last: Int, $before: String) {
    list: schedules(
      filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before
    ) {
      edges { cursor node { id name createdAt updatedAt } }
      nodes { id }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      totalCount
    }
  }
"""
AGENTS = (
    SCHEDULES.replace("schedules(", "agents(")
    .replace("ScheduleFilter", "AgentFilter")
    .replace("ScheduleOrder", "AgentOrder")
)
ORDERS = [
    None,
    *(
        {"field": field, "direction": direction}
        for field in ("CREATED_AT", "UPDATED_AT", "NAME")
        for direction in ("ASC", "DESC")
    ),
]
NAMES = ["delta", "alpha", "echo", "bravo", "a-1", "charlie", "a1"]


async def seven(api: Api) -> str:
    """Seven schedules of one agent, and seven agents besides it, not changed in the order of their making."""
    agent_id = await api.agent(name="zulu")
    for name in NAMES:
        await api.agent(name=name)
        schedule_id = await api.schedule(agent_id, name=name)
        if name in ("alpha", "charlie"):
            await api.change("updateSchedule", {"id": schedule_id, "expectedVersion": 1, "jitterSeconds": 1})
    return agent_id


def in_order(nodes: list[dict[str, Any]], order: dict[str, str] | None) -> list[dict[str, Any]]:
    order = order or {"field": "CREATED_AT", "direction": "DESC"}
    key = {"CREATED_AT": "createdAt", "UPDATED_AT": "updatedAt", "NAME": "name"}[order["field"]]
    return sorted(nodes, key=lambda node: (node[key], node["id"]), reverse=order["direction"] == "DESC")


async def page(api: Api, document: str, **arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await api.ask(document, **arguments))["list"]
    return found


async def walked(api: Api, document: str, size: int, order: Any, *, backwards: bool) -> list[dict[str, Any]]:
    """All nodes, page by page, with what each page must say of itself."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        asked = {"last": size, "before": cursor} if backwards else {"first": size, "after": cursor}
        one = await page(api, document, orderBy=order, **asked)
        edges, info = one["edges"], one["pageInfo"]
        nodes = [edge["node"] for edge in edges]
        assert one["nodes"] == [{"id": node["id"]} for node in nodes]
        assert (info["startCursor"], info["endCursor"]) == (edges[0]["cursor"], edges[-1]["cursor"])
        assert info["hasPreviousPage" if not backwards else "hasNextPage"] == (cursor is not None)
        found = nodes + found if backwards else found + nodes
        if not info["hasPreviousPage" if backwards else "hasNextPage"]:
            return found
        assert len(edges) == size
        cursor = info["startCursor" if backwards else "endCursor"]


async def test_every_walk_finds_every_item_once_and_in_order(api: Api) -> None:
    await seven(api)

    for document in (SCHEDULES, AGENTS):
        everything = [edge["node"] for edge in (await page(api, document, first=100))["edges"]]
        assert len(everything) >= 7
        for order in ORDERS:
            wanted = in_order(everything, order)
            for size in (1, 3, 7, 8, 100):
                assert await walked(api, document, size, order, backwards=False) == wanted
                assert await walked(api, document, size, order, backwards=True) == wanted


async def test_a_page_between_two_cursors_holds_what_is_between_them(api: Api) -> None:
    await seven(api)
    edges = (await page(api, SCHEDULES))["edges"]

    between = {"after": edges[1]["cursor"], "before": edges[5]["cursor"]}
    forwards = await page(api, SCHEDULES, first=2, **between)
    backwards = await page(api, SCHEDULES, last=2, **between)

    assert forwards["edges"] == edges[2:4]
    assert backwards["edges"] == edges[3:5]
    for one in (forwards, backwards):
        assert (one["pageInfo"]["hasPreviousPage"], one["pageInfo"]["hasNextPage"]) == (True, True)


async def test_a_page_is_not_shifted_by_what_happens_elsewhere(api: Api) -> None:
    agent_id = await seven(api)
    edges = (await page(api, SCHEDULES))["edges"]

    await api.schedule(agent_id)
    await api.change("deleteSchedule", {"id": edges[1]["node"]["id"]})

    rest = await page(api, SCHEDULES, after=edges[1]["cursor"])
    assert [edge["node"]["id"] for edge in rest["edges"]] == [edge["node"]["id"] for edge in edges[2:]]


async def test_an_empty_page_has_no_cursors(api: Api) -> None:
    assert await page(api, SCHEDULES) == {
        "edges": [],
        "nodes": [],
        "pageInfo": {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None},
        "totalCount": 0,
    }


async def test_without_a_size_a_page_has_twenty_items(api: Api) -> None:
    for _ in range(21):
        await api.agent()

    one = await page(api, AGENTS)

    assert (len(one["edges"]), one["totalCount"], one["pageInfo"]["hasNextPage"]) == (20, 21, True)


WRONG: list[tuple[dict[str, Any], list[tuple[str, ...]]]] = [
    ({"first": 0}, [("first",)]),
    ({"first": 101}, [("first",)]),
    ({"last": 0}, [("last",)]),
    ({"first": 1, "last": 1}, [("last",)]),
    ({"after": ""}, [("after",)]),
    ({"before": "garbage"}, [("before",)]),
    ({"after": "\x00", "before": "\ud800", "first": -1}, [("first",), ("after",), ("before",)]),
    ({"filter": {"search": "\x00"}}, [("filter", "search")]),
    ({"filter": {"search": "x" * 201}}, [("filter", "search")]),
    ({"filter": {"createdBy": "\ud800"}}, [("filter", "createdBy")]),
    ({"filter": {"labels": [{"key": "\x00", "value": ""}]}}, [("filter", "labels", "0", "key")]),
    ({"filter": {"updatedSince": "2026-01-01T00:00:00"}}, [("filter", "updatedSince")]),
    ({"filter": {"updatedSince": 5}}, [("filter", "updatedSince")]),
]


async def test_what_is_wrong_with_a_list_is_said_with_its_path(api: Api) -> None:
    for arguments, paths in WRONG:
        error = await api.refusal(SCHEDULES, **arguments)
        assert isinstance(error, InvalidInput)
        assert [issue.path for issue in error.issues] == paths


async def test_a_cursor_of_another_order_is_refused(api: Api) -> None:
    await seven(api)
    cursor = (await page(api, SCHEDULES, first=1))["pageInfo"]["endCursor"]

    for arguments in ({"orderBy": {"field": "NAME"}}, {"orderBy": {"field": "CREATED_AT", "direction": "ASC"}}):
        error = await api.refusal(SCHEDULES, after=cursor, **arguments)
        assert "another order" in error.message
    assert "no cursor of this list" in (await api.refusal(AGENTS, after=cursor)).message


async def test_schedules_are_found_by_each_filter(api: Api) -> None:
    first, second = await api.agent(), await api.agent()
    ops = [{"key": "team", "value": "ops"}, {"key": "tier", "value": "1"}]
    one = await api.schedule(first, name="one", description="100% REPORTS", labels=ops)
    two = await api.schedule(second, name="two", paused=True, labels=ops[:1])
    gone = await api.schedule(second, name="gone")
    await api.change("deleteSchedule", {"id": gone})

    async def found(**filter: Any) -> set[str]:
        return {edge["node"]["id"] for edge in (await page(api, SCHEDULES, filter=filter))["edges"]}

    assert await found() == {one, two}
    assert await found(includeDeleted=True) == {one, two, gone}
    assert await found(agentIds=[first]) == {one}
    assert await found(agentIds=[first, "nonsense", one]) == {one}
    assert await found(agentIds=["nonsense"]) == set()
    assert await found(agentIds=[]) == set()
    assert await found(states=["PAUSED"]) == {two}
    assert await found(states=["ACTIVE", "DELETED"]) == {one, gone}
    assert await found(states=[]) == set()
    assert await found(search="reports") == {one}
    assert await found(search="100%") == {one}
    assert await found(search="%") == {one}
    assert await found(search="o_e") == set()
    assert await found(labels=ops[:1]) == {one, two}
    assert await found(labels=ops) == {one}
    assert await found(clockStatus=["IN_SYNC"]) == {one, two}
    assert await found(clockStatus=["MISSING"]) == set()
    assert await found(lastRunStatus=["DELIVERED"]) == set()
    assert await found(createdBy="nobody") == set()
    assert await found(updatedSince="2020-01-01T00:00:00Z") == {one, two}
    assert await found(updatedSince="2099-01-01T00:00:00Z") == set()


async def test_agents_are_found_by_each_filter(api: Api) -> None:
    one = await api.agent(name="one", protocol="SYNC", description="Writes.")
    two = await api.agent(name="two", protocol="ASYNC")

    async def found(**filter: Any) -> set[str]:
        return {edge["node"]["id"] for edge in (await page(api, AGENTS, filter=filter))["edges"]}

    assert await found() == {one, two}
    assert await found(protocols=["ASYNC", "AGENTIC"]) == {two}
    assert await found(statuses=["ACTIVE"]) == {one, two}
    assert await found(statuses=[]) == set()
    assert await found(search="WRITES") == {one}


async def test_an_agents_own_list_holds_its_schedules_only(api: Api) -> None:
    agent_id, other = await api.agent(), await api.agent()
    await api.schedule(agent_id, name="mine")
    await api.schedule(other, name="other")
    document = """query($id: ID!, $others: [ID!]) {
      agent(by: {id: $id}) {
        all: schedules { totalCount nodes { name } }
        both: schedules(filter: {agentIds: $others}) { nodes { name } }
      }
    }"""

    assert await api.ask(document, id=agent_id, others=[other]) == {
        "agent": {"all": {"totalCount": 1, "nodes": [{"name": "mine"}]}, "both": {"nodes": []}}
    }


async def test_the_changes_of_a_schedule_are_pages_too(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent())
    for version in range(1, 5):
        await api.change("updateSchedule", {"id": schedule_id, "expectedVersion": version, "jitterSeconds": version})
    document = """query($id: ID!, $first: Int, $after: String, $last: Int, $before: String) {
      schedule(by: {id: $id}) {
        changes(first: $first, after: $after, last: $last, before: $before) {
          totalCount edges { cursor node { version kind fields { field before after } } }
        }
      }
    }"""

    async def changes(**arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = (await api.ask(document, id=schedule_id, **arguments))["schedule"]["changes"]
        return found

    everything = await changes()
    edges = everything["edges"]
    assert everything["totalCount"] == 5
    assert [edge["node"]["version"] for edge in edges] == [5, 4, 3, 2, 1]
    assert edges[0]["node"] == {
        "version": 5,
        "kind": "UPDATED",
        "fields": [{"field": "jitterSeconds", "before": 3, "after": 4}],
    }
    assert (await changes(first=2, after=edges[1]["cursor"]))["edges"] == edges[2:4]
    assert (await changes(last=2, before=edges[4]["cursor"]))["edges"] == edges[2:4]
