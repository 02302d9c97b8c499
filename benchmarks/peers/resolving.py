"""What the resolvers of both hand-made GraphQL servers in Python do."""

import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.peers.shared import ONE, PAGE, connection_of, schedule

SDL = Path(__file__).with_name("schema.graphql").read_text()


async def page(pool: Any, first: int) -> dict[str, Any]:
    return connection_of(await pool.fetch(PAGE, first + 1), first)


async def one(pool: Any, key: str) -> dict[str, Any] | None:
    row = await pool.fetchrow(ONE, uuid.UUID(key.partition(":")[2]))
    return schedule(row) if row else None


def timestamp(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")
