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


async def earlier_result(
    connection: AsyncConnection, actor: Actor, key: str | None, request: dict[str, Any]
) -> dict[str, Any] | None:
    """The answer of the first request of this key, where there was one. Raises as `first_result`; claims nothing."""
    return await _stored(connection, _identity(actor, key), _digest(request)) if key is not None else None


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
    digest, identity = _digest(request), _identity(actor, key)
    claimed = await connection.execute(
        insert(idempotency_keys)
        .values(**identity, request_hash=digest, result=result)
        .on_conflict_do_nothing()
        .returning(idempotency_keys.c.key)
    )
    if claimed.first() is not None:
        return None
    return await _stored(connection, identity, digest)


async def keep_result(connection: AsyncConnection, actor: Actor, key: str | None, result: dict[str, Any]) -> None:
    """Replace the answer of the request that has just claimed the key, once it is known."""
    if key is not None:
        identity = _identity(actor, key)
        await connection.execute(update(idempotency_keys).filter_by(**identity).values(result=result))


async def _stored(connection: AsyncConnection, identity: dict[str, str], digest: str) -> dict[str, Any] | None:
    query = select(idempotency_keys.c.request_hash, idempotency_keys.c.result).filter_by(**identity)
    stored = (await connection.execute(query)).first()
    if stored is not None and stored.request_hash != digest:
        raise IdempotencyKeyReused("input", "idempotencyKey")
    return dict(stored.result) if stored is not None else None


def _identity(actor: Actor, key: str) -> dict[str, str]:
    return {"account_id": actor.account_id, "actor": actor.key, "key": key}


def _digest(request: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()
