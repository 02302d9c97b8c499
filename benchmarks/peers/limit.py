"""The limit: the same JSON from SQL written by hand, over asyncpg and orjson, with nothing between.

No GraphQL, no authentication, no validation, no limits: what a server in Python could do at most.
"""

import uuid
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.data import PRINCIPAL, WRITE_ACCOUNT
from benchmarks.peers.shared import COLUMNS, FROM, MINE, ONE, PAGE, connection_of, pooled, schedule

RUN = "id, trigger, fire_at, status, delivered_at"
LAST_RUNS_PAGE = f"""
SELECT {COLUMNS}, r.runs FROM {FROM} LEFT JOIN LATERAL (
    SELECT array_agg(l) AS runs FROM (
        SELECT {RUN} FROM runs WHERE runs.schedule_id = s.id ORDER BY runs.fire_at DESC, runs.id DESC LIMIT $2
    ) l
) r ON true
WHERE {MINE} AND s.deleted_at IS NULL ORDER BY s.created_at DESC, s.id DESC LIMIT $1
"""
LOCK = f"""
SELECT * FROM agent_run_schedules
WHERE id = $1 AND account_id = '{WRITE_ACCOUNT}' AND deleted_at IS NULL FOR UPDATE
"""
CHANGE = """
UPDATE agent_run_schedules
SET description = $2, version = version + 1, updated_at = now(), clock_status = 'PENDING' WHERE id = $1 RETURNING *
"""
REVISE = """
INSERT INTO schedule_revisions (schedule_id, version, kind, by, definition) VALUES ($1, $2, $3, $4, $5)
"""
APPEND = """
INSERT INTO events (account_id, kind, schedule_id, agent_id, payload)
VALUES ($1, 'SCHEDULE_CHANGED', $2, $3, $4) RETURNING pg_notify('bench', '')
"""
INSERT = """
INSERT INTO agent_run_schedules (
    id, agent_id, account_id, name, cron_expression, time_zone, overlap_policy, missed_fire_policy,
    catch_up_window_seconds, on_unknown, retry_horizon_seconds, initial_input, labels, creator_principal
) VALUES ($1, $2, $3, $4, $5, 'UTC', 'SKIP', 'RUN_LATEST', 3600, 'RETRY', 3600, $6, '[]', $7) RETURNING *
"""
BY = orjson.dumps(PRINCIPAL).decode()


def answer(field: str, value: object) -> Response:
    body = orjson.dumps({"data": {field: value}}, option=orjson.OPT_UTC_Z)
    return Response(body, media_type="application/graphql-response+json")


def body_id(text: str) -> uuid.UUID:
    return uuid.UUID(text.partition(":")[2])


async def page(request: Request) -> Response:
    first = int(request.query_params["first"])
    rows = await request.app.state.pool.fetch(PAGE, first + 1)
    return answer("schedules", connection_of(rows, first))


async def one(request: Request) -> Response:
    row = await request.app.state.pool.fetchrow(ONE, body_id(request.query_params["id"]))
    return answer("schedule", schedule(row) if row else None)


async def with_runs(request: Request) -> Response:
    """The page with the last run of each, or the last few."""
    first, runs = int(request.query_params["first"]), request.query_params.get("runs")
    rows = await request.app.state.pool.fetch(LAST_RUNS_PAGE, first + 1, int(runs or 1))
    made = connection_of(rows, first)
    for edge, row in zip(made["edges"], rows, strict=False):
        found = [_run(each) for each in row["runs"] or ()]
        edge["node"] |= {"runs": {"nodes": found}} if runs else {"lastRun": found[0] if found else None}
    return answer("schedules", made)


def _run(row: Any) -> dict[str, Any]:
    key, trigger, fire_at, status, delivered_at = row
    latency = round((delivered_at - fire_at).total_seconds() * 1000) if delivered_at else None
    return {"id": f"Run:{key}", "trigger": trigger, "fireAt": fire_at, "status": status, "latencyMs": latency}


async def update(request: Request) -> Response:
    """Lock, compare the version, change, keep the revision and the event: one transaction."""
    asked = orjson.loads(await request.body())
    key = body_id(asked["id"])
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        before = await connection.fetchrow(LOCK, key)
        if before is None or before["version"] != asked["expectedVersion"]:
            return answer("updateSchedule", {"code": "VERSION_CONFLICT"})
        row = await connection.fetchrow(CHANGE, key, asked["description"])
        await _record(connection, row, "UPDATED")
    changed = {"id": asked["id"], "version": row["version"], "description": row["description"]}
    return answer("updateSchedule", {"schedule": changed})


async def create(request: Request) -> Response:
    asked = orjson.loads(await request.body())
    key = uuid.uuid4()
    content = orjson.dumps(asked["initialInput"]).decode()
    values = (key, body_id(asked["agentId"]), WRITE_ACCOUNT, asked["name"], asked["cadence"]["cron"]["expression"])
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(INSERT, *values, content, BY)
        await _record(connection, row, "CREATED")
    made = {"id": f"Schedule:{key}", "version": row["version"], "name": row["name"]}
    return answer("createSchedule", {"schedule": made})


async def _record(connection: Any, row: Any, kind: str) -> None:
    definition = orjson.dumps({"name": row["name"], "description": row["description"]}).decode()
    await connection.execute(REVISE, row["id"], row["version"], kind, BY, definition)
    payload = orjson.dumps({"version": row["version"]}).decode()
    await connection.fetchval(APPEND, row["account_id"], row["id"], row["agent_id"], payload)


async def healthz(_: Request) -> Response:
    return Response(b"alive")


app = Starlette(
    routes=[
        Route("/page", page),
        Route("/one", one),
        Route("/with-runs", with_runs),
        Route("/update", update, methods=["POST"]),
        Route("/create", create, methods=["POST"]),
        Route("/healthz", healthz),
    ],
    lifespan=pooled,
)
