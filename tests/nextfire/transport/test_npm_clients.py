"""Subscriptions by the clients that browsers use: npm graphql-ws and graphql-sse."""

from pathlib import Path

import pytest

from tests.nextfire.transport.conftest import Served
from tests.nextfire.transport.node import run_node

COUNTED = [{"data": {"count": 0}}, {"data": {"count": 1}}, {"data": {"count": 2}}]


@pytest.mark.parametrize("kind", ["ws", "sse"])
async def test_a_subscription_to_its_end(served: Served, npm_clients: Path, kind: str) -> None:
    # given
    url = served.socket_url if kind == "ws" else served.url

    # when
    heard = await run_node(npm_clients, "subscribe.mjs", kind, url, "subscription { count }")

    # then
    assert heard == {"results": COUNTED, "error": None}


async def test_an_invalid_subscription_over_a_socket_is_an_error(served: Served, npm_clients: Path) -> None:
    # when
    heard = await run_node(npm_clients, "subscribe.mjs", "ws", served.socket_url, "subscription { nope }")

    # then
    assert heard["results"] == []
    assert heard["error"][0]["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED"}


async def test_an_invalid_subscription_over_server_sent_events_is_a_result(served: Served, npm_clients: Path) -> None:
    # when
    heard = await run_node(npm_clients, "subscribe.mjs", "sse", served.url, "subscription { nope }")

    # then
    assert heard["error"] is None
    assert heard["results"][0]["errors"][0]["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED"}
