"""Delivering a run: one attempt at a time, each written down before its request is sent and closed after.

Every copy of a request carries the same key and the same bytes, from the run's task. What an attempt came to is read
from Postgres, so a worker that takes over from a lost one goes on where the other left off.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import structlog

from services import acp, delivery_statements, run_changes
from services.agent import AgentStatus
from services.calendar import EPOCH
from services.creators import Creators, Work
from services.database import Database
from services.errors import NextfireError, Unavailable
from services.failpoints import Failpoint, reach
from services.principals import Principal
from services.rendering import create_key, input_key
from services.run import LOST, AttemptOutcome, Run, RunError, RunStatus, SkipReason
from services.schedule import Author, Columns, OnUnknown
from services.secrets import SecretBox, SecretUnreadable
from services.statements import new
from services.tables import new_id
from services.transactions import Transaction
from services.wakeup import Notifier

log = structlog.get_logger(__name__)

Begun = TypeVar("Begun")

FIRST_BACKOFF = timedelta(seconds=1)
LONGEST_BACKOFF = timedelta(seconds=60)

INTERRUPTED = RunError(
    "INTERRUPTED", "The request was given up while it was under way; whether it arrived is unknown.", True
)
EXHAUSTED = RunError("RETRY_HORIZON_PASSED", "The agent could not be reached within the retry horizon.", False)
NO_MORE_SENT = {
    SkipReason.AGENT_DELETED: RunError(
        "AGENT_DELETED", "The agent was deleted; whether an earlier request arrived is unknown.", False
    ),
    SkipReason.SCHEDULE_DELETED: RunError(
        "SCHEDULE_DELETED", "The schedule was deleted; whether an earlier request arrived is unknown.", False
    ),
    SkipReason.PERMISSION_DENIED: RunError(
        "PERMISSION_DENIED",
        "Its creator may no longer send it; whether an earlier request arrived is unknown.",
        False,
    ),
}
"""Why nothing more is sent of a run that may have arrived: one that is SKIPPED was never delivered."""
API_KEY_UNREADABLE = RunError(
    "API_KEY_UNREADABLE", "The agent's API key was sealed under another NEXTFIRE_SECRET_KEY: set it again.", False
)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The agent acknowledged the input."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The run ends without a delivery."""

    status: RunStatus
    error: RunError | None = None
    reason: SkipReason | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """The same bytes are to be sent once more, after `delay`."""

    delay: timedelta
    error: RunError


DeliveryStep = Delivered | Ended | Again


@dataclass(frozen=True, slots=True)
class _Request:
    """All that one attempt needs, read under the run's lock."""

    run: Run
    number: int
    url: str
    api_key: str | None
    create_body: bytes | None
    input_body: bytes
    on_unknown: OnUnknown
    deadline_at: datetime


