"""The worker: runs the fires, keeps clocks in line with their rows, and starts what was left behind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial

import structlog
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from nextfire.settings import Settings
from nextfire.temporal import temporal_client
from nextfire.wiring import Foundation, foundation, in_background
from services.acp import AcpClient, http_client
from services.activities import RunActivities
from services.auditor import Auditor
from services.cancellations import Cancellations
from services.claims import Claims
from services.clock import TemporalAway
from services.clock_list import ClockList
from services.deliveries import Deliveries
from services.duties import Duty
from services.errors import Unavailable
from services.lost_runs import LostRuns
from services.reconcile import DirtyLoop
from services.retention import prune
from services.settlements import Settlements
from services.sweeps import DESCRIBED, Sweeper
from services.temporal_states import TemporalStates
from services.workflows import ScheduledAgentRun

log = structlog.get_logger(__name__)

RETRY_EVERY = timedelta(seconds=2)
SAY_EVERY = 15
"""Every how many tries a waiting worker says again that it waits."""
START_EVERY = timedelta(seconds=5)
PRUNE_EVERY = timedelta(hours=1)
ASK_EVERY = timedelta(seconds=4)
"""How often a worker asks whether a duty is due."""
SWEEP_EVERY = timedelta(seconds=20)
"""With the asking, all clocks are looked at every 24 s, which leaves a busy machine 11 s to put them right in time."""
AUDIT_EVERY = timedelta(seconds=55)
FORGET_EVERY = timedelta(seconds=5)
WORKFLOWS = [ScheduledAgentRun]
ACTIVITIES_AT_ONCE = 100
GRACE = timedelta(seconds=20)
"""For activities under way at the end; a delivery that takes longer is taken over by another worker."""


async def run_worker(settings: Settings, stop: asyncio.Event) -> None:
    """Work until `stop` is set; waits for Postgres and Temporal as long as it takes."""
    async with foundation(settings, await temporal_client(lazy=True)) as base:
        if not await wait_for_stores(base, stop):
            return
        async with working(base, await temporal_client(lazy=False)):
            log.info("The worker is ready", action="worker_ready", task_queue=base.task_queue)
            await stop.wait()
            log.info("The worker ends what is under way", action="worker_stopping")


@asynccontextmanager
async def working(base: Foundation, connected: Client, grace: timedelta = GRACE) -> AsyncIterator[None]:
    """Poll the task queue and run the loops for as long as the block."""
    async with (
        http_client(base.dialer) as http,
        loops(base),
        temporal_worker(base, connected, AcpClient(http), grace),
    ):
        yield


def loops(base: Foundation, ask_every: timedelta = ASK_EVERY) -> AbstractAsyncContextManager[None]:
    """What a worker does by itself, for as long as the block."""
    dirty = DirtyLoop(base.database, base.reconciler, base.listener)
    sweep = Duty(base.database, "sweep", SWEEP_EVERY, sweeper(base).sweep)
    audit = Duty(base.database, "audit", AUDIT_EVERY, auditor(base).audit)
    return in_background(
        dirty.run(),
        periodically("start_overlooked", START_EVERY, base.starter.start_overlooked),
        periodically("sweep", ask_every, sweep.turn),
        periodically("audit", ask_every, audit.turn),
        periodically("prune", PRUNE_EVERY, partial(prune, base.database)),
        periodically("forget", FORGET_EVERY, base.authority.registrations.forget_due),
    )


def sweeper(base: Foundation, described: int | None = DESCRIBED) -> Sweeper:
    return Sweeper(base.database, base.clock, ClockList(base.temporal), base.reconciler, described=described)


def auditor(base: Foundation) -> Auditor:
    lost = LostRuns(base.database, base.notifier, TemporalStates(base.temporal), base.starter)
    return Auditor(base.database, base.notifier, base.starter, lost)


def temporal_worker(base: Foundation, connected: Client, agents: AcpClient, grace: timedelta = GRACE) -> Worker:
    return Worker(
        connected,
        task_queue=base.task_queue,
        workflows=WORKFLOWS,
        activities=run_activities(base, agents).all(),
        max_concurrent_activities=ACTIVITIES_AT_ONCE,
        graceful_shutdown_timeout=grace,
        # The workflow holds nothing that the sandbox could catch, and costs half without it.
        workflow_runner=UnsandboxedWorkflowRunner(),
    )


def run_activities(base: Foundation, agents: AcpClient) -> RunActivities:
    return RunActivities(
        claims=Claims(base.database, base.notifier),
        cancellations=Cancellations(base.database, agents, base.secrets),
        deliveries=Deliveries(base.database, base.notifier, agents, base.secrets, base.authority.creators),
        settlements=Settlements(base.database, base.notifier),
        reconciler=base.reconciler,
    )


async def periodically(action: str, every: timedelta, step: Callable[[], Awaitable[object]]) -> None:
    """Take the step again and again until cancelled; what fails is tried again the next time."""
    while True:
        try:
            await step()
        except (TemporalAway, Unavailable) as error:
            log.info("Put off until the stores answer", action=action, error=type(error).__name__)
        except Exception:
            log.exception("Put off until the next time", action=action)
        await asyncio.sleep(every.total_seconds())


async def wait_for_stores(base: Foundation, stop: asyncio.Event) -> bool:
    """Wait until Postgres and Temporal answer, and say so meanwhile; False if told to stop before."""
    tries = 0
    while not stop.is_set():
        try:
            await base.database.ping()
            await base.clock.ping(RETRY_EVERY)
        except Unavailable:
            missing = "Postgres"
        except TemporalAway:
            missing = "Temporal"
        else:
            return True
        if tries % SAY_EVERY == 0:
            log.warning("A store does not answer; the worker waits for it", action="worker_waiting", store=missing)
        tries += 1
        await _pause(stop)
    return False


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(RETRY_EVERY.total_seconds()):
            await stop.wait()
    except TimeoutError:
        pass
