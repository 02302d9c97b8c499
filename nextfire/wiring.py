"""What every process of Nextfire is built from, wired from its settings."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import structlog
from temporalio.client import Client

from nextfire.authority import Authority, authority_of
from nextfire.postgres import database_of
from nextfire.settings import Settings
from services.clock import Clock, TemporalAway
from services.database import Database
from services.dialing import Dialer
from services.errors import Unavailable
from services.live_reader import LiveReader
from services.outbound import HostList, OutboundRules
from services.reconcile import Reconciler
from services.secrets import SecretBox
from services.starter import Starter
from services.temporal_workflows import TemporalWorkflows
from services.wakeup import Listener, Notifier

log = structlog.get_logger(__name__)

PING_TIMEOUT = timedelta(seconds=1)
ASK_AGAIN_AFTER = timedelta(seconds=1)
CANCEL_AGAIN_AFTER = timedelta(seconds=1)
WAIT_FOR_POSTGRES = timedelta(seconds=30)
"""How long a start outlasts an outage that begins after Postgres has answered once."""


class Closeable(Protocol):
    async def close(self) -> None: ...


@dataclass(frozen=True)
class Foundation:
    """What the API and the worker both stand on."""

    settings: Settings
    task_queue: str
    database: Database
    listener: Listener
    notifier: Notifier
    temporal: Client
    clock: Clock
    live: LiveReader
    reconciler: Reconciler
    starter: Starter
    secrets: SecretBox
    dialer: Dialer
    authority: Authority

    async def temporal_reachable(self) -> bool:
        try:
            await self.clock.ping(PING_TIMEOUT)
        except TemporalAway:
            return False
        return True


@asynccontextmanager
async def foundation(settings: Settings, temporal: Client) -> AsyncIterator[Foundation]:
    """Build it, keep its background tasks running, and close it at the end of the block.

    Temporal may be away. Raises `Unavailable` where Postgres is for `WAIT_FOR_POSTGRES`, and no task queue is set.
    """
    database = database_of(settings, pool_size=settings.database_pool_size)
    async with closing(database), founded_on(database, settings, temporal) as base:
        yield base


@asynccontextmanager
async def founded_on(database: Database, settings: Settings, temporal: Client) -> AsyncIterator[Foundation]:
    """The same over a pool that the caller opens and closes."""
    async with authority_of(settings, database) as authority:
        task_queue = settings.task_queue or f"nextfire-{await _identity(database)}"
        base = build(settings, database, temporal, task_queue, authority)
        async with in_background(base.listener.run(), base.notifier.run()):
            try:
                yield base
            finally:
                await base.reconciler.close()


async def _identity(database: Database) -> str:
    give_up_at = time.monotonic() + WAIT_FOR_POSTGRES.total_seconds()
    while True:
        try:
            return await database.identity()
        except Unavailable:
            if time.monotonic() > give_up_at:
                raise
            log.warning("Postgres did not answer; the start waits for it", action="start_waits")
        await asyncio.sleep(ASK_AGAIN_AFTER.total_seconds())


def build(
    settings: Settings, database: Database, temporal: Client, task_queue: str, authority: Authority
) -> Foundation:
    """Wire it; nothing is asked of Postgres or Temporal yet."""
    direct = settings.database_listen_url
    listener = Listener(direct.get_secret_value() if direct else database.url)
    clock = Clock(temporal, task_queue=task_queue)
    reading = timedelta(seconds=settings.temporal_read_budget_seconds)
    writing = timedelta(seconds=settings.temporal_write_budget_seconds)
    live = LiveReader(clock, budget=reading)
    starter = Starter(database, TemporalWorkflows(temporal, task_queue=task_queue), budget=writing)
    key = settings.secret_key.get_secret_value() if settings.secret_key else None
    return Foundation(
        settings=settings,
        task_queue=task_queue,
        database=database,
        listener=listener,
        notifier=Notifier(database, listener),
        temporal=temporal,
        clock=clock,
        live=live,
        reconciler=Reconciler(database, clock, live, starter, inline_budget=writing),
        starter=starter,
        secrets=SecretBox(key),
        dialer=Dialer(outbound_rules(settings)),
        authority=authority,
    )


def outbound_rules(settings: Settings) -> OutboundRules:
    """Where agents may be, as the settings have it."""
    return OutboundRules(
        allow=HostList.of(settings.agent_allow),
        deny=HostList.of(settings.agent_deny),
        private_networks=settings.agent_private_networks == "allow",
    )


@asynccontextmanager
async def closing(opened: Closeable) -> AsyncIterator[None]:
    """Close it at the end of the block."""
    try:
        yield
    finally:
        await opened.close()


@asynccontextmanager
async def in_background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these for as long as the block, and cancel them after it."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        await _cancelled(tasks)


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel them until they end. Raises what one of them has failed with.

    Once may not do: `asyncio.wait_for`, before Python 3.12, loses a cancellation that comes as its result does.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_AFTER.total_seconds())
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
