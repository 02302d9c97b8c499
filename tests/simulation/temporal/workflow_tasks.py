"""Running the product's own workflow code, as the core of the SDK would: activations in, commands out."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio import workflow
from temporalio.api.common.v1 import Payload, Payloads, SearchAttributes
from temporalio.bridge.proto.workflow_activation import (
    InitializeWorkflow,
    RemoveFromCache,
    WorkflowActivation,
    WorkflowActivationJob,
)
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.common import Priority
from temporalio.converter import DataConverter, decode_search_attributes, decode_typed_search_attributes
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowInstance, WorkflowInstanceDetails

from services.workflows import ScheduledAgentRun
from tests.simulation.temporal.network import NAMESPACE
from tests.simulation.temporal.schedules import stamp

EXECUTION_TIMEOUT = timedelta(days=8)


@dataclass(frozen=True)
class Started:
    """What a workflow is started with."""

    workflow_id: str
    run_id: str
    workflow_type: str
    task_queue: str
    arguments: Sequence[Payload]
    attributes: SearchAttributes
    seed: int


class WorkflowTasks:
    """One workflow, activated again and again until its last command says that it has ended."""

    def __init__(self, started: Started) -> None:
        first = InitializeWorkflow(
            workflow_type=started.workflow_type,
            workflow_id=started.workflow_id,
            arguments=started.arguments,
            randomness_seed=started.seed,
            first_execution_run_id=started.run_id,
            search_attributes=started.attributes,
            start_time=stamp(datetime.now(UTC)),
            attempt=1,
        )
        self._started = started
        self._jobs = [WorkflowActivationJob(initialize_workflow=first)]
        self._instance: WorkflowInstance | None = None

    def add(self, job: WorkflowActivationJob) -> None:
        """Something has happened to it, which its next activation tells it."""
        self._jobs.append(job)

    def activate(self) -> Iterable[WorkflowCommand]:
        """Tell it what has happened since the last time; what it wants done. A failed workflow task is an error."""
        jobs, self._jobs = self._jobs, []
        if self._instance is None:
            self._instance = UnsandboxedWorkflowRunner().create_instance(_details(self._started, datetime.now(UTC)))
        return self._activate(self._instance, jobs) if jobs else []

    def evict(self) -> None:
        """End what runs of it, which nobody waits for any more."""
        if self._instance is not None:
            gone = RemoveFromCache(message="The workflow was closed.")
            self._activate(self._instance, [WorkflowActivationJob(remove_from_cache=gone)])

    def _activate(self, instance: WorkflowInstance, jobs: list[WorkflowActivationJob]) -> Iterable[WorkflowCommand]:
        activation = WorkflowActivation(
            run_id=self._started.run_id, timestamp=stamp(datetime.now(UTC)), jobs=jobs, history_length=10
        )
        outer = asyncio.get_running_loop()
        try:
            completion = instance.activate(activation)
        finally:
            asyncio._set_running_loop(outer)
        if completion.HasField("failed"):
            raise AssertionError(f"A workflow task failed: {completion.failed.failure.message}")
        return completion.successful.commands


def _details(started: Started, now: datetime) -> WorkflowInstanceDetails:
    definition = workflow._Definition.must_from_class(ScheduledAgentRun)
    assert definition.name == started.workflow_type
    info = workflow.Info(
        attempt=1,
        continued_run_id=None,
        cron_schedule=None,
        execution_timeout=EXECUTION_TIMEOUT,
        first_execution_run_id=started.run_id,
        headers={},
        namespace=NAMESPACE,
        original_execution_run_id=started.run_id,
        parent=None,
        root=None,
        priority=Priority(),
        raw_memo={},
        retry_policy=None,
        run_id=started.run_id,
        run_timeout=None,
        search_attributes=decode_search_attributes(started.attributes),
        start_time=now,
        workflow_start_time=now,
        task_queue=started.task_queue,
        task_timeout=timedelta(seconds=10),
        typed_search_attributes=decode_typed_search_attributes(started.attributes),
        workflow_id=started.workflow_id,
        workflow_type=started.workflow_type,
    )
    converter = DataConverter.default
    return WorkflowInstanceDetails(
        payload_converter_factory=converter.payload_converter_class,
        failure_converter_class=converter.failure_converter_class,
        interceptor_classes=[],
        defn=definition,
        info=info,
        randomness_seed=started.seed,
        extern_functions={},
        disable_eager_activity_execution=True,
        worker_level_failure_exception_types=[],
        patch_activation_callback=None,
        last_completion_result=Payloads(),
        last_failure=None,
    )