class Deliveries:
    def __init__(
        self,
        database: Database,
        notifier: Notifier,
        client: acp.AcpClient,
        secrets: SecretBox,
        creators: Creators,
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._client = client
        self._secrets = secrets
        self._creators = creators

    async def attempt(self, run_id: UUID) -> DeliveryStep:
        """Make the next attempt of a run, or tell what the attempts so far have come to.

        Whoever the run acts as is asked about before each attempt, and before anything of it is sent.
        """
        await reach(Failpoint.BEFORE_ATTEMPT)
        begun = await self._prepare(run_id)
        self._notifier.poke()
        if not isinstance(begun, _Request):
            return begun
        started = time.monotonic()
        try:
            await reach(Failpoint.AFTER_ATTEMPT_ROW)
            outcome = await self._send(begun)
            await reach(Failpoint.AFTER_AGENT_ACCEPTED)
        except asyncio.CancelledError:
            await asyncio.shield(self._interrupted(begun, time.monotonic() - started))
            raise
        async with self._database.changes.begin() as transaction:
            step = await _close(transaction, begun, outcome, time.monotonic() - started)
        self._notifier.poke()
        return step

    async def _prepare(self, run_id: UUID) -> _Request | DeliveryStep:
        if (stop := await self.unless_allowed(run_id)) is not None:
            return stop
        async with self._database.changes.begin() as transaction:
            return await self._begin(transaction, run_id, self._open)

    async def unless_allowed(self, run_id: UUID) -> DeliveryStep | None:
        """None where the run's creator may have something sent now; else what becomes of the run."""
        if not self._creators.asks:
            return None
        async with self._database.changes.begin() as transaction:
            work = await self._begin(transaction, run_id, _work)
        if not isinstance(work, Work):
            return work
        try:
            allowed = await self._creators.may_send(work)
        except NextfireError as error:
            async with self._database.changes.begin() as transaction:
                return await _put_off(transaction, run_id, error)
        if allowed:
            return None
        async with self._database.changes.begin() as transaction:
            return await _no_more_sent(transaction, run_id, SkipReason.PERMISSION_DENIED)

    async def _interrupted(self, request: _Request, seconds: float) -> None:
        """Close an attempt that this worker gives up because it is stopped, or because the run is cancelled.

        Where Postgres does not answer, whoever takes the run over or ends it closes it.
        """
        number, milliseconds = request.number, round(seconds * 1000)
        try:
            async with self._database.changes.begin() as transaction:
                await _close_attempt(
                    transaction, request.run.id, number, AttemptOutcome.UNKNOWN, INTERRUPTED, milliseconds
                )
        except Unavailable:
            log.warning(
                "An attempt that was given up stays open for now",
                action="attempt_left_open",
                run_id=str(request.run.id),
                number=number,
            )

    async def _begin(
        self,
        transaction: Transaction,
        run_id: UUID,
        go_on: Callable[[Transaction, Run, Columns], Awaitable[Begun]],
    ) -> Begun | DeliveryStep:
        """What the attempts so far have come to; or where they have come to no end, what `go_on` does."""
        run = await run_changes.locked(transaction, run_id)
        row = await _delivery(transaction, run_id)
        last = await _last_attempt(transaction, run)
        if last is not None and last["outcome"] == AttemptOutcome.IN_FLIGHT:
            await _close_attempt(transaction, run_id, last["n"], AttemptOutcome.UNKNOWN, LOST, None)
        if (ended := _ended(run, row, last)) is not None:
            return ended
        return await go_on(transaction, run, row)

    async def _open(self, transaction: Transaction, run: Run, row: Columns) -> _Request | Ended:
        try:
            api_key = self._secrets.open(row["api_key"]) if row["api_key"] else None
        except SecretUnreadable:
            return _given_up(await _last_attempt(transaction, run), API_KEY_UNREADABLE)
        return await _open_attempt(transaction, run, row, api_key)

    async def _send(self, request: _Request) -> acp.Outcome:
        """task/create first where the agent takes it and has not yet acknowledged it, then the input."""
        task_id = request.run.task_id
        if request.create_body is not None and task_id is not None:
            outcome = await self._post(request, request.create_body, create_key(task_id), "task")
            if not isinstance(outcome, acp.Accepted):
                return outcome
            async with self._database.changes.begin() as transaction:
                await transaction.rows(delivery_statements.ACCEPT_TASK, {"task": task_id})
        return await self._post(request, request.input_body, input_key(request.run.id), "input")

    async def _post(self, request: _Request, body: bytes, key: str, part: str) -> acp.Outcome:
        return await self._client.send(
            request.url,
            body,
            request_id=f"{request.run.id}.{request.number}.{part}",
            idempotency_key=key,
            api_key=request.api_key,
        )


async def _work(_transaction: Transaction, run: Run, row: Columns) -> Work:
    assert run.agent_id is not None  # noqa: S101 - a run with a task has an agent
    assert run.task_id is not None  # noqa: S101 - its task is what was joined
    creator = Principal.from_json(row["creator_principal"]) if row["creator_principal"] else None
    return Work(run.account_id, creator, run.agent_id, run.task_id)


async def _put_off(transaction: Transaction, run_id: UUID, error: NextfireError) -> Again | Ended:
    """Nothing is sent while nobody can say whether it may be; the run's horizon goes on meanwhile."""
    run = await run_changes.locked(transaction, run_id)
    if run.finished_at is not None:
        return Ended(run.status, run.error, run.skip_reason)
    row, last, now = await _delivery(transaction, run_id), await _last_attempt(transaction, run), datetime.now(UTC)
    begun_at = row["begun_at"] or now
    run_error = RunError(f"AUTHORIZATION_{error.code}", error.message, retryable=True)
    delay = _following_pause(now - begun_at)
    if now + delay >= _deadline(row, begun_at):
        return _given_up(last, run_error)
    await run_changes.set_status(transaction, run, RunStatus.RETRYING, error=run_error.to_json(), begun_at=begun_at)
    return Again(delay, run_error)


async def _no_more_sent(transaction: Transaction, run_id: UUID, reason: SkipReason) -> Ended:
    run = await run_changes.locked(transaction, run_id)
    if run.finished_at is not None:
        return Ended(run.status, run.error, run.skip_reason)
    return await no_more_sent(transaction, run, reason)


async def no_more_sent(transaction: Transaction, run: Run, reason: SkipReason) -> Ended:
    """The end of a run that the caller has locked, and of which nothing more may be sent."""
    return _unsent(reason, await _last_attempt(transaction, run))


def _unsent(reason: SkipReason, last: Columns | None) -> Ended:
    if last is not None and last["may_have_arrived"]:
        return Ended(RunStatus.UNKNOWN, NO_MORE_SENT[reason])
    return Ended(RunStatus.SKIPPED, None, reason)


def _given_up(last: Columns | None, error: RunError) -> Ended:
    """The end of a run that is not tried again: that it was not delivered is said only where that is known."""
    unknown = last is not None and last["may_have_arrived"]
    return Ended(RunStatus.UNKNOWN if unknown else RunStatus.FAILED, error)


def _following_pause(passed: timedelta) -> timedelta:
    """As long again as it has taken so far, from 1 s to 60 s."""
    return min(LONGEST_BACKOFF, max(FIRST_BACKOFF, passed)) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _deadline(row: Columns, begun_at: datetime) -> datetime:
    horizon = timedelta(seconds=row["retry_horizon_seconds"])
    deadline: datetime = row["deadline_at"] or begun_at + horizon
    return deadline


def backoff(number: int) -> timedelta:
    """From 1 s to 60 s, doubling, with jitter over the upper half so that runs that failed together part."""
    longest: timedelta = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(number - 1, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


async def _delivery(transaction: Transaction, run_id: UUID) -> Columns:
    (row,) = await transaction.rows(delivery_statements.OF_RUN, {"run": run_id})
    return row


async def _last_attempt(transaction: Transaction, run: Run) -> Columns | None:
    """With `may_have_arrived`, which is about all attempts since a person last said that none had."""
    since = run.not_delivered_at or EPOCH
    rows = await transaction.rows(delivery_statements.LAST_ATTEMPT, {"run": run.id, "since": since})
    return rows[0] if rows else None


def _ended(run: Run, row: Columns, last: Columns | None) -> DeliveryStep | None:
    """What the attempts so far have come to, where they have come to an end."""
    if run.finished_at is not None:
        return Ended(run.status, run.error, run.skip_reason)
    # Without a deadline nothing was sent since the run was retried: that it may have arrived before is all that counts.
    latest = last if row["deadline_at"] is not None else None
    outcome = latest["outcome"] if latest is not None else None
    error = RunError.from_json(latest["error"]) if latest is not None else None
    if outcome == AttemptOutcome.DELIVERED:
        return Delivered()
    if outcome == AttemptOutcome.REFUSED:
        return Ended(RunStatus.FAILED, error)
    if outcome in (AttemptOutcome.IN_FLIGHT, AttemptOutcome.UNKNOWN):
        error = error or LOST
        if row["on_unknown"] == OnUnknown.HOLD:
            return Ended(RunStatus.UNKNOWN, error)
    if row["agent_status"] == AgentStatus.DELETED:
        return _unsent(SkipReason.AGENT_DELETED, last)
    if row["deadline_at"] is not None and row["deadline_at"] <= datetime.now(UTC):
        return _given_up(last, error or EXHAUSTED)
    return None


async def _open_attempt(transaction: Transaction, run: Run, row: Columns, api_key: str | None) -> _Request:
    number = row["attempt_count"] + 1
    deadline_at = _deadline(row, row["begun_at"] or datetime.now(UTC))
    attempt = {
        "run_id": run.id,
        "n": number,
        "idempotency_key": input_key(run.id),
        "body_sha256": hashlib.sha256(row["input_body"]).hexdigest(),
        "at": datetime.now(UTC),
    }
    await transaction.rows(delivery_statements.OPEN, new(attempt))
    after = await run_changes.set_status(
        transaction, run, RunStatus.DELIVERING, attempt_count=number, deadline_at=deadline_at
    )
    return _Request(
        run=after,
        number=number,
        url=row["url"],
        api_key=api_key,
        create_body=None if row["accepted_at"] else row["create_body"],
        input_body=row["input_body"],
        on_unknown=OnUnknown(row["on_unknown"]),
        deadline_at=deadline_at,
    )


async def _close(transaction: Transaction, request: _Request, outcome: acp.Outcome, seconds: float) -> DeliveryStep:
    run = await run_changes.locked(transaction, request.run.id)
    kind, error = recorded(outcome)
    closed = await _close_attempt(transaction, run.id, request.number, kind, error, round(seconds * 1000))
    if run.finished_at is not None:
        return Ended(run.status, run.error, run.skip_reason)
    if not closed and not isinstance(outcome, acp.Accepted):
        # Another worker took this attempt for lost, and may be at the next: what it came to is read anew.
        return Again(FIRST_BACKOFF, error or LOST)
    await _note_agent(transaction, run, outcome)
    if isinstance(outcome, acp.Accepted):
        await _store_replies(transaction, run, outcome)
        await run_changes.set_status(transaction, run, run.status, delivered_at=datetime.now(UTC), error=None)
        return Delivered()
    assert error is not None  # noqa: S101 - every outcome but Accepted has one
    if isinstance(outcome, acp.Refused):
        return Ended(RunStatus.FAILED, error)
    if isinstance(outcome, acp.Unknown) and request.on_unknown is OnUnknown.HOLD:
        return Ended(RunStatus.UNKNOWN, error)
    wish = outcome.retry_after if isinstance(outcome, acp.Retry) else None
    delay = max(backoff(request.number), wish or timedelta(0))
    if datetime.now(UTC) + delay >= request.deadline_at:
        return _given_up(await _last_attempt(transaction, run), error)
    await run_changes.set_status(transaction, run, RunStatus.RETRYING, error=error.to_json())
    return Again(delay, error)


def recorded(outcome: acp.Outcome) -> tuple[AttemptOutcome, RunError | None]:
    """An outcome as it is written down."""
    match outcome:
        case acp.Accepted():
            return AttemptOutcome.DELIVERED, None
        case acp.Refused(code, message):
            return AttemptOutcome.REFUSED, RunError(code, message, retryable=False)
        case acp.Retry(code, message, _):
            return AttemptOutcome.RETRY, RunError(code, message, retryable=True)
        case acp.Unknown(code, message):
            return AttemptOutcome.UNKNOWN, RunError(code, message, retryable=True)


async def _close_attempt(
    transaction: Transaction,
    run_id: UUID,
    number: int,
    outcome: AttemptOutcome,
    error: RunError | None,
    duration_ms: int | None,
) -> bool:
    """False where another worker took the attempt for lost. An answer that comes after that is on record all the same:
    that it is delivered is known then, and nothing else is.
    """
    statement = (
        delivery_statements.CLOSE_DELIVERED if outcome is AttemptOutcome.DELIVERED else delivery_statements.CLOSE
    )
    closed = {"outcome": outcome, "error": error.to_json() if error else None, "duration_ms": duration_ms}
    return bool(await transaction.rows(statement, {**new(closed), "run": run_id, "number": number}))


async def _note_agent(transaction: Transaction, run: Run, outcome: acp.Outcome) -> None:
    """An agent that refuses connections shows as UNREACHABLE until one gets through."""
    unreachable = isinstance(outcome, acp.Retry) and outcome.code.startswith("CONNECT_")
    before, after = AgentStatus.UNREACHABLE, AgentStatus.ACTIVE
    if unreachable:
        before, after = after, before
    await transaction.rows(delivery_statements.NOTE_AGENT, {"agent": run.agent_id, "before": before, "after": after})


async def _store_replies(transaction: Transaction, run: Run, accepted: acp.Accepted) -> None:
    replies = accepted.replies
    if replies:
        columns = {
            "task": run.task_id,
            "ids": [new_id() for _ in replies],
            "idempotency_keys": [f"reply:{reply.index}" for reply in replies],
            "authors": [Author(reply.author.upper()) for reply in replies],
            "contents": [reply.content for reply in replies],
        }
        await transaction.rows(delivery_statements.STORE_REPLIES, columns)
