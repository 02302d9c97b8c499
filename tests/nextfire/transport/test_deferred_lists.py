"""Lists whose items defer something, once the document is compiled: what plans complete, as a client sees it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from structlog.typing import EventDict

from nextfire.transport import Bounds
from nextfire.transport.negotiation import MULTIPART, SSE
from tests.nextfire.transport.conftest import Served, serving
from tests.nextfire.transport.test_streaming import frames

HELD = '{ leaves(count: 3) { name ... @defer(label: "later") { heldTogether } } }'
BROKEN = "{ leaves(count: 3) { name ... @defer { brokenTogether } } }"


async def compiled(served: Served, query: str) -> None:
    """Ask until the document is."""
    served.toy.context.release.set()
    for _ in range(3):
        await served.post({"query": query}, accept=MULTIPART)
    served.toy.reset()


def pending(label: str | None = None) -> list[Any]:
    named = {} if label is None else {"label": label}
    return [{"id": str(number), "path": ["leaves", number], **named} for number in range(3)]


@pytest.mark.parametrize("accept", [MULTIPART, SSE])
async def test_the_rest_comes_in_one_part(served: Served, accept: str) -> None:
    # given
    await compiled(served, HELD)
    served.toy.context.release.set()
    # when
    first, second = frames(await served.post({"query": HELD}, accept=accept))
    # then
    assert first == {
        "data": {"leaves": [{"name": "0"}, {"name": "1"}, {"name": "2"}]},
        "pending": pending("later"),
        "hasNext": True,
    }
    assert second == {
        "hasNext": False,
        "incremental": [
            {**told, "data": {"heldTogether": f"released {number}"}} for number, told in enumerate(pending("later"))
        ],
        "completed": [{"id": "0"}, {"id": "1"}, {"id": "2"}],
    }


@pytest.mark.parametrize("accept", [MULTIPART, SSE])
async def test_what_fails_is_read_item_by_item_and_masked(served: Served, logged: list[EventDict], accept: str) -> None:
    # given
    await compiled(served, BROKEN)
    logged.clear()
    # when
    response = await served.post({"query": BROKEN}, accept=accept, x_request_id="mine")
    # then
    first, second = frames(response)
    assert first["pending"] == pending()
    assert served.toy.context.calls == ["3 together"]
    assert [part["data"] for part in second["incremental"]] == [{"brokenTogether": f"read {n}"} for n in (0, 2)]
    failed = second["completed"].pop(1)
    assert second["completed"] == [{"id": "0"}, {"id": "2"}]
    (error,) = failed.pop("errors")
    assert failed == {"id": "1"}
    assert (error["message"], error["path"]) == ("Internal error", ["leaves", 1, "brokenTogether"])
    assert error["extensions"] == {"code": "INTERNAL", "requestId": "mine"}
    assert len(logged) == 1
    assert "hunter2" not in response.text


@pytest.mark.parametrize("accept", [MULTIPART, SSE])
async def test_a_client_that_leaves_stops_the_reading(served: Served, accept: str) -> None:
    # given an answer of which all is told but what is read together
    await compiled(served, HELD)
    context = served.toy.context
    request = served.http.build_request("POST", served.url, json={"query": HELD}, headers={"accept": accept})
    response = await served.http.send(request, stream=True)
    chunks, read = response.aiter_bytes(), b""
    while b"pending" not in read:
        read += await anext(chunks)
    await asyncio.wait_for(context.begun.wait(), 20)

    # when
    await response.aclose()

    # then
    await asyncio.wait_for(context.closed.wait(), 20)
    assert not context.release.is_set()


async def test_what_is_late_is_given_up() -> None:
    async with serving(Bounds(deadline=timedelta(milliseconds=200))) as served:
        # given
        await compiled(served, HELD)
        # when
        first, second = frames(await served.post({"query": HELD}, accept=MULTIPART))
        # then
        assert first["pending"] == pending("later")
        assert second["hasNext"] is False
        assert [each["id"] for each in second["completed"]] == ["0", "1", "2"]
        codes = {error["extensions"]["code"] for each in second["completed"] for error in each["errors"]}
        assert codes == {"TIMEOUT"}
        assert served.toy.context.closed.is_set()
