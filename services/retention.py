"""What is not kept for ever: events that every subscriber has had time to read, and spent idempotency keys."""

from datetime import timedelta

from sqlalchemy import delete, func

from services.database import Database
from services.event_log import EventLog
from services.tables import idempotency_keys

KEEP_EVENTS = timedelta(days=7)
"""A client that stays away for longer gets CURSOR_EXPIRED, and reads again."""
KEEP_KEYS = timedelta(hours=48)
"""Twice what is promised."""


async def prune(database: Database) -> None:
    """Delete what is older. Raises `Unavailable`."""
    await EventLog(database).prune(KEEP_EVENTS)
    async with database.transaction() as connection:
        await connection.execute(delete(idempotency_keys).where(idempotency_keys.c.at < func.now() - KEEP_KEYS))
