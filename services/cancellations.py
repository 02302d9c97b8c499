"""Asking agents to stop what a later run makes obsolete: `task/cancel`, once for each task.

An ASYNC or AGENTIC agent accepts its input and goes on working on the task after its run has ended, so a run that
replaces the earlier ones has to tell it. Like an attempt, each request is written down before it is sent. Whatever
becomes of it, the run that asks for it goes on.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Row, Select, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services import acp
from services.database import Database
from services.deliveries import API_KEY_UNREADABLE, INTERRUPTED, recorded
from services.errors import Unavailable
from services.new_runs import agent_of
from services.rendering import acp_agent, cancel_key
from services.run import LOST, AttemptOutcome, RunError, RunStatus, RunTrigger
from services.secrets import SecretBox, SecretUnreadable
from services.tables import agents, attempts, runs, task_cancellations, tasks
from services.transactions import CoreTransaction

log = structlog.get_logger(__name__)

MOST_ATTEMPTS = 3
PAUSE = timedelta(seconds=1)
ANSWER_TIMEOUT = timedelta(seconds=5)
"""An agent answers task/cancel at once and works on it afterwards; the run that waits for it shall not wait long."""

UNSURE = (AttemptOutcome.IN_FLIGHT, AttemptOutcome.UNKNOWN)
AT_WORK = (RunStatus.CANCELLED, RunStatus.UNKNOWN)
"""How a run can have ended while the agent works on what it was sent, besides a delivery."""


@dataclass(frozen=True, slots=True)
class _Request:
    task_id: UUID
    number: int
    url: str
    api_key: bytes | None
    idempotency_key: str
    body: bytes


class Cancellations:
    def __init__(self, database: Database, client: acp.AcpClient, secrets: SecretBox) -> None:
        self._database = database
        self._client = client
        self._secrets = secrets

    async def stop_earlier(self, run_id: UUID) -> None:
        """Have the agent stop what earlier runs of the schedule gave it to do. Raises `Unavailable`, and nothing else.

        That is the task of the latest delivered run, and those of the runs since then that were cancelled or are
        UNKNOWN. A task that was asked about before is left alone; what a lost worker left open is gone on with.
        """
        try:
            async with self._database.transaction() as connection:
                await _write_down(connection, run_id)
                open_ = await _open_tasks(connection, run_id)
            for task_id in open_:
                await self._stop(task_id)
        except Unavailable:
            raise
        except Exception:
            log.exception("Earlier work cannot be stopped", action="stop_earlier", run_id=str(run_id))

    async def _stop(self, task_id: UUID) -> None:
        while True:
            async with self._database.transaction() as connection:
                request = await _begin(connection, task_id)
            if request is None:
                return
            try:
                outcome, error = await self._send(request)
            except asyncio.CancelledError:
                await asyncio.shield(self._close(request, AttemptOutcome.UNKNOWN, INTERRUPTED))
                raise
            if await self._close(request, outcome, error):
                return
            await asyncio.sleep(PAUSE.total_seconds() * request.number)

    async def _send(self, request: _Request) -> tuple[AttemptOutcome, RunError | None]:
        try:
            api_key = self._secrets.open(request.api_key) if request.api_key else None
        except SecretUnreadable:
            return AttemptOutcome.REFUSED, API_KEY_UNREADABLE
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT.total_seconds()):
                outcome = await self._client.send(
                    request.url,
                    request.body,
                    request_id=str(uuid4()),
                    idempotency_key=request.idempotency_key,
                    api_key=api_key,
                )
        except TimeoutError:
            outcome = acp.Unknown("TIMEOUT", "The agent did not answer in time.")
        return recorded(outcome)

    async def _close(self, request: _Request, outcome: AttemptOutcome, error: RunError | None) -> bool:
        """Write down what became of the request; whether it was the last one."""
        is_last = outcome in (AttemptOutcome.DELIVERED, AttemptOutcome.REFUSED) or request.number >= MOST_ATTEMPTS
        async with self._database.transaction() as connection:
            await _record(connection, request.task_id, request.number, outcome, error, is_last=is_last)
        log.info(
            "The agent was asked to stop a task",
            action="task_cancel",
            task_id=str(request.task_id),
            attempt=request.number,
            outcome=outcome.value,
        )
        return is_last


async def _write_down(connection: AsyncConnection, run_id: UUID) -> None:
    later = (await connection.execute(select(runs).where(runs.c.id == run_id))).one()
    for row in (await connection.execute(_at_work(later))).all():
        agent = acp_agent(await agent_of(CoreTransaction(connection), row.agent_id))
        task = acp.AcpTask(row.id, row.name, row.created_at, row.created_at, row.params, row.metadata)
        key = cancel_key(row.id)
        values = {
            "task_id": row.id,
            "run_id": run_id,
            "idempotency_key": key,
            "body": acp.task_cancel_body(agent, task, key),
        }
        await connection.execute(insert(task_cancellations).values(values).on_conflict_do_nothing())


def _at_work(later: Row[Any]) -> Select[Any]:
    """The tasks that the agent may be working on, of runs claimed before this one, and that were never cancelled."""
    of_schedule = (
        runs.c.schedule_id == later.schedule_id,
        runs.c.claimed_at < later.claimed_at,
        runs.c.trigger != RunTrigger.BACKFILL,
    )
    delivered = select(runs.c.fire_at).where(*of_schedule, runs.c.status == RunStatus.DELIVERED)
    latest = delivered.order_by(runs.c.fire_at.desc()).limit(1).scalar_subquery()
    unsure = select(attempts.c.n).where(attempts.c.run_id == runs.c.id, attempts.c.outcome.in_(UNSURE)).exists()
    return (
        select(tasks)
        .join(runs, runs.c.id == tasks.c.run_id)
        .outerjoin(task_cancellations, task_cancellations.c.task_id == tasks.c.id)
        .where(
            *of_schedule,
            task_cancellations.c.task_id.is_(None),
            tasks.c.create_body.is_not(None),
            or_(tasks.c.accepted_at.is_not(None), unsure),
            or_(
                (runs.c.status == RunStatus.DELIVERED) & (runs.c.fire_at == latest),
                runs.c.status.in_(AT_WORK) & or_(latest.is_(None), runs.c.fire_at >= latest),
            ),
        )
    )


async def _open_tasks(connection: AsyncConnection, run_id: UUID) -> list[UUID]:
    """The tasks of the run's schedule whose cancellation has not come to an end."""
    later = runs.alias("later")
    query = (
        select(task_cancellations.c.task_id)
        .join(tasks, tasks.c.id == task_cancellations.c.task_id)
        .join(runs, runs.c.id == tasks.c.run_id)
        .join(later, later.c.schedule_id == runs.c.schedule_id)
        .where(later.c.id == run_id, task_cancellations.c.ended_at.is_(None))
    )
    return [row.task_id for row in await connection.execute(query)]


