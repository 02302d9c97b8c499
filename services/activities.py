"""The activities behind `ScheduledAgentRun`: each calls one service, and holds none of its rules."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from services.activity_messages import ClaimAnswer, DeliverAnswer, FireRequest, RunRequest, SettleRequest
from services.cancellations import Cancellations
from services.claims import Claim, Claims, Fire, not_due_for
from services.deliveries import Again, Delivered, Deliveries, Ended
from services.failpoints import Failpoint, reach
from services.reconcile import Reconciler
from services.run import RunError, RunStatus, SkipReason
from services.settlements import Settlements
from services.workflows import CLAIM, DELIVER, SETTLE, STOP_EARLIER, TAKE_TURN, TAKE_UP

NOT_DUE_YET = "NOT_DUE_YET"
HEARTBEAT_EVERY = timedelta(seconds=2)


class RunActivities:
    def __init__(
        self,
        claims: Claims,
        cancellations: Cancellations,
        deliveries: Deliveries,
        settlements: Settlements,
        reconciler: Reconciler,
    ) -> None:
        self._claims = claims
        self._cancellations = cancellations
        self._deliveries = deliveries
        self._settlements = settlements
        self._reconciler = reconciler

    def all(self) -> Sequence[Callable[..., Any]]:
        return [self.claim, self.take_up, self.take_turn, self.stop_earlier, self.deliver, self.settle]

    @activity.defn(name=CLAIM)
    async def claim(self, request: FireRequest) -> ClaimAnswer:
        """A fire before its time asks again when it is due, by failing with the delay that it should wait."""
        if delay := not_due_for(request.nominal, datetime.now(UTC)):
            raise _later("It is not due yet.", NOT_DUE_YET, delay)
        fire = Fire(request.schedule_id, request.nominal, request.workflow_id, request.temporal_run_id)
        return _answer(await self._claims.claim_scheduled(fire))

    @activity.defn(name=TAKE_UP)
    async def take_up(self, request: RunRequest) -> ClaimAnswer:
        return _answer(await self._claims.take_up(request.run_id, request.temporal_run_id))

    @activity.defn(name=TAKE_TURN)
    async def take_turn(self, request: RunRequest) -> ClaimAnswer:
        return _answer(await self._claims.take_turn(request.run_id))

    @activity.defn(name=STOP_EARLIER)
    async def stop_earlier(self, run_id: UUID) -> None:
        """Nothing, where the run that takes their place may not be sent: that is said when it is delivered."""
        async with _heartbeats():
            step = await self._deliveries.unless_allowed(run_id)
            if isinstance(step, Again):
                raise _retry(step)
            if step is None:
                await self._cancellations.stop_earlier(run_id)

    @activity.defn(name=DELIVER)
    async def deliver(self, run_id: UUID) -> DeliverAnswer:
        """One attempt. Another one is asked for by failing with the delay that it should wait."""
        async with _heartbeats():
            step = await self._deliveries.attempt(run_id)
        if isinstance(step, Again):
            raise _retry(step)
        if isinstance(step, Delivered):
            return DeliverAnswer(RunStatus.DELIVERED)
        error = step.error.to_json() if step.error else None
        return DeliverAnswer(step.status, error, step.reason)

    @activity.defn(name=SETTLE)
    async def settle(self, request: SettleRequest) -> None:
        await reach(Failpoint.BEFORE_SETTLE)
        workflow_id = activity.info().workflow_id
        assert workflow_id is not None  # noqa: S101 - only workflows ask for it
        paused = await self._settlements.settle(request.run_id, _end(request), workflow_id=workflow_id)
        await reach(Failpoint.AFTER_SETTLE)
        if paused is not None:
            await self._reconciler.settle_soon(paused)


@asynccontextmanager
async def _heartbeats() -> AsyncIterator[None]:
    """Tell Temporal that this worker is alive, so that a lost one is replaced within seconds."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_EVERY.total_seconds())

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


def _retry(step: Again) -> ApplicationError:
    return _later(step.error.message, step.error.code, step.delay)


def _later(message: str, code: str, delay: timedelta | None) -> ApplicationError:
    # Benign: that someone is to be asked again is a step of ours, and no failure for Temporal to log.
    return ApplicationError(message, type=code, next_retry_delay=delay, category=ApplicationErrorCategory.BENIGN)


def _answer(claim: Claim) -> ClaimAnswer:
    return ClaimAnswer(claim.run_id, claim.next, list(claim.cancel), claim.stops_earlier)


def _end(request: SettleRequest) -> Delivered | Ended:
    status = RunStatus(request.status)
    if status is RunStatus.DELIVERED:
        return Delivered()
    reason = SkipReason(request.reason) if request.reason else None
    return Ended(status, RunError.from_json(request.error), reason)
