"""Documents and values made to cost much. Each is answered, for little, while someone else is served."""

import json
from typing import Any

import pytest

from tests.attacks.target import MOST_GROWTH, Target

LIST = "query ($filter: ScheduleFilter, $after: String) { schedules(filter: $filter, after: $after) { totalCount } }"
PREVIEW = """query ($cadence: CadenceInput!, $first: Int) {
  previewCadence(cadence: $cadence, first: $first) {
    ... on CadencePreview { fires { at } }
    ... on InvalidInput { code }
  }
}"""


def chain(links: int, link: str) -> str:
    """Fragments of which each spreads the next; `{}` in a link is the next one's name."""
    fragments = (f"fragment F{n} on Schedule {{ {link.format(f'F{n + 1}')} }}" for n in range(links))
    return "{ schedules { nodes { ...F0 } } } " + " ".join(fragments) + f" fragment F{links} on Schedule {{ id }}"


def nested(levels: int) -> str:
    return "{ agents { nodes " + "{ schedules { nodes { agent " * levels + "{ id }" + " } } }" * levels + " } }"


def cron(expression: str, first: int = 100) -> dict[str, Any]:
    cadence = {"cron": {"expression": expression, "timeZone": "Europe/Berlin"}}
    return {"query": PREVIEW, "variables": {"cadence": cadence, "first": first}}


def listing(**variables: Any) -> dict[str, Any]:
    return {"query": LIST, "variables": variables}


DOCUMENTS = {
    "a fragment bomb": chain(100, "agent {{ schedules {{ nodes {{ ...{0} }} }} }} x: agent {{ id }} "),
    "a wide fragment bomb": chain(60, "a: agent {{ name }} b: agent {{ name }} ...{0} ...{0} ...{0}"),
    "fragments in a circle": "{ ...A } fragment A on Query { ...B ...B } fragment B on Query { ...A ...A }",
    "an alias flood": "{ " + " ".join(f"a{n}: schedules {{ totalCount }}" for n in range(2_500)) + " }",
    "overlapping fields": "{ " + "schedules { nodes { id name agent { id } } } " * 150 + "}",
    "overlapping fragments": "{ schedules { nodes { "
    + "".join(f"...F{n} " for n in range(200))
    + "} } } "
    + " ".join(f"fragment F{n} on Schedule {{ agent {{ id name }} id }}" for n in range(200)),
    "a directive flood": "{ " + "__typename " + "@include(if: true) " * 4_000 + "}",
    "unknown directives": "{ " + "__typename @a(b: [[[[{c: 1}]]]]) " * 1_500 + "}",
    "deep lists": nested(40),
    "a hundred levels": "{ "
    + "schedules { nodes { agent { schedules { nodes { agent { schedules { nodes " * 12
    + "{ id }",
    "brackets": "[" * 90_000,
    "braces": "{" * 90_000,
    "a deep literal": "{ schedules(filter: " + "{labels: [" * 5_000 + "]}" * 5_000 + ") { totalCount } }",
    "a long name": "{ " + "a" * 90_000 + " }",
    "a long string": '{ schedules(filter: {search: "' + "%_" * 45_000 + '"}) { totalCount } }',
    "a long number": "{ schedules(first: " + "9" * 90_000 + ") { totalCount } }",
    "a long number as a condition": "{ __typename @skip(if: " + "9" * 90_000 + ") }",
    "a long number as a default": "mutation ($metadata: JSON = {a: " + "9" * 90_000 + "}) "
    '{ updateSchedule(input: {id: "x", expectedVersion: 1, taskMetadata: $metadata}) { __typename } }',
    "many operations": " ".join(f"query Q{n} {{ viewer {{ authenticated }} }}" for n in range(600)),
    "many variables": "query (" + " ".join(f"$v{n}: Int" for n in range(900)) + ") { __typename }",
    "many arguments": "{ schedules(" + " ".join(f"a{n}: 1" for n in range(900)) + ") { totalCount } }",
    "many unknown fields": "{ " + " ".join(f"nope{n}" for n in range(900)) + " }",
    "comments": "#" * 90_000 + "\n{ __typename }",
    "commas": "," * 90_000 + "{ __typename }",
    "a block string": '{ schedules(filter: {search: """' + "\n  " * 30_000 + '"""}) { totalCount } }',
    "surrogates": '{ schedules(filter: {search: "' + "\\uD83D\\uDE00" * 7_000 + '"}) { totalCount } }',
}

