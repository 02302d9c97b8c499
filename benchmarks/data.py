"""The rows: the same in each benchmark.

Times are whole seconds, since JavaScript's own hold milliseconds and Postgres's microseconds.
"""

import random
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson

ACCOUNT = "bench"
LIVE_ACCOUNT = "live"
"""The account whose schedules have clocks."""
WRITE_ACCOUNT = "writes"
"""The account in which the mutations are measured."""
AGENTS = 100
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
NAMESPACE = uuid.UUID("6f5a0d5e-5f3c-4c8e-9b58-2f9d0c1d7a11")
PRINCIPAL = {
    "principal_type": "service_account",
    "user_id": None,
    "service_account_id": "bench",
    "account_id": ACCOUNT,
}
RUNS_EACH = 5
RUN_SCHEDULES = 200
"""How many of the newest schedules have runs: more than a page shows."""


def agent_id(number: int) -> uuid.UUID:
    return uuid.uuid5(NAMESPACE, f"agent {number}")


def schedule_id(number: int) -> uuid.UUID:
    return uuid.uuid5(NAMESPACE, f"schedule {number}")


def agents(account: str = ACCOUNT) -> list[dict[str, Any]]:
    return [
        {
            "id": agent_id(number),
            "account_id": account,
            "name": f"agent-{number:03}",
            "protocol": ("SYNC", "ASYNC", "AGENTIC")[number % 3],
            "url": f"http://127.0.0.1:9/{number}",
            "status": "ACTIVE",
            "version": 1,
            "created_at": EPOCH,
            "updated_at": EPOCH,
        }
        for number in range(AGENTS)
    ]


def schedule(number: int) -> dict[str, Any]:
    chance = random.Random(number)
    created = EPOCH + timedelta(seconds=number)
    paused = chance.random() < 0.2
    version = chance.randint(1, 9)
    return {
        "id": schedule_id(number),
        "agent_id": agent_id(number % AGENTS),
        "account_id": ACCOUNT,
        "name": f"schedule-{number:06}",
        "description": f"Writes report no. {number}, and sends it." if chance.random() < 0.7 else None,
        "cron_expression": f"{number % 60} {number % 24} * * *",
        "time_zone": chance.choice(("UTC", "Europe/Berlin", "America/New_York")),
        "start_at": created if chance.random() < 0.3 else None,
        "end_at": created + timedelta(days=3650) if chance.random() < 0.2 else None,
        "jitter_seconds": chance.choice((0, 0, 30, 300)),
        "overlap_policy": chance.choice(("SKIP", "QUEUE_ONE", "ALLOW")),
        "missed_fire_policy": chance.choice(("RUN_LATEST", "RUN_ALL", "RUN_NONE")),
        "catch_up_window_seconds": 3600,
        "on_unknown": "RETRY",
        "retry_horizon_seconds": 3600,
        "paused": paused,
        "pause_note": "Until the new model is there." if paused else None,
        "creator_principal": PRINCIPAL,
        "initial_input": {"type": "TEXT", "author": "USER", "content": f"Write report no. {number}."},
        "labels": [],
        "version": version,
        "applied_version": version,
        "clock_version": version,
        "clock_status": "IN_SYNC",
        "created_at": created,
        "updated_at": created + timedelta(minutes=version),
    }


def run(schedule_number: int, number: int) -> dict[str, Any]:
    fire_at = EPOCH + timedelta(days=30 + number, seconds=schedule_number)
    key = fire_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "id": uuid.uuid5(schedule_id(schedule_number), key),
        "account_id": ACCOUNT,
        "schedule_id": schedule_id(schedule_number),
        "agent_id": agent_id(schedule_number % AGENTS),
        "fire_key": key,
        "trigger": "SCHEDULED",
        "fire_at": fire_at,
        "status": "DELIVERED",
        "schedule_version": 1,
        "claimed_at": fire_at,
        "delivered_at": fire_at + timedelta(seconds=2),
        "finished_at": fire_at + timedelta(seconds=2),
        "temporal_workflow_id": f"bench-{schedule_number}-{number}",
    }


async def fill(url: str, count: int) -> None:
    """Write the agents, `count` schedules, and runs of the newest of them."""
    connection = await asyncpg.connect(url)
    try:
        await connection.set_type_codec("jsonb", encoder=_dumps, decoder=orjson.loads, schema="pg_catalog")
        await insert(connection, "agents", agents())
        for begin in range(0, count, 10_000):
            rows = [schedule(number) for number in range(begin, min(begin + 10_000, count))]
            await insert(connection, "agent_run_schedules", rows)
        having = range(max(0, count - RUN_SCHEDULES), count)
        await insert(connection, "runs", [run(number, n) for number in having for n in range(RUNS_EACH)])
        # Not the log, which is empty: what Postgres plans for a table that it knows to be empty is kept for as long as
        # nothing vacuums, and reads a hundred thousand events one after the other for each page of them.
        await connection.execute("VACUUM ANALYZE agents, agent_run_schedules, runs")
    finally:
        await connection.close()


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()


async def insert(connection: "asyncpg.Connection[asyncpg.Record]", table: str, rows: list[dict[str, Any]]) -> None:
    columns = [*rows[0]]
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"
    await connection.executemany(statement, [tuple(row.values()) for row in rows])


EVENT = """
INSERT INTO events (account_id, kind, schedule_id, run_id, agent_id, payload)
SELECT account_id, 'FIRE_STATUS', schedule_id, id, agent_id, jsonb_build_object(
    'status', 'DELIVERED', 'previous', 'DELIVERING', 'trigger', 'SCHEDULED',
    'fireAt', to_char(fire_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
) FROM (SELECT * FROM runs WHERE account_id = $1 ORDER BY id LIMIT 1000) AS r, generate_series(1, $2) LIMIT $3
"""
"""Writes so many events as the product does when a run was delivered."""
WAKE = "SELECT pg_notify('nextfire', '')"


async def happen(url: str, count: int) -> float:
    """Write events of runs in one transaction, and wake the servers; when its commit began, by `perf_counter`."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(EVENT, ACCOUNT, count // 500 + 1, count)
            await connection.execute(WAKE)
            return time.perf_counter()
    finally:
        await connection.close()
