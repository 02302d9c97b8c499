"""What the hand-written peers share: the row of a schedule with its agent, and the forms of ids, times and cursors."""

import os
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from starlette.applications import Starlette

from benchmarks.data import ACCOUNT

POOL_SIZE = 10
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COLUMNS = """
    s.id, s.name, s.description, s.paused, s.pause_note, s.version, s.start_at, s.end_at, s.created_at, s.updated_at,
    s.jitter_seconds, s.catch_up_window_seconds, s.retry_horizon_seconds, s.overlap_policy, s.missed_fire_policy,
    a.id AS agent_id, a.name AS agent_name, a.protocol AS agent_protocol, a.status AS agent_status
"""
FROM = "agent_run_schedules s JOIN agents a ON a.id = s.agent_id"
MINE = f"s.account_id = '{ACCOUNT}'"
PAGE = f"""
SELECT {COLUMNS} FROM {FROM} WHERE {MINE} AND s.deleted_at IS NULL
ORDER BY s.created_at DESC, s.id DESC LIMIT $1
"""
ONE = f"SELECT {COLUMNS} FROM {FROM} WHERE {MINE} AND s.id = $1"


def schedule(row: asyncpg.Record) -> dict[str, Any]:
    """A row as the API's names have it."""
    return {
        "id": f"Schedule:{row['id']}",
        "name": row["name"],
        "description": row["description"],
        "paused": row["paused"],
        "pauseNote": row["pause_note"],
        "version": row["version"],
        "startAt": row["start_at"],
        "endAt": row["end_at"],
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
        "jitterSeconds": row["jitter_seconds"],
        "catchUpWindowSeconds": row["catch_up_window_seconds"],
        "retryHorizonSeconds": row["retry_horizon_seconds"],
        "overlapPolicy": row["overlap_policy"],
        "missedFirePolicy": row["missed_fire_policy"],
        "agent": {
            "id": f"Agent:{row['agent_id']}",
            "name": row["agent_name"],
            "protocol": row["agent_protocol"],
            "status": row["agent_status"],
        },
    }


def cursor(created_at: datetime, key: UUID) -> str:
    """The same opaque text that the product makes."""
    micros = (created_at - EPOCH) // timedelta(microseconds=1)
    return urlsafe_b64encode(f"schedules.created_at- {micros} {key.hex}".encode()).rstrip(b"=").decode()


def connection_of(rows: list[asyncpg.Record], first: int) -> dict[str, Any]:
    """A page of rows, of which there is one more than asked for if there are more."""
    edges = [{"cursor": cursor(row["created_at"], row["id"]), "node": schedule(row)} for row in rows[:first]]
    end = edges[-1]["cursor"] if edges else None
    return {"edges": edges, "pageInfo": {"hasNextPage": len(rows) > first, "endCursor": end}}


@asynccontextmanager
async def pooled(app: Starlette) -> AsyncIterator[None]:
    """The lifespan of an application with a pool."""
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=POOL_SIZE, max_size=POOL_SIZE) as pool:
        app.state.pool = pool
        yield
