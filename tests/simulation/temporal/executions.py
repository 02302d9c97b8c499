"""The simulated server's workflow executions: activities that are retried, timed out and cancelled, and timers."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from temporalio.api.common.v1 import Payload, SearchAttributes, WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus, WorkflowIdReusePolicy
from temporalio.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from temporalio.api.failure.v1 import (
    ActivityFailureInfo,
    ApplicationFailureInfo,
    CanceledFailureInfo,
    Failure,
)
from temporalio.api.workflow.v1 import NewWorkflowExecutionInfo, WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse, StartWorkflowExecutionRequest
from temporalio.bridge.proto.activity_result import (
    ActivityResolution,
    Cancellation,
    Success,
)
from temporalio.bridge.proto.activity_result import Failure as FailureResult
from temporalio.bridge.proto.workflow_activation import (
    CancelWorkflow,
    FireTimer,
    ResolveActivity,
    ResolveRequestCancelExternalWorkflow,
    WorkflowActivationJob,
)
from temporalio.bridge.proto.workflow_commands import ScheduleActivity, WorkflowCommand
from temporalio.service import RPCStatusCode

from tests.simulation.temporal.network import Refusal
from tests.simulation.temporal.workflow_tasks import EXECUTION_TIMEOUT, Started, WorkflowTasks

RETENTION = timedelta(days=3)
Status = WorkflowExecutionStatus
RUNNING = Status.WORKFLOW_EXECUTION_STATUS_RUNNING
COMMANDED = (
    Status.WORKFLOW_EXECUTION_STATUS_COMPLETED,
    Status.WORKFLOW_EXECUTION_STATUS_CANCELED,
    Status.WORKFLOW_EXECUTION_STATUS_FAILED,
)
"""Ended by a command of the workflow's own; nothing of it runs then."""


class ActivityWorker(Protocol):
    """A worker process, as the server sees it."""

    @property
    def is_polling(self) -> bool: ...

    def take(self, task: "ActivityTask") -> None:
        """Begin one attempt of an activity, and tell the task what becomes of it."""
        ...


@dataclass(eq=False)
class Activity:
    """An activity that a workflow waits for."""

    execution: "Execution"
    command: ScheduleActivity
    attempt: int = 1
    cancel_requested: bool = False
    task: "ActivityTask | None" = None
    """The attempt that is under way; another one's results count no more."""


@dataclass(eq=False)
class ActivityTask:
    """One attempt of an activity in the hands of a worker."""

    activity: Activity
    executions: "Executions"
    beats: int = 0
    on_cancel: Callable[[], None] | None = None

    @property
    def type(self) -> str:
        return self.activity.command.activity_type

    @property
    def workflow_id(self) -> str:
        return self.activity.execution.id

    @property
    def argument(self) -> Payload:
        (argument,) = self.activity.command.arguments
        return argument

    @property
    def is_current(self) -> bool:
        return self.activity.task is self and self.activity.execution.status == RUNNING

    def beat(self) -> None:
        """A heartbeat, whose answer tells the worker to stop where that is wanted, or nobody waits any more."""
        if not self.executions.running:
            return
        self.beats += 1
        if (not self.is_current or self.activity.cancel_requested) and self.on_cancel is not None:
            self.on_cancel()

    def completed(self, result: Payload) -> None:
        if self.executions.hears(self):
            self.executions.resolve(self.activity, ActivityResolution(completed=Success(result=result)))

    def cancelled(self) -> None:
        if self.executions.hears(self):
            self.executions.resolve_cancelled(self.activity)

    def failed(self, message: str, kind: str, delay: timedelta | None = None, *, final: bool = False) -> None:
        if self.executions.hears(self):
            self.executions.failed(self.activity, message, kind, delay, final=final)


@dataclass(eq=False)
class Execution:
    """One workflow."""

    started: Started
    tasks: WorkflowTasks | None
    status: Status.ValueType = RUNNING
    activities: dict[int, Activity] = field(default_factory=dict)
    timers: set[int] = field(default_factory=set)

    @property
    def id(self) -> str:
        return self.started.workflow_id


