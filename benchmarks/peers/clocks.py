"""What Temporal alone takes: a clock made and read back for each new schedule, a workflow started for each run, and
nothing in Postgres."""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from temporalio.client import Client, Schedule, ScheduleActionStartWorkflow, ScheduleSpec

WORKFLOW, QUEUE = "ScheduledAgentRun", "of-nobody"


def answer(field: str, value: object) -> Response:
    return Response(orjson.dumps({"data": {field: value}}), media_type="application/graphql-response+json")


async def create(request: Request) -> Response:
    asked, key = orjson.loads(await request.body()), str(uuid.uuid4())
    action = ScheduleActionStartWorkflow(WORKFLOW, args=[key, "scheduled"], id=key, task_queue=QUEUE)
    spec = ScheduleSpec(cron_expressions=[asked["cadence"]["cron"]["expression"]])
    handle = await request.app.state.temporal.create_schedule(key, Schedule(action=action, spec=spec))
    await handle.describe()
    return answer("createSchedule", {"schedule": {"id": f"Schedule:{key}", "version": 1, "name": asked["name"]}})


async def trigger(request: Request) -> Response:
    key = str(uuid.uuid4())
    await request.app.state.temporal.start_workflow(WORKFLOW, args=["", "manual", key], id=key, task_queue=QUEUE)
    return answer("triggerSchedule", {"run": {"id": f"Run:{key}", "status": "CLAIMED"}})


async def healthz(_: Request) -> Response:
    return Response(b"alive")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.temporal = await Client.connect(os.environ["TEMPORAL_ADDRESS"])
    yield


app = Starlette(
    routes=[
        Route("/create", create, methods=["POST"]),
        Route("/trigger", trigger, methods=["POST"]),
        Route("/healthz", healthz),
    ],
    lifespan=lifespan,
)