BODIES: dict[str, Any] = {
    "a thousand in a batch": [{"query": "{ __typename }"}] * 1_000,
    "a deep variable": '{"query": "{ __typename }", "variables": ' + '{"a": ' * 15_000 + "1" + "}" * 15_000 + "}",
    "a deep list as a variable": '{"query": "{ __typename }", "variables": {"a": ' + "[" * 45_000 + "]" * 45_000 + "}}",
    "a number of many digits": '{"query": "{ __typename }", "variables": {"a": ' + "9" * 90_000 + "}}",
    "a float of many digits": '{"query": "{ __typename }", "variables": {"a": 1e' + "9" * 4_000 + "}}",
    "the same key again": '{"query": "{ __typename }", "variables": {' + ",".join(['"a": 1'] * 11_000) + "}}",
    "many keys": json.dumps({"query": "{ __typename }", "variables": {f"k{n}": n for n in range(6_000)}}),
    "no JSON": "\x00" * 50_000,
    "no UTF-8": b"\xff" * 50_000,
    "too large": json.dumps({"query": "{ __typename }", "variables": {"a": "x" * 5_000_000}}),
    "ten thousand labels": listing(filter={"labels": [{"key": "k", "value": str(n)} for n in range(2_500)]}),
    "two thousand ids": listing(filter={"agentIds": [f"Agent:{n:032x}" for n in range(1_900)]}),
    "nodes of many ids": {
        "query": "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }",
        "variables": {"ids": ["Schedule:01890000-0000-7000-8000-000000000000"] * 1_900},
    },
    "a search of wildcards": listing(filter={"search": "%_" * 20_000}),
    "a cursor of garbage": listing(after="=" * 60_000),
    "a cursor of brackets": listing(after="W" * 60_000),
    "a cron of lists": cron(",".join(str(n % 60) for n in range(20_000)) + " * * * *"),
    "a cron of steps": cron("*/1,*/1,*/1," * 4_000 + "*/1 * * * *"),
    "a cron that comes seldom": cron("0 0 29 2 1 2096-2400"),
    "a cron that never comes": cron("0 0 31 2 *"),
    "a cron of seconds": cron("* * * * * * *"),
    "a cron of words": cron("jan" * 20_000),
    "an interval of nothing": {
        "query": PREVIEW,
        "variables": {"cadence": {"interval": {"everySeconds": 1}}, "first": 100},
    },
    "a page of a million": {"query": "{ schedules(first: 1000000) { totalCount } }"},
    "the largest page of all lists": {
        "query": "{ schedules(first: 100) { nodes { runs(first: 100) { nodes { attempts { number } "
        "events(first: 100) { nodes { cursor } } } } changes(first: 100) { nodes { fields { field } } } } } }"
    },
}


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_documents(target: Target, name: str) -> None:
    async with target.measured(name):
        response = await target.post({"query": DOCUMENTS[name]})
    assert response.status_code in (200, 294, 400, 413, 422, 429), response.text[:400]
    answered(response.json())


@pytest.mark.parametrize("name", BODIES)
async def test_bodies(target: Target, name: str) -> None:
    async with target.measured(name):
        response = await target.post(BODIES[name])
    assert response.status_code in (200, 294, 400, 413, 422, 429), response.text[:400]
    answered(response.json())


async def test_documents_that_nobody_sent_before(target: Target) -> None:
    """Each parsed, validated and kept: what is kept is bounded."""
    before = target.process.memory_info().rss
    async with target.client() as client:
        for number in range(1_000):
            query = f"query Q{number} {{ schedules(first: {number % 100 + 1}) {{ nodes {{ id name }} }} }}"
            target.look_at((await client.post("/graphql", json={"query": query})).text)
    await target.serve_bystander()
    assert target.process.memory_info().rss - before < MOST_GROWTH


def answered(answer: dict[str, Any]) -> None:
    """Data, or errors that each say by a code what the caller did wrong."""
    codes = {error["extensions"]["code"] for error in answer.get("errors", [])}
    assert codes <= {
        "BAD_REQUEST",
        "BAD_USER_INPUT",
        "INVALID_INPUT",
        "GRAPHQL_PARSE_FAILED",
        "GRAPHQL_VALIDATION_FAILED",
        "OPERATION_TOO_COMPLEX",
        "RATE_LIMITED",
    }, answer
    assert codes or "data" in answer
