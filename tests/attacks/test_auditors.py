"""What common GraphQL auditors look for, each check as a test: graphql-cop's list, and OWASP's on GraphQL."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.attacks.target import Target

NAME = "{ __typename }"


async def codes_of(target: Target, query: str, **rest: Any) -> tuple[int, list[str]]:
    """The status and the codes of the errors."""
    response = await target.post({"query": query, **rest})
    return response.status_code, [error["extensions"]["code"] for error in response.json().get("errors", [])]


async def test_alias_overloading(target: Target) -> None:
    query = "{ " + " ".join(f"a{n}: __typename" for n in range(101)) + " }"
    assert await codes_of(target, query) == (422, ["OPERATION_TOO_COMPLEX"])


async def test_array_batching(target: Target) -> None:
    response = await target.post([{"query": NAME}] * 10)
    assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_REQUEST")
    assert "data" not in response.json()


async def test_directive_overloading(target: Target) -> None:
    status, codes = await codes_of(target, "{ __typename " + "@aa" * 100 + " }")
    assert (status, codes) == (422, ["OPERATION_TOO_COMPLEX"])
    status, codes = await codes_of(target, "{ __typename " + "@skip(if: false)" * 100 + " }")
    assert (status, codes) == (422, ["OPERATION_TOO_COMPLEX"])


async def test_field_duplication(target: Target) -> None:
    assert await codes_of(target, "{ " + "__typename " * 500 + "}") == (422, ["OPERATION_TOO_COMPLEX"])


async def test_circular_introspection(target: Target) -> None:
    query = "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }"
    response = await target.post({"query": query})
    assert response.status_code >= 400
    assert "data" not in response.json()


async def test_circular_fragments(target: Target) -> None:
    query = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"
    status, codes = await codes_of(target, query)
    assert (status, set(codes)) == (422, {"GRAPHQL_VALIDATION_FAILED"})


@pytest.mark.parametrize("query", ["{ schedule }", "{ nope }", "{ agnts { nodes { id } } }", "{ viewer }"])
async def test_field_suggestions(target: Target, query: str) -> None:
    """`Did you mean` rebuilds a hidden schema word by word; `look_at` counts it as a leak in every answer."""
    response = await target.post({"query": query})
    assert response.status_code == 422


async def test_a_mutation_by_get(target: Target) -> None:
    query = 'mutation { deleteSchedule(input: {id: "x"}) { __typename } }'
    async with target.client() as client:
        response = await client.get("/graphql?" + urlencode({"query": query}))
    target.look_at(response.text)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"]
)
async def test_requests_that_a_form_can_send(target: Target, content_type: str) -> None:
    for body in (urlencode({"query": NAME}), json.dumps({"query": NAME})):
        response = await target.post(body, **{"content-type": content_type})
        assert response.status_code == 415, response.text


@pytest.mark.parametrize("headers", [{"origin": "https://evil.test"}, {"sec-fetch-site": "cross-site"}])
async def test_requests_of_another_origin(target: Target, headers: dict[str, str]) -> None:
    response = await target.post({"query": NAME}, **headers)
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("header", ["x-apollo-tracing", "x-debug", "x-graphql-debug"])
async def test_no_trace_and_no_debug_mode(target: Target, header: str) -> None:
    response = await target.post({"query": "{ viewer { authenticated } }"}, **{header: "1"})
    assert response.json()["data"] == {"viewer": {"authenticated": True}}
    assert not {"tracing", "debug"} & set(response.json().get("extensions", {}))


@pytest.mark.parametrize("path", ["/graphiql", "/playground", "/altair", "/console", "/graphql/schema", "/voyager"])
async def test_no_development_page_answers(target: Target, path: str) -> None:
    async with target.client() as client:
        response = await client.get(path)
    target.look_at(response.text)
    assert response.status_code == 404


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ('{ node(id: "Schedule:\' OR 1=1 --") { id } }', {}),
        ('{ schedules(filter: {search: "%\' UNION SELECT digest FROM api_keys --"}) { totalCount } }', {}),
        ('{ schedules(filter: {search: "\\\\"}) { totalCount } }', {}),
        ("query ($after: String) { schedules(first: 1, after: $after) { totalCount } }", {"after": "' OR 1=1 --"}),
        ("query ($after: String) { schedules(first: 1, after: $after) { totalCount } }", {"after": "{{7*7}}${7*7}"}),
        ("query ($id: ID!) { node(id: $id) { id } }", {"id": "../../etc/passwd"}),
        ("query ($id: ID!) { node(id: $id) { id } }", {"id": "Schedule:" + "0" * 64}),
        ("query ($id: ID!) { node(id: $id) { id } }", {"id": {"$ne": None}}),
        ("query ($id: ID!) { node(id: $id) { id } }", {"id": 2**70}),
    ],
)
async def test_injections(target: Target, query: str, variables: dict[str, Any]) -> None:
    response = await target.post({"query": query, "variables": variables})
    answer = response.json()
    found = answer.get("data") or {}
    assert not found.get("node")
    assert (found.get("schedules") or {"totalCount": 0})["totalCount"] == 0
    assert {error["extensions"]["code"] for error in answer.get("errors", [])} <= {"BAD_USER_INPUT", "INVALID_INPUT"}


async def test_guessing_credentials_tells_nothing(target: Target) -> None:
    shapes = ["", "Bearer", "Bearer x", "Basic eDp4", f"Bearer {target.attacker[:-1]}", f"Bearer {target.attacker}x"]
    messages = set()
    for shape in shapes:
        response = await target.post({"query": NAME}, authorization=shape)
        assert response.status_code == 401, shape
        messages.add(response.json()["errors"][0]["extensions"]["code"])
    assert messages == {"UNAUTHENTICATED"}