class Executions:
    """All workflows of the namespace."""

    def __init__(self, rng: random.Random) -> None:
        self.running = True
        self.workers: list[ActivityWorker] = []
        self.latest: dict[str, Execution] = {}
        self._rng = rng
        self._told: deque[Execution] = deque()
        """Those that have something to hear, in a workflow task."""
        self._ready: deque[Activity] = deque()
        self._put_off: list[Callable[[], None]] = []

    def start(self, request: StartWorkflowExecutionRequest) -> tuple[str, bool]:
        """The run's id, and whether it was started now. Raises `Refusal`."""
        known = self.latest.get(request.workflow_id)
        if known is not None and known.status == RUNNING:
            return known.started.run_id, False
        once = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
        if known is not None and request.workflow_id_reuse_policy == once:
            detail = WorkflowExecutionAlreadyStartedFailure(run_id=known.started.run_id)
            raise Refusal(RPCStatusCode.ALREADY_EXISTS, "Workflow execution already finished.", detail)
        arguments = [*request.input.payloads]
        queue, kind = request.task_queue.name, request.workflow_type.name
        return self._begin(request.workflow_id, kind, queue, arguments, SearchAttributes()), True

    def start_scheduled(self, action: NewWorkflowExecutionInfo, nominal: datetime, workflow_id: str) -> str:
        """The workflow of a fire; where one by its id is still open, that is it."""
        known = self.latest.get(workflow_id)
        if known is not None and known.status == RUNNING:
            return known.started.run_id
        attributes = SearchAttributes()
        at = attributes.indexed_fields["TemporalScheduledStartTime"]
        at.metadata.update({"encoding": b"json/plain", "type": b"Datetime"})
        at.data = f'"{nominal:%Y-%m-%dT%H:%M:%SZ}"'.encode()
        arguments = [*action.input.payloads]
        return self._begin(workflow_id, action.workflow_type.name, action.task_queue.name, arguments, attributes)

    def describe(self, workflow_id: str) -> DescribeWorkflowExecutionResponse:
        execution = self.latest.get(workflow_id)
        if execution is None:
            raise Refusal(RPCStatusCode.NOT_FOUND, f"workflow not found for ID: {workflow_id}")
        run = WorkflowExecution(workflow_id=workflow_id, run_id=execution.started.run_id)
        info = WorkflowExecutionInfo(execution=run, status=execution.status)
        return DescribeWorkflowExecutionResponse(workflow_execution_info=info)

    def cancel(self, workflow_id: str) -> bool:
        """Ask it to end; False where none is open."""
        execution = self.latest.get(workflow_id)
        if execution is None or execution.status != RUNNING:
            return False
        self._tell(execution, WorkflowActivationJob(cancel_workflow=CancelWorkflow(reason="asked for")))
        return True

    def terminate(self, workflow_id: str) -> bool:
        """End it at once; False where none is open."""
        execution = self.latest.get(workflow_id)
        if execution is None or execution.status != RUNNING:
            return False
        self._close(execution, Status.WORKFLOW_EXECUTION_STATUS_TERMINATED)
        return True

    def open(self) -> list[str]:
        return [execution.id for execution in self.latest.values() if execution.status == RUNNING]

    def stop(self) -> None:
        self.running = False

    def resume(self) -> None:
        self.running = True
        put_off, self._put_off = self._put_off, []
        for each in put_off:
            asyncio.get_running_loop().call_later(self._rng.uniform(0.1, 2.0), self._when_running, each)
        self.dispatch()

    def clear(self) -> None:
        for execution in [*self.latest.values()]:
            if execution.status == RUNNING:
                self._close(execution, Status.WORKFLOW_EXECUTION_STATUS_TERMINATED)
        self.latest.clear()
        self._told.clear()
        self._ready.clear()
        self._put_off.clear()

    def hears(self, task: ActivityTask) -> bool:
        """Whether what the worker says of an attempt counts: an answer to a server that is down is lost."""
        return self.running and task.is_current

    def dispatch(self) -> None:
        """Give what is ready to the workers, if any polls."""
        polling = [worker for worker in self.workers if worker.is_polling]
        if not self.running or not polling:
            return
        while self._told:
            self._drive(self._told.popleft())
        while self._ready:
            activity = self._ready.popleft()
            if activity.execution.status == RUNNING and activity.task is None:
                self._hand_over(activity, self._rng.choice(polling))

    def _begin(
        self, workflow_id: str, kind: str, queue: str, arguments: list[Payload], attributes: SearchAttributes
    ) -> str:
        run_id = str(UUID(int=self._rng.getrandbits(128), version=4))
        started = Started(workflow_id, run_id, kind, queue, arguments, attributes, seed=self._rng.getrandbits(63))
        execution = Execution(started, WorkflowTasks(started))
        self.latest[workflow_id] = execution
        self._told.append(execution)
        timed_out = Status.WORKFLOW_EXECUTION_STATUS_TIMED_OUT
        self._later(EXECUTION_TIMEOUT, lambda: self._close(execution, timed_out))
        self._later(timedelta(milliseconds=2), self.dispatch)
        return run_id

    def _tell(self, execution: Execution, job: WorkflowActivationJob) -> None:
        if execution.tasks is not None:
            execution.tasks.add(job)
            self._told.append(execution)
            self._later(timedelta(milliseconds=2), self.dispatch)

    def _drive(self, execution: Execution) -> None:
        if execution.tasks is None:
            return
        for command in execution.tasks.activate():
            self._do(execution, command)

    def _do(self, execution: Execution, command: WorkflowCommand) -> None:
        match command.WhichOneof("variant"):
            case "schedule_activity":
                wanted = ScheduleActivity()
                wanted.CopyFrom(command.schedule_activity)
                activity = execution.activities[wanted.seq] = Activity(execution, wanted)
                self._ready.append(activity)
            case "request_cancel_activity":
                self._cancel_activity(execution, command.request_cancel_activity.seq)
            case "start_timer":
                self._start_timer(execution, command)
            case "cancel_timer":
                execution.timers.discard(command.cancel_timer.seq)
            case "request_cancel_external_workflow_execution":
                self._cancel_other(execution, command)
            case "complete_workflow_execution":
                self._close(execution, Status.WORKFLOW_EXECUTION_STATUS_COMPLETED)
            case "cancel_workflow_execution":
                self._close(execution, Status.WORKFLOW_EXECUTION_STATUS_CANCELED)
            case "fail_workflow_execution":
                self._close(execution, Status.WORKFLOW_EXECUTION_STATUS_FAILED)
            case other:
                raise AssertionError(f"The simulated server does not know the command {other}.")

    def _start_timer(self, execution: Execution, command: WorkflowCommand) -> None:
        seq = command.start_timer.seq
        execution.timers.add(seq)

        def fire() -> None:
            if seq in execution.timers and execution.status == RUNNING:
                execution.timers.discard(seq)
                self._tell(execution, WorkflowActivationJob(fire_timer=FireTimer(seq=seq)))

        self._later(command.start_timer.start_to_fire_timeout.ToTimedelta(), fire)

    def _cancel_other(self, execution: Execution, command: WorkflowCommand) -> None:
        wanted = command.request_cancel_external_workflow_execution
        answer = ResolveRequestCancelExternalWorkflow(seq=wanted.seq)
        if not self.cancel(wanted.workflow_execution.workflow_id):
            answer.failure.message = "unable to cancel: no such workflow"
            answer.failure.application_failure_info.SetInParent()
        self._tell(execution, WorkflowActivationJob(resolve_request_cancel_external_workflow=answer))

    def _cancel_activity(self, execution: Execution, seq: int) -> None:
        activity = execution.activities.get(seq)
        if activity is None:
            return
        activity.cancel_requested = True
        if activity.task is None:
            self.resolve_cancelled(activity)

    def _hand_over(self, activity: Activity, worker: ActivityWorker) -> None:
        task = activity.task = ActivityTask(activity, self)
        command = activity.command
        self._later(command.start_to_close_timeout.ToTimedelta(), lambda: self._time_out(task))
        if command.HasField("heartbeat_timeout") and command.heartbeat_timeout.ToTimedelta():
            self._watch(task, command.heartbeat_timeout.ToTimedelta(), task.beats)
        worker.take(task)

    def _watch(self, task: ActivityTask, within: timedelta, beats: int) -> None:
        def look() -> None:
            if not task.is_current:
                return
            if task.beats == beats:
                self._time_out(task)
            else:
                self._watch(task, within, task.beats)

        self._later(within, look)

    def _time_out(self, task: ActivityTask) -> None:
        if task.is_current:
            self.failed(task.activity, "activity timeout", "timeout", None, final=False)

    def failed(self, activity: Activity, message: str, kind: str, delay: timedelta | None, *, final: bool) -> None:
        """An attempt failed: the next one follows after `delay`, or as the retry policy says."""
        activity.task = None
        if activity.cancel_requested:
            self.resolve_cancelled(activity)
            return
        policy = activity.command.retry_policy
        if final or activity.attempt == policy.maximum_attempts:
            cause = Failure(message=message, application_failure_info=ApplicationFailureInfo(type=kind))
            failure = _activity_failure(activity, cause)
            self.resolve(activity, ActivityResolution(failed=FailureResult(failure=failure)))
            return
        first, longest = policy.initial_interval.ToTimedelta(), policy.maximum_interval.ToTimedelta()
        pause = delay or min(longest, first * (policy.backoff_coefficient or 2.0) ** min(activity.attempt - 1, 20))
        activity.attempt += 1
        self._later(pause, lambda: self._again(activity))

    def _again(self, activity: Activity) -> None:
        if activity.execution.activities.get(activity.command.seq) is activity:
            self._ready.append(activity)
            self.dispatch()

    def resolve_cancelled(self, activity: Activity) -> None:
        cause = Failure(message="cancelled", canceled_failure_info=CanceledFailureInfo())
        failure = _activity_failure(activity, cause)
        self.resolve(activity, ActivityResolution(cancelled=Cancellation(failure=failure)))

    def resolve(self, activity: Activity, result: ActivityResolution) -> None:
        """The workflow hears what became of its activity."""
        activity.task = None
        if activity.execution.activities.pop(activity.command.seq, None) is not None:
            resolved = ResolveActivity(seq=activity.command.seq, result=result)
            self._tell(activity.execution, WorkflowActivationJob(resolve_activity=resolved))

    def _close(self, execution: Execution, status: Status.ValueType) -> None:
        if execution.status != RUNNING:
            return
        execution.status = status
        execution.activities.clear()
        if execution.tasks is not None and status not in COMMANDED:
            execution.tasks.evict()
        execution.tasks = None
        self._later(RETENTION, lambda: self._forget(execution))

    def _forget(self, execution: Execution) -> None:
        if self.latest.get(execution.id) is execution:
            del self.latest[execution.id]

    def _later(self, delay: timedelta, do: Callable[[], Any]) -> None:
        asyncio.get_running_loop().call_later(delay.total_seconds(), self._when_running, do)

    def _when_running(self, do: Callable[[], Any]) -> None:
        if self.running:
            do()
        else:
            self._put_off.append(do)


def _activity_failure(activity: Activity, cause: Failure) -> Failure:
    command = activity.command
    info = ActivityFailureInfo(activity_id=command.activity_id)
    info.activity_type.name = command.activity_type
    failure = Failure(message="Activity task failed", activity_failure_info=info)
    failure.cause.CopyFrom(cause)
    return failure
