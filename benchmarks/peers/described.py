"""The usual way to a page with live values: the rows from Postgres, and one describe for each, ten at a time."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from temporalio.client import Client

from benchmarks.data import ACCOUNT, LIVE_ACCOUNT
from benchmarks.peers.shared import PAGE, connection_of, pooled

AT_ONCE = 10
LIVE_PAGE = PAGE.replace(f"'{ACCOUNT}'", f"'{LIVE_ACCOUNT}'")


async def live(client: Client, at_once: asyncio.Semaphore, schedule_id: str) -> dict[str, Any]:
    async with at_once:
        described = await client.get_schedule_handle(f"agent-run-schedule:{schedule_id}").describe()
    times = described.info.next_action_times[:3]
    paused = described.schedule.state.paused
    return {"status": "AVAILABLE", "nextFireAt": times[0], "paused": paused, "nextFires": times}


async def page(request: Request) -> Response:
    first, at_once = int(request.query_params["first"]), asyncio.Semaphore(AT_ONCE)
    rows = await request.app.state.pool.fetch(LIVE_PAGE, first + 1)
    made = connection_of(rows, first)
    client = request.app.state.temporal
    found = await asyncio.gather(*(live(client, at_once, str(row["id"])) for row in rows[:first]))
    for edge, values in zip(made["edges"], found, strict=True):
        edge["node"]["live"] = values
    body = orjson.dumps({"data": {"schedules": made}}, option=orjson.OPT_UTC_Z)
    return Response(body, media_type="application/json")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.temporal = await Client.connect(os.environ["TEMPORAL_ADDRESS"])
    async with pooled(app):
        yield


app = Starlette(routes=[Route("/page", page)], lifespan=lifespan)
