"""What clients send is neither in the logs nor in the errors, at the most talkative level of logging."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.no_tls import NO_TLS
from tests.programs import api, environment
from tests.waiting import wait_until

SECRET = "planted-secret-7f3a"
HEADERS = {"authorization": f"Bearer {SECRET}", "cookie": f"session={SECRET}", "x-api-key": SECRET}
QUERY = f'query Named($v: ID!) {{ agent(by: {{id: $v}}) {{ id }} __typename @skip(if: "{SECRET}") }}'
AGENT = f'{{ agent(by: {{name: "{SECRET}"}}) {{ id }} }}'
REQUESTS: list[dict[str, Any]] = [
    {"method": "GET", "params": {"query": AGENT, "variables": f'{{"token": "{SECRET}"}}'}},
    {"method": "GET", "params": {"query": "{ nope }", "token": SECRET}},
    {"method": "POST", "params": {"token": SECRET}, "json": {"query": AGENT}},
    {"method": "POST", "json": {"query": QUERY, "variables": {"v": [SECRET]}}},
    {"method": "POST", "json": {"query": "query ($v: Int!) { __typename @skip(if: $v) }", "variables": {"v": SECRET}}},
    {"method": "POST", "content": f"{SECRET} is no JSON", "headers": {"content-type": "application/json"}},
    {"method": "POST", "content": SECRET, "headers": {"content-type": f"text/{SECRET}"}},
    {"method": "PUT", "content": SECRET},
    {"method": "POST", "json": {"query": "{ __typename }"}, "headers": {"origin": f"https://{SECRET}.example"}},
]


@pytest.mark.parametrize("log_format", ["json", "text"])
async def test_what_clients_send_is_not_logged(database_url: str, tmp_path: Path, log_format: str) -> None:
    # given an API that logs all that it can
    variables = environment(database_url, "127.0.0.1:9", NEXTFIRE_LOG_LEVEL="debug", NEXTFIRE_LOG_FORMAT=log_format)
    with api(tmp_path, variables) as running:
        # when clients send secrets in every place that there is, over HTTP ...
        answers = []
        async with httpx.AsyncClient(base_url=running.url, timeout=30, trust_env=False, verify=NO_TLS) as http:
            for request in REQUESTS:
                asked = {**request, "headers": HEADERS | request.get("headers", {})}
                answers.append(await http.request(url="/graphql", **asked))
            await http.get("/nowhere", params={"token": SECRET})
            await http.get(f"/{SECRET}")

        # ... and over sockets, some of which are refused
        socket_url = f"{running.url.replace('http', 'ws')}/graphql?{urlencode({'token': SECRET})}"
        for payload in ({"type": "connection_init", "payload": {"authorization": SECRET}}, SECRET, [SECRET]):
            async with connect(socket_url, subprotocols=["graphql-transport-ws"], additional_headers=HEADERS) as socket:  # type: ignore[list-item]
                await socket.send(json.dumps(payload))
                if isinstance(payload, dict):
                    await socket.recv()
                    message = {"id": "1", "type": "subscribe", "payload": {"query": QUERY, "variables": {"v": SECRET}}}
                    await socket.send(json.dumps(message))
                    assert SECRET not in str(await socket.recv())

    # then neither the log nor an error holds one
    log = running.child.log
    wait_until(lambda: running.child.exit_code is not None)
    text = log.read_text()
    assert "the listener is connected" in text
    assert SECRET not in text
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 200, 400, 415, 405, 403]
    assert [SECRET for answer in answers if SECRET in answer.text] == []
