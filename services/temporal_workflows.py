"""Starting the workflows of runs whose rows come first."""

from datetime import timedelta
from uuid import UUID

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from services.clock import TemporalAway
from services.clock_spec import EXECUTION_TIMEOUT, WORKFLOW_TYPE
from services.run import RunTrigger

START_TIMEOUT = timedelta(seconds=10)
"""Whoever has less time gives it up sooner; a Temporal that is busy must not put off the worker for ever."""


class TemporalWorkflows:
    def __init__(self, client: Client, *, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def start_run(self, workflow_id: str, run_id: UUID, trigger: RunTrigger) -> str:
        """Start the workflow of a run, or find it started; its Temporal run id. Raises `TemporalAway`."""
        try:
            handle = await self._client.start_workflow(
                WORKFLOW_TYPE,
                args=["", trigger.value.lower(), str(run_id)],
                id=workflow_id,
                task_queue=self._task_queue,
                execution_timeout=EXECUTION_TIMEOUT,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                rpc_timeout=START_TIMEOUT,
            )
        except WorkflowAlreadyStartedError as error:
            # It has run to its end: what it did stands in the run's row.
            return error.run_id or workflow_id
        except (RPCError, RuntimeError) as error:
            raise TemporalAway("the workflow was not started", timed_out=False) from error
        return handle.first_execution_run_id or handle.result_run_id or workflow_id
