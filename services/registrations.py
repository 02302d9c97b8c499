"""What the authorization provider knows of agents and schedules: told before they are there, and when they are gone.

Before the provider hears of something new, a note says that it is to forget it again. The transaction that writes the
row takes the note away; so whatever fails, or is lost, in between, nothing is left behind at the provider for longer
than `ABANDONED_AFTER`. The transaction that deletes a row writes such a note too. Notes are worked off at once by
whoever wrote them, and otherwise by a worker. No call is made while a transaction is open.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import structlog
from sqlalchemy import Interval, Row, and_, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from services.authorization import Resource, ResourceType
from services.database import Database
from services.errors import Forbidden, NextfireError, Unavailable
from services.principals import Actor
from services.provider import PROVIDER, Denied, PrincipalJson, Provider
from services.provider_authorization import presented
from services.statements import Statement
from services.tables import deregistrations as notes
from services.transactions import CoreTransaction, Transaction

log = structlog.get_logger(__name__)

ABANDONED_AFTER = timedelta(seconds=60)
"""Longer than an operation may take, its transaction included."""
AT_ONCE_WITHIN = timedelta(seconds=15)
"""How long the one who deletes has for telling the provider, before a worker does."""
FIRST_RETRY = timedelta(seconds=5)
LAST_RETRY = timedelta(hours=1)
BATCH = 50

_WRITE = Statement(
    insert(notes)
    .values(
        resource_type=bindparam("type"),
        selector=bindparam("of"),
        account_id=bindparam("account"),
        principal=bindparam("by"),
        due_at=func.now() + bindparam("due_in", type_=Interval),
    )
    .on_conflict_do_nothing()
)
# A note that a worker has taken up is no longer for others to take away.
_TAKE_AWAY = Statement(
    delete(notes)
    .where(notes.c.resource_type == bindparam("type"), notes.c.selector == bindparam("of"), notes.c.tries == 0)
    .returning(notes.c.selector)
)


class Registration(Protocol):
    async def keep(self, transaction: Transaction) -> None:
        """The row is written in this transaction: its commit makes the registration stay. Raises `Unavailable`."""
        ...


class Registrations(Protocol):
    def of(
        self, actor: Actor, resource: Resource, parent: Resource | None
    ) -> AbstractAsyncContextManager[Registration]:
        """Registered under its parent and granted to the actor for the block, and for good if it is kept in there.

        The block holds the transaction and nothing else. Raises `Forbidden` and `Unavailable`.
        """
        ...

    async def note_gone(self, transaction: Transaction, actor: Actor, resource: Resource) -> None:
        """The row is deleted in this transaction: after its commit, the provider is to forget it."""
        ...

    async def forget_soon(self, actor: Actor, resource: Resource) -> None:
        """After that commit: tell the provider now if it answers; if not, a worker does it later. Never raises."""
        ...

    async def forget_due(self) -> int:
        """Work off the notes that nobody else has; how many there were. Raises `Unavailable` for Postgres."""
        ...


class NoRegistrations:
    """Where no provider is, nobody is told."""

    @asynccontextmanager
    async def of(self, actor: Actor, resource: Resource, parent: Resource | None) -> AsyncIterator["NoRegistrations"]:
        yield self

    async def keep(self, transaction: Transaction) -> None:
        return

    async def note_gone(self, transaction: Transaction, actor: Actor, resource: Resource) -> None:
        return

    async def forget_soon(self, actor: Actor, resource: Resource) -> None:
        return

    async def forget_due(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class _Kept:
    resource: Resource

    async def keep(self, transaction: Transaction) -> None:
        if not await transaction.rows(_TAKE_AWAY, {"type": self.resource.type, "of": self.resource.selector}):
            raise Unavailable(PROVIDER)


class ProviderRegistrations:
    def __init__(self, database: Database, provider: Provider) -> None:
        self._database = database
        self._provider = provider

    @asynccontextmanager
    async def of(self, actor: Actor, resource: Resource, parent: Resource | None) -> AsyncIterator[Registration]:
        async with self._database.transaction() as connection:
            await _write(CoreTransaction(connection), actor, resource, ABANDONED_AFTER)
        try:
            await self._register(presented(actor), resource, parent)
            yield _Kept(resource)
        except Exception:
            await self._abandon(actor, resource)
            raise
        await self._abandon(actor, resource)

    async def note_gone(self, transaction: Transaction, actor: Actor, resource: Resource) -> None:
        await _write(transaction, actor, resource, AT_ONCE_WITHIN)

    async def forget_soon(self, actor: Actor, resource: Resource) -> None:
        try:
            await self._forget(presented(actor), resource)
        except (NextfireError, Denied) as error:
            _put_off(resource, error)

    async def forget_due(self) -> int:
        taken = await self._take_due()
        for note in taken:
            resource = Resource(ResourceType(note.resource_type), note.selector)
            try:
                await self._forget(note.principal, resource)
            except (NextfireError, Denied) as error:
                _put_off(resource, error)
        return len(taken)

    async def _take_due(self) -> list[Row[Any]]:
        """Each is due again later, should it not be worked off now."""
        due = (
            select(notes.c.resource_type, notes.c.selector)
            .where(notes.c.due_at <= func.now())
            .order_by(notes.c.due_at)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        wait = func.least(LAST_RETRY, FIRST_RETRY * func.power(2, func.least(notes.c.tries, 10)))
        take = (
            update(notes)
            .where(notes.c.resource_type == due.c.resource_type, notes.c.selector == due.c.selector)
            .values(tries=notes.c.tries + 1, due_at=func.now() + wait)
            .returning(notes.c.resource_type, notes.c.selector, notes.c.principal)
        )
        async with self._database.transaction() as connection:
            return [*(await connection.execute(take)).all()]

    async def _register(self, principal: PrincipalJson, resource: Resource, parent: Resource | None) -> None:
        try:
            await self._provider.register(principal, resource, parent)
            await self._provider.grant(principal, resource)
        except Denied:
            raise Forbidden("register", resource.type.value, "input") from None

    async def _forget(self, principal: PrincipalJson, resource: Resource) -> None:
        await self._provider.revoke(principal, resource)
        await self._provider.deregister(principal, resource)
        async with self._database.transaction() as connection:
            await connection.execute(delete(notes).where(_is(resource)))

    async def _abandon(self, actor: Actor, resource: Resource) -> None:
        """Forget it unless it was kept; where a commit is under way that keeps it, wait for that. Never raises."""
        take = update(notes).where(_is(resource)).values(tries=notes.c.tries + 1, due_at=func.now() + AT_ONCE_WITHIN)
        try:
            async with self._database.transaction() as connection:
                taken = (await connection.execute(take.returning(notes.c.selector))).first()
        except Unavailable as error:
            _put_off(resource, error)
            return
        if taken is not None:
            await self.forget_soon(actor, resource)


async def _write(transaction: Transaction, actor: Actor, resource: Resource, due_in: timedelta) -> None:
    values = {"type": resource.type, "of": resource.selector, "account": actor.account_id, "by": actor.to_json()}
    await transaction.rows(_WRITE, {**values, "due_in": due_in})


def _is(resource: Resource) -> Any:
    return and_(notes.c.resource_type == resource.type, notes.c.selector == resource.selector)


def _put_off(resource: Resource, error: Exception) -> None:
    log.warning(
        "The authorization provider has not forgotten it yet; it is told again later",
        action="provider.forget_later",
        resource_type=resource.type.value,
        selector=resource.selector,
        error=type(error).__name__,
    )
