"""Idempotency keys: one key, one effect, the same answer."""

import hashlib
from typing import Any

import orjson
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.errors import IdempotencyKeyReused
from services.principals import Actor
from services.tables import idempotency_keys


async def first_result(
    connection: AsyncConnection,
    actor: Actor,
    key: str | None,
    request: dict[str, Any],
    result: dict[str, Any],
) -> dict[str, Any] | None:
    """Claim the key for this request within the caller's transaction.

    None: the request is new, and `result` is kept as its answer. Else the answer of the first one. A request that
    runs at the same time waits here for the other to commit. Raises `IdempotencyKeyReused` where the key was used
    for another request; `request` names its operation and everything that was asked.
    """
    if key is None:
        return None
    digest = hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()
    identity = {"account_id": actor.account_id, "actor": actor.key, "key": key}
    claimed = await connection.execute(
        insert(idempotency_keys)
        .values(**identity, request_hash=digest, result=result)
        .on_conflict_do_nothing()
        .returning(idempotency_keys.c.key)
    )
    if claimed.first() is not None:
        return None
    stored = (
        await connection.execute(
            select(idempotency_keys.c.request_hash, idempotency_keys.c.result).filter_by(**identity)
        )
    ).one()
    if stored.request_hash != digest:
        raise IdempotencyKeyReused("input", "idempotencyKey")
    return dict(stored.result)


async def keep_result(connection: AsyncConnection, actor: Actor, key: str | None, result: dict[str, Any]) -> None:
    """Replace the answer of the request that has just claimed the key, once it is known."""
    if key is not None:
        identity = {"account_id": actor.account_id, "actor": actor.key, "key": key}
        await connection.execute(update(idempotency_keys).filter_by(**identity).values(result=result))
