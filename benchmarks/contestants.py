"""The contestants of the two reads that all peers can do, with what they answer brought into the product's form.

The GraphQL servers that are written by hand offer the product's own names and answer the very same. REST and
PostGraphile have forms of their own: see `of_rest_page` and `of_postgraphile` for what is changed before comparing.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from benchmarks import documents
from benchmarks.bench import Bench
from benchmarks.contest import Contestant
from benchmarks.data import ACCOUNT
from benchmarks.load import get, post
from benchmarks.stack import Server

POSTGRAPHILE_NODE = (
    documents.PLAIN.replace(" id ", " id: rowId ") + "agent: agentByAgentId { id: rowId name protocol status }"
)
POSTGRAPHILE_PAGE = f"""
query Page($first: Int!) {{
  schedules: allAgentRunSchedules(
    first: $first, orderBy: [CREATED_AT_DESC, ROW_ID_DESC], condition: {{accountId: "{ACCOUNT}"}}
  ) {{
    edges {{ cursor node {{ {POSTGRAPHILE_NODE} }} }}
    pageInfo {{ hasNextPage endCursor }}
  }}
}}
"""
POSTGRAPHILE_ONE = (
    f"query One($id: UUID!) {{ schedule: agentRunScheduleByRowId(rowId: $id) {{ {POSTGRAPHILE_NODE} }} }}"
)
Requests = Sequence[bytes]


def page_contestants(bench: Bench, first: int) -> Iterator[Contestant]:
    asked = {"first": first}
    yield Contestant("limit", bench.python_peer("limit"), [get(f"/page?first={first}")])
    if bench.peers:
        yield from _by_hand(bench, [post("/graphql", {"query": documents.PAGE, "variables": asked})])
        rest = get(f"/schedules?first={first}")
        yield Contestant("FastAPI REST", _rest(bench), [rest], of_rest_page, of_page)
        requests = [post("/graphql", {"query": POSTGRAPHILE_PAGE, "variables": asked})]
        yield Contestant("PostGraphile", _postgraphile(bench), requests, of_postgraphile, without_cursors)


def one_contestants(bench: Bench, ids: Sequence[str]) -> Iterator[Contestant]:
    yield Contestant("limit", bench.python_peer("limit"), [get(f"/one?id={quote(each)}") for each in ids])
    if bench.peers:
        yield from _by_hand(
            bench, [post("/graphql", {"query": documents.ONE, "variables": {"id": key}}) for key in ids]
        )
        keys = [each.partition(":")[2] for each in ids]
        yield Contestant("FastAPI REST", _rest(bench), [get(f"/schedules/{key}") for key in keys], of_rest_one)
        bodies = [{"query": POSTGRAPHILE_ONE, "variables": {"id": key}} for key in keys]
        requests = [post("/graphql", body) for body in bodies]
        yield Contestant("PostGraphile", _postgraphile(bench), requests, of_postgraphile)


def _by_hand(bench: Bench, requests: Requests) -> Iterator[Contestant]:
    """The servers whose schema is the product's."""
    servers: dict[str, Callable[[], Server]] = {
        "graphql-core": lambda: bench.python_peer("core"),
        "Ariadne": lambda: bench.python_peer("ariadne_app"),
        "Mercurius": lambda: bench.node_peer("mercurius", "mercurius.js"),
        "Mercurius with JIT": lambda: bench.node_peer("mercurius-jit", "mercurius.js", "jit"),
        "GraphQL Yoga": lambda: bench.node_peer("yoga", "yoga.js"),
    }
    for name, server in servers.items():
        yield Contestant(name, server(), requests)


def _rest(bench: Bench) -> Server:
    return bench.python_peer("rest")


def _postgraphile(bench: Bench) -> Server:
    return bench.node_peer("postgraphile", "postgraphile.js")


def of_page(data: Any) -> Any:
    """The product's page as REST has it: the items, and the cursor of the last."""
    return {
        "items": [edge["node"] for edge in data["schedules"]["edges"]],
        "next": data["schedules"]["pageInfo"]["endCursor"],
    }


def of_rest_page(answer: Any) -> Any:
    """REST's ids are bare UUIDs."""
    return {"items": [_typed(item) for item in answer["items"]], "next": answer["nextCursor"]}


def of_rest_one(answer: Any) -> Any:
    return {"schedule": _typed(answer)}


def of_postgraphile(data: Any) -> Any:
    """PostGraphile's ids are bare UUIDs, its times have six digits and +00:00, and its cursors are its own."""
    found = _each_time(data)
    if found.get("schedule"):
        return {"schedule": _typed(found["schedule"])}
    edges = [{"node": _typed(edge["node"])} for edge in found["schedules"]["edges"]]
    return {"schedules": {"edges": edges, "pageInfo": {"hasNextPage": found["schedules"]["pageInfo"]["hasNextPage"]}}}


def without_cursors(data: Any) -> Any:
    edges = [{"node": edge["node"]} for edge in data["schedules"]["edges"]]
    return {"schedules": {"edges": edges, "pageInfo": {"hasNextPage": data["schedules"]["pageInfo"]["hasNextPage"]}}}


def _typed(schedule: dict[str, Any]) -> dict[str, Any]:
    agent = {**schedule["agent"], "id": f"Agent:{schedule['agent']['id']}"}
    return {**schedule, "id": f"Schedule:{schedule['id']}", "agent": agent}


def _each_time(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _each_time(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_each_time(each) for each in value]
    written = ".000000+00:00"
    return value.removesuffix(written) + "Z" if isinstance(value, str) and value.endswith(written) else value
