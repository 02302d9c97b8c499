"""The histories that `tests/services/histories` keeps, recorded from real runs: `make histories`.

A scenario is a function here; it leads a run to its end and answers it, and its history is kept under the name of the
function. What has its file already is left as it is: it is the history of an older worker, which the present one must
be able to go on with. CONTRIBUTING.md says how a workflow is changed.
"""

import asyncio
import base64
import re
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from migrations import upgrade
from nextfire.embedded import running_postgres, running_temporal
from nextfire.processes import free_port
from services.agent import AgentProtocol
from services.backfills import Span
from services.principals import OPEN_ACTOR
from services.run import Run, RunStatus
from services.schedule import OnUnknown, OverlapPolicy, Schedule, clock_id
from tests.agents.scripted import ScriptedAgent, drop, error, full, hang, status, stream
from tests.services.past_fires import HOURLY, fire
from tests.stack import Stack, stack
from tests.waiting import eventually

HISTORIES = Path(__file__).parent / "histories"

Scenario = Callable[[Stack, ScriptedAgent], Awaitable[Run]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


@scenario
async def delivered(running: Stack, agent: ScriptedAgent) -> Run:
    schedule = await _schedule(running, agent)
    await _clock_fires(running, schedule)
    return await running.first_run(schedule.id, RunStatus.DELIVERED)


@scenario
async def delivered_at_the_third_attempt(running: Stack, agent: ScriptedAgent) -> Run:
    agent.script(status(503), status(429, "1"))
    return await running.ended((await fire(running, await _schedule(running, agent), 1)).id)


@scenario
async def skipped_at_the_claim(running: Stack, agent: ScriptedAgent) -> Run:
    schedule = await _schedule(running, agent)
    await running.services.agents.delete(OPEN_ACTOR, schedule.agent_id, expected_version=None)
    await _clock_fires(running, schedule)
    return await running.first_run(schedule.id, RunStatus.SKIPPED)


@scenario
async def queued_then_delivered(running: Stack, agent: ScriptedAgent) -> Run:
    gate = asyncio.Event()
    agent.script(stream(full("At last.")).but(gate=gate))
    schedule = await _schedule(running, agent, OverlapPolicy.QUEUE_ONE)
    await fire(running, schedule, 2)
    await agent.received(1)
    waiting = await fire(running, schedule, 1)
    await _has_waited(running, waiting)
    gate.set()
    return await running.ended(waiting.id)


@scenario
async def cancelled_while_it_waits(running: Stack, agent: ScriptedAgent) -> Run:
    agent.script(hang())
    schedule = await _schedule(running, agent, OverlapPolicy.QUEUE_ONE)
    await fire(running, schedule, 2)
    await agent.received(1)
    waiting = await fire(running, schedule, 1)
    await _has_waited(running, waiting)
    await running.base.temporal.get_workflow_handle(waiting.temporal_workflow_id).cancel()
    return await running.ended(waiting.id)


@scenario
async def cancelled_in_its_delivery(running: Stack, agent: ScriptedAgent) -> Run:
    agent.script(hang())
    schedule = await _schedule(running, agent, OverlapPolicy.CANCEL_PREVIOUS)
    first = await fire(running, schedule, 2)
    await agent.received(1)
    await fire(running, schedule, 1)
    return await running.ended(first.id)


@scenario
async def cancelled_between_its_attempts(running: Stack, agent: ScriptedAgent) -> Run:
    agent.script(status(503, "3600"))
    schedule = await _schedule(running, agent, OverlapPolicy.CANCEL_PREVIOUS)
    first = await fire(running, schedule, 2)
    await running.first_run(schedule.id, RunStatus.RETRYING)
    await fire(running, schedule, 1)
    return await running.ended(first.id)


@scenario
async def delivered_after_cancelling_the_previous(running: Stack, agent: ScriptedAgent) -> Run:
    agent.script(hang())
    schedule = await _schedule(running, agent, OverlapPolicy.CANCEL_PREVIOUS)
    await fire(running, schedule, 2)
    await agent.received(1)
    return await running.ended((await fire(running, schedule, 1)).id)


@scenario
async def delivered_after_stopping_the_agent(running: Stack, agent: ScriptedAgent) -> Run:
    schedule = await _schedule(running, agent, OverlapPolicy.CANCEL_PREVIOUS, AgentProtocol.ASYNC)
    await running.ended((await fire(running, schedule, 2)).id)
    return await running.ended((await fire(running, schedule, 1)).id)


@scenario
async def manual(running: Stack, agent: ScriptedAgent) -> Run:
    schedule = await _schedule(running, agent)
    run = await running.services.manual_runs.trigger(OPEN_ACTOR, schedule.id, idempotency_key=None, note=None)
    return await running.ended(run.id)


@scenario
async def backfilled(running: Stack, agent: ScriptedAgent) -> Run:
    schedule = await _schedule(running, agent)
    day = datetime(2025, 3, 1, tzinfo=UTC)
    await running.services.backfills.start(
        OPEN_ACTOR, schedule.id, Span(day, day + timedelta(minutes=30), None), idempotency_key=None
    )
    return await running.first_run(schedule.id, RunStatus.DELIVERED)


@scenario
async def refused(running: Stack, agent: ScriptedAgent) -> Run:
    agent.script(error(-32000, "No such model."))
    return await running.ended((await fire(running, await _schedule(running, agent), 1)).id)


@scenario
async def retried(running: Stack, agent: ScriptedAgent) -> Run:
    run = await refused(running, agent)
    await running.services.interventions.retry(OPEN_ACTOR, run.id, idempotency_key=None, note=None)
    return await running.ended(run.id)


@scenario
async def held_as_unknown(running: Stack, agent: ScriptedAgent) -> Run:
    agent.script(drop(effect=True))
    schedule = await running.schedule(await running.agent(agent.url), on_unknown=OnUnknown.HOLD, **HOURLY)
    return await running.ended((await fire(running, schedule, 1)).id)


async def _schedule(
    running: Stack,
    agent: ScriptedAgent,
    policy: OverlapPolicy = OverlapPolicy.ALLOW,
    protocol: AgentProtocol = AgentProtocol.SYNC,
) -> Schedule:
    return await running.schedule(await running.agent(agent.url, protocol), overlap_policy=policy, **HOURLY)


async def _clock_fires(running: Stack, schedule: Schedule) -> None:
    await running.base.temporal.get_schedule_handle(clock_id(schedule.id)).trigger()


async def _has_waited(running: Stack, run: Run) -> None:
    """Return once its workflow has asked in vain whether its turn has come."""
    handle = running.base.temporal.get_workflow_handle(run.temporal_workflow_id)

    async def asked() -> bool | None:
        names = [
            event.activity_task_scheduled_event_attributes.activity_type.name
            for event in (await handle.fetch_history()).events
        ]
        return True if names.count("take_turn") >= 2 else None

    await eventually(asked)


def scrubbed(history: str) -> bytes:
    """The history without what tells of the machine that it was recorded on."""
    return orjson.dumps(_scrub(orjson.loads(history)), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _scrub(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _scrub(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_scrub(each, name) for each in value]
    if name == "stackTrace":
        return ""
    if name == "data" and isinstance(value, str):
        return base64.b64encode(_nameless(base64.b64decode(value).decode()).encode()).decode()
    return _nameless(value) if isinstance(value, str) else value


def _nameless(text: str) -> str:
    return re.sub(r"\d+@[\w.-]+", "worker", text)


async def record(directory: Path) -> None:
    """Record every scenario that has no file."""
    with (
        running_postgres(directory / "postgres", free_port(), directory / "postgres.log") as postgres,
        running_temporal(directory / "temporal", free_port(), free_port(), directory / "temporal.log") as temporal,
    ):
        upgrade(postgres.url("postgres"))
        for name, lead in SCENARIOS.items():
            file = HISTORIES / f"{name}.json"
            if file.exists():
                continue
            async with ScriptedAgent() as agent, stack(postgres.url("postgres"), temporal.address) as running:
                run = await lead(running, agent)
                # A run may have had more than one workflow: the last is what the scenario is about.
                handle = running.base.temporal.get_workflow_handle(run.temporal_workflow_id)

                async def closed(handle: Any = handle) -> bool | None:
                    return True if (await handle.describe()).close_time else None

                await eventually(closed)
                file.write_bytes(scrubbed((await handle.fetch_history()).to_json()))
                print(f"Recorded {file.name}: {run.status}")  # noqa: T201


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(record(Path(temporary)))