async def _begin(connection: AsyncConnection, task_id: UUID) -> _Request | None:
    """The next request, written down; None where there is none to be made."""
    cancellation = task_cancellations.c
    query = select(task_cancellations).where(cancellation.task_id == task_id).with_for_update()
    row = (await connection.execute(query)).one()
    if row.ended_at is not None:
        return None
    if row.attempt_count >= MOST_ATTEMPTS:
        await _record(connection, task_id, row.attempt_count, AttemptOutcome.UNKNOWN, LOST, is_last=True)
        return None
    of_agent = select(agents.c.url, agents.c.api_key).join(tasks).where(tasks.c.id == task_id)
    agent = (await connection.execute(of_agent)).one()
    number = row.attempt_count + 1
    await connection.execute(
        update(task_cancellations)
        .where(cancellation.task_id == task_id)
        .values(attempt_count=number, outcome=AttemptOutcome.IN_FLIGHT, error=None)
    )
    return _Request(task_id, number, agent.url, agent.api_key, row.idempotency_key, row.body)


async def _record(
    connection: AsyncConnection,
    task_id: UUID,
    number: int,
    outcome: AttemptOutcome,
    error: RunError | None,
    *,
    is_last: bool,
) -> None:
    """Unless another worker has gone on with it meanwhile."""
    await connection.execute(
        update(task_cancellations)
        .where(
            task_cancellations.c.task_id == task_id,
            task_cancellations.c.attempt_count == number,
            task_cancellations.c.ended_at.is_(None),
        )
        .values(outcome=outcome, error=error.to_json() if error else None, ended_at=func.now() if is_last else None)
    )
