"""The workflow of a run: thin and deterministic, each step an activity that decides in Postgres.

The sandbox reloads this module for each workflow, so it imports only values.
"""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from services.activity_messages import (
        ClaimAnswer,
        DeliverAnswer,
        FireRequest,
        RunRequest,
        SettleRequest,
    )

SCHEDULED_START = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
CLAIM, TAKE_UP, TAKE_TURN = "claim_fire", "take_up_run", "take_turn"
STOP_EARLIER, DELIVER, SETTLE = "stop_earlier_tasks", "deliver_run", "settle_run"

STEADY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10))
"""For the steps in Postgres: as long as it takes."""
STEP_TIMEOUT = timedelta(seconds=20)
STOP_TIMEOUT = timedelta(minutes=1)
DELIVER_TIMEOUT = timedelta(hours=2)
"""A sync agent may stream its answer for long; each pause in it is bounded by the wire client."""
HEARTBEAT_TIMEOUT = timedelta(seconds=10)
TURN_PAUSES = (0.2, 0.3, 0.5, 1, 2, 3, 5, 10)
"""Seconds. Short at first: a run that was just cancelled ends within a moment."""


@workflow.defn(name="ScheduledAgentRun")
class ScheduledAgentRun:
    """Claim, deliver, settle. `trigger` is "scheduled" from the clock; else the run's row came first: `run_id`."""

    @workflow.run
    async def run(self, schedule_id: str, trigger: str, run_id: str | int | None = None) -> str:
        claim = await (self._claim(schedule_id) if trigger == "scheduled" else self._take_up(str(run_id)))
        try:
            for workflow_id in claim.cancel:
                await self._cancel(workflow_id)
            step, turns = claim.next, 0
            while step == "WAIT":
                await asyncio.sleep(TURN_PAUSES[min(turns, len(TURN_PAUSES) - 1)])
                step, turns = (await self._take_turn(claim.run_id)).next, turns + 1
            if step == "END":
                return "ended at the claim"
            if claim.stops_earlier:
                await self._stop_earlier(claim.run_id)
            delivered = await self._deliver(claim.run_id)
        except BaseException as error:
            # A cancellation comes as an activity's failure where the activity waits for its next attempt.
            if not is_cancelled_exception(error):
                raise
            await asyncio.shield(self._settle(SettleRequest(claim.run_id, "CANCELLED")))
            raise
        await self._settle(SettleRequest(claim.run_id, delivered.status, delivered.error, delivered.reason))
        return delivered.status

    async def _claim(self, schedule_id: str) -> ClaimAnswer:
        info = workflow.info()
        nominal: datetime = info.typed_search_attributes.get(SCHEDULED_START) or info.start_time
        request = FireRequest(UUID(schedule_id), nominal, info.workflow_id, info.first_execution_run_id or info.run_id)
        return await self._decide(CLAIM, request)

    async def _take_up(self, run_id: str) -> ClaimAnswer:
        request = RunRequest(UUID(run_id), workflow.info().run_id)
        return await self._decide(TAKE_UP, request)

    async def _take_turn(self, run_id: UUID) -> ClaimAnswer:
        request = RunRequest(run_id, workflow.info().run_id)
        return await self._decide(TAKE_TURN, request)

    async def _decide(self, activity: str, request: FireRequest | RunRequest) -> ClaimAnswer:
        answer: ClaimAnswer = await workflow.execute_activity(
            activity, request, result_type=ClaimAnswer, start_to_close_timeout=STEP_TIMEOUT, retry_policy=STEADY
        )
        return answer

    async def _stop_earlier(self, run_id: UUID) -> None:
        await workflow.execute_activity(
            STOP_EARLIER,
            run_id,
            start_to_close_timeout=STOP_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=STEADY,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )

    async def _deliver(self, run_id: UUID) -> DeliverAnswer:
        answer: DeliverAnswer = await workflow.execute_activity(
            DELIVER,
            run_id,
            result_type=DeliverAnswer,
            start_to_close_timeout=DELIVER_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=STEADY,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return answer

    async def _settle(self, request: SettleRequest) -> None:
        await workflow.execute_activity(SETTLE, request, start_to_close_timeout=STEP_TIMEOUT, retry_policy=STEADY)

    async def _cancel(self, workflow_id: str) -> None:
        try:
            await workflow.get_external_workflow_handle(workflow_id).cancel()
        except Exception:
            # It has ended meanwhile, which is what was wanted.
            workflow.logger.info("The earlier run had ended already")
