"""What every process of Nextfire is built from, wired from its settings."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import Client

from nextfire.settings import Settings
from services.clock import Clock, TemporalAway
from services.database import Database
from services.live_reader import LiveReader
from services.reconcile import Reconciler
from services.secrets import SecretBox
from services.starter import Starter
from services.temporal_workflows import TemporalWorkflows
from services.wakeup import Listener, Notifier

PING_TIMEOUT = timedelta(seconds=1)


@dataclass(frozen=True)
class Foundation:
    """What the API and the worker both stand on."""

    settings: Settings
    database: Database
    listener: Listener
    notifier: Notifier
    temporal: Client
    clock: Clock
    live: LiveReader
    reconciler: Reconciler
    starter: Starter
    secrets: SecretBox

    async def temporal_reachable(self) -> bool:
        try:
            await self.clock.ping(PING_TIMEOUT)
        except TemporalAway:
            return False
        return True


@asynccontextmanager
async def foundation(settings: Settings, temporal: Client) -> AsyncIterator[Foundation]:
    """Build it, keep its background tasks running, and close it at the end of the block.

    Nothing here asks Postgres or Temporal for anything: both may be away.
    """
    database = Database(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
    listener = Listener(database.url)
    clock = Clock(temporal, task_queue=settings.task_queue)
    live = LiveReader(clock)
    key = settings.secret_key.get_secret_value() if settings.secret_key else None
    base = Foundation(
        settings=settings,
        database=database,
        listener=listener,
        notifier=Notifier(database, listener),
        temporal=temporal,
        clock=clock,
        live=live,
        reconciler=Reconciler(database, clock, live),
        starter=Starter(database, TemporalWorkflows(temporal, task_queue=settings.task_queue)),
        secrets=SecretBox(key),
    )
    async with closing(database), in_background(listener.run(), base.notifier.run()):
        try:
            yield base
        finally:
            await base.reconciler.close()


@asynccontextmanager
async def closing(database: Database) -> AsyncIterator[None]:
    """Close it at the end of the block."""
    try:
        yield
    finally:
        await database.close()


@asynccontextmanager
async def in_background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these for as long as the block, and cancel them after it."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
