"""Asking Temporal how a workflow stands."""

from datetime import timedelta

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from services.lost_runs import WorkflowState
from services.temporal_calls import call

TIMEOUT = timedelta(seconds=5)
OPEN = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED,
}


class TemporalStates:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def state(self, workflow_id: str) -> WorkflowState:
        """How the latest workflow by this id stands; GONE also where there is none. Raises `TemporalAway`."""
        execution = WorkflowExecution(workflow_id=workflow_id)
        request = DescribeWorkflowExecutionRequest(namespace=self._client.namespace, execution=execution)
        service = self._client.workflow_service
        try:
            answer = await call(lambda: service.describe_workflow_execution(request, timeout=TIMEOUT), TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return WorkflowState.GONE
            raise
        status = answer.workflow_execution_info.status
        if status in OPEN:
            return WorkflowState.OPEN
        cancelled = status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED
        return WorkflowState.CANCELLED if cancelled else WorkflowState.GONE
