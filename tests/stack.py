"""The product in one process over the real stores, wired as `nextfire/` wires it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from cryptography.fernet import Fernet
from pydantic import SecretStr
from temporalio.client import Client

from nextfire.app import api_services
from nextfire.settings import AuthMode, Settings
from nextfire.wiring import Foundation, foundation
from nextfire.worker import working
from resolvers.context import Services
from services.agent import Agent, AgentProtocol
from services.cadence import Cadence, Cron, Interval
from services.keyset import Window
from services.principals import OPEN_ACTOR
from services.run import Run, RunStatus
from services.runs import RunFilter
from services.schedule import (
    Definition,
    InitialInput,
    MissedFirePolicy,
    OnUnknown,
    OverlapPolicy,
    Schedule,
)
from tests.waiting import eventually

EVERY_SECOND = Interval(timedelta(seconds=1), timedelta(0))
YEARLY = Cron("0 0 1 1 *", "UTC")
"""A cadence that does not fire while a test runs (but for one second a year)."""

PATIENT: dict[str, Any] = {"temporal_read_budget_seconds": 8, "temporal_write_budget_seconds": 8}
"""What a busy machine may take to answer."""


def settings(database_url: str, auth: AuthMode = AuthMode.OPEN, **values: Any) -> Settings:
    return Settings(
        database_url=SecretStr(database_url),
        schedules_enabled=True,
        auth=auth,
        # A queue of its own keeps workers of other tests away.
        task_queue=f"test-{uuid4()}",
        temporal_ui_url="http://temporal.test",
        secret_key=SecretStr(Fernet.generate_key().decode()),
        log_format="text",
        # Agents of tests live on loopback.
        agent_private_networks="allow",
        **PATIENT | values,
    )


def provided_by(url: str) -> dict[str, Any]:
    """The settings of the mode in which that authorization provider decides."""
    return {"auth": AuthMode.PROVIDER, "provider_url": url}


@dataclass(frozen=True)
class Stack:
    """The services of one test, and short ways to what most tests begin with."""

    base: Foundation
    services: Services

    async def agent(self, url: str, protocol: AgentProtocol = AgentProtocol.SYNC, **values: Any) -> Agent:
        asked: dict[str, Any] = {"name": f"agent-{uuid4().hex[:8]}", "description": None, "api_key": None}
        return await self.services.agents.register(OPEN_ACTOR, protocol=protocol, url=url, **asked | values)

    async def schedule(self, agent: Agent, cadence: Cadence = YEARLY, **values: Any) -> Schedule:
        return await self.services.schedules.create(OPEN_ACTOR, agent.id, definition(cadence, **values))

    async def runs(self, schedule_id: UUID) -> list[Run]:
        page = await self.services.runs.page(OPEN_ACTOR, RunFilter(schedule_ids=(schedule_id,)), Window(100))
        return page.items

    async def ended(self, run_id: UUID) -> Run:
        """The run, once it has ended."""

        async def found() -> Run | None:
            run = (await self.services.runs.get_many(OPEN_ACTOR, [run_id])).get(run_id)
            return run if run is not None and run.finished_at is not None else None

        return await eventually(found)

    async def first_run(self, schedule_id: UUID, status: RunStatus) -> Run:
        """The first run of the schedule that is in the status, once there is one."""

        async def found() -> Run | None:
            return next((run for run in await self.runs(schedule_id) if run.status is status), None)

        return await eventually(found)


def definition(cadence: Cadence = YEARLY, **values: Any) -> Definition:
    plain: dict[str, Any] = {
        "name": f"schedule-{uuid4().hex[:8]}",
        "description": None,
        "start_at": None,
        "end_at": None,
        "jitter": timedelta(0),
        "overlap_policy": OverlapPolicy.SKIP,
        "missed_fire_policy": MissedFirePolicy.RUN_LATEST,
        "catch_up_window": timedelta(hours=1),
        "on_unknown": OnUnknown.RETRY,
        "retry_horizon": timedelta(hours=1),
        "pause_after_failures": None,
        "paused": False,
        "pause_note": None,
        "initial_input": InitialInput("Write the report."),
        "task_params": None,
        "task_metadata": None,
        "labels": (),
    }
    return Definition(cadence=cadence, **plain | values)


@asynccontextmanager
async def stack(
    database_url: str, temporal_address: str, *, worker: bool = True, **values: Any
) -> AsyncIterator[Stack]:
    """Everything of an API and, unless it is left out, of a worker; with these settings."""
    client = await Client.connect(temporal_address)
    async with foundation(settings(database_url, **values), client) as base, api_services(base) as services:
        if not worker:
            yield Stack(base, services)
            return
        async with working(base, client):
            yield Stack(base, services)
