"""Idempotency keys: one key, one effect, the same answer."""

import hashlib
from typing import Any

import orjson
from sqlalchemy import and_, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from services.errors import IdempotencyKeyReused
from services.principals import Actor
from services.statements import Statement
from services.tables import idempotency_keys
from services.transactions import Transaction

_keys = idempotency_keys.c
_THIS = and_(
    _keys.account_id == bindparam("of_account"), _keys.actor == bindparam("of_actor"), _keys.key == bindparam("of_key")
)
_CLAIM = Statement(
    insert(idempotency_keys)
    .values(
        account_id=bindparam("of_account"),
        actor=bindparam("of_actor"),
        key=bindparam("of_key"),
        request_hash=bindparam("digest"),
        result=bindparam("answer"),
    )
    .on_conflict_do_nothing()
    .returning(_keys.key)
)
_KEEP = Statement(update(idempotency_keys).where(_THIS).values(result=bindparam("answer")))
_STORED = Statement(select(_keys.request_hash, _keys.result).where(_THIS))


async def earlier_result(
    transaction: Transaction, actor: Actor, key: str | None, request: dict[str, Any]
) -> dict[str, Any] | None:
    """The answer of the first request of this key, where there was one. Raises as `first_result`; claims nothing."""
    return await _stored(transaction, _identity(actor, key), _digest(request)) if key is not None else None


async def first_result(
    transaction: Transaction,
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
    if await transaction.rows(_CLAIM, {**identity, "digest": digest, "answer": result}):
        return None
    return await _stored(transaction, identity, digest)


async def keep_result(transaction: Transaction, actor: Actor, key: str | None, result: dict[str, Any]) -> None:
    """Replace the answer of the request that has just claimed the key, once it is known."""
    if key is not None:
        await transaction.rows(_KEEP, {**_identity(actor, key), "answer": result})


async def _stored(transaction: Transaction, identity: dict[str, str], digest: str) -> dict[str, Any] | None:
    rows = await transaction.rows(_STORED, identity)
    if rows and rows[0]["request_hash"] != digest:
        raise IdempotencyKeyReused("input", "idempotencyKey")
    return dict(rows[0]["result"]) if rows else None


def _identity(actor: Actor, key: str) -> dict[str, str]:
    return {"of_account": actor.account_id, "of_actor": actor.key, "of_key": key}


def _digest(request: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()
