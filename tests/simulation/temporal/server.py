"""The simulated server: which call does what, and what it refuses, by gRPC status."""

import asyncio
import random
import re
from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial
from typing import Any
from zoneinfo import available_timezones

from google.protobuf.message import Message
from temporalio.api.common.v1 import SearchAttributes
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    AddSearchAttributesResponse,
    ListSearchAttributesRequest,
    ListSearchAttributesResponse,
)
from temporalio.api.schedule.v1 import Schedule
from temporalio.api.workflowservice.v1 import (
    CreateScheduleRequest,
    CreateScheduleResponse,
    DeleteScheduleRequest,
    DeleteScheduleResponse,
    DescribeScheduleRequest,
    DescribeScheduleResponse,
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    GetSystemInfoResponse,
    ListSchedulesRequest,
    ListSchedulesResponse,
    RequestCancelWorkflowExecutionRequest,
    RequestCancelWorkflowExecutionResponse,
    StartWorkflowExecutionRequest,
    StartWorkflowExecutionResponse,
    TerminateWorkflowExecutionRequest,
    TerminateWorkflowExecutionResponse,
    UpdateScheduleRequest,
    UpdateScheduleResponse,
)
from temporalio.service import RPCStatusCode

from tests.simulation.temporal.executions import Executions
from tests.simulation.temporal.network import Refusal
from tests.simulation.temporal.schedules import Engine, Entry, Schedules, described

SIGNAL_DELAY = timedelta(milliseconds=15)
"""After which the V1 scheduler takes a write that it has already said OK to."""
CATCH_UP_DELAY = (2.0, 6.0)
"""Seconds after a start in which missed fires are brought."""
LONGEST_NAME = 1_000
STARTS_WITH = re.compile(r"ScheduleId STARTS_WITH '([^']*)'")
ONE_OF = re.compile(r"ScheduleId IN \((.+)\)")


class SimulatedTemporal:
    """One server with one namespace. It needs a running event loop, whose time is its own."""

    def __init__(self, engine: Engine, rng: random.Random) -> None:
        self.executions = Executions(rng)
        self.schedules = Schedules(engine, rng, self.executions.start_scheduled)
        self.unknown_zones: frozenset[str] = frozenset()
        """Time zones that this server's tables lack."""
        self.has_namespace = True
        self.signal_delay = SIGNAL_DELAY
        self._rng = rng
        self._attributes: dict[str, IndexedValueType.ValueType] = {}
        self._handlers: dict[str, Callable[[Any], Message]] = {
            "get_system_info": lambda _: GetSystemInfoResponse(),
            "add_search_attributes": self._add_search_attributes,
            "list_search_attributes": self._list_search_attributes,
            "create_schedule": self._create_schedule,
            "update_schedule": self._update_schedule,
            "delete_schedule": self._delete_schedule,
            "describe_schedule": self._describe_schedule,
            "list_schedules": self._list_schedules,
            "start_workflow_execution": self._start_workflow,
            "describe_workflow_execution": self._describe_workflow,
            "terminate_workflow_execution": self._terminate_workflow,
            "request_cancel_workflow_execution": self._cancel_workflow,
        }

    def handle(self, rpc: str, request: Any) -> Message:
        """Answer one call. Raises `Refusal`."""
        if rpc not in self._handlers:
            raise Refusal(RPCStatusCode.UNIMPLEMENTED, f"The simulated server does not know {rpc}.")
        if not self.schedules.running:
            raise Refusal(RPCStatusCode.UNAVAILABLE, "The server is down.")
        if not self.has_namespace and rpc != "get_system_info":
            detail = NamespaceNotFoundFailure(namespace=request.namespace)
            raise Refusal(RPCStatusCode.NOT_FOUND, "Namespace is not found.", detail)
        return self._handlers[rpc](request)

    def stop(self) -> None:
        """As after kill -9: what was written is kept, and nothing happens until `start`."""
        self.schedules.stop()
        self.executions.stop()

    def start(self) -> None:
        self.schedules.running = True
        self.executions.resume()
        for entry in [*self.schedules.entries.values()]:
            delay = self._rng.uniform(*CATCH_UP_DELAY)
            asyncio.get_running_loop().call_later(delay, self.schedules.resume, entry)

    def wipe(self) -> None:
        """It comes back empty, as a server without a database does."""
        self._attributes.clear()
        self.schedules.clear()
        self.executions.clear()

    def _add_search_attributes(self, request: AddSearchAttributesRequest) -> AddSearchAttributesResponse:
        if known := self._attributes.keys() & request.search_attributes.keys():
            raise Refusal(RPCStatusCode.ALREADY_EXISTS, f"Search attribute {min(known)} already exists.")
        self._attributes.update(request.search_attributes)
        return AddSearchAttributesResponse()

    def _list_search_attributes(self, request: ListSearchAttributesRequest) -> ListSearchAttributesResponse:
        return ListSearchAttributesResponse(custom_attributes=self._attributes)

    def _create_schedule(self, request: CreateScheduleRequest) -> CreateScheduleResponse:
        known = self.schedules.entries.get(request.schedule_id)
        if known is not None and known.request_id == request.request_id:
            return CreateScheduleResponse(conflict_token=known.conflict_token)
        if known is not None:
            raise Refusal(RPCStatusCode.ALREADY_EXISTS, f'Schedule "{request.schedule_id}" is already registered.')
        self._check(request.schedule, request.search_attributes)
        made = self.schedules.put(request.schedule_id, request.schedule, request.search_attributes, request.request_id)
        return CreateScheduleResponse(conflict_token=made.conflict_token)

    def _update_schedule(self, request: UpdateScheduleRequest) -> UpdateScheduleResponse:
        entry = self._entry(request.schedule_id)
        self._check(request.schedule, request.search_attributes)
        attributes = request.search_attributes if request.HasField("search_attributes") else None
        token = request.conflict_token

        if self.schedules.engine is Engine.V1:
            write = partial(self._write_later, entry, token, request.schedule, attributes)
            asyncio.get_running_loop().call_later(self.signal_delay.total_seconds(), write)
        elif not self._is_current(entry, token):
            raise Refusal(RPCStatusCode.FAILED_PRECONDITION, "The conflict token does not match.")
        else:
            self.schedules.replace(entry, request.schedule, attributes)
        return UpdateScheduleResponse()

    def _write_later(self, entry: Entry, token: bytes, schedule: Schedule, attributes: SearchAttributes | None) -> None:
        """The V1 scheduler finds out only now whether the token is stale, and tells nobody."""
        if self._is_current(entry, token):
            self.schedules.replace(entry, schedule, attributes)

    def _is_current(self, entry: Entry, token: bytes) -> bool:
        there = self.schedules.entries.get(entry.id) is entry
        return there and self.schedules.running and token in (b"", entry.conflict_token)

    def _delete_schedule(self, request: DeleteScheduleRequest) -> DeleteScheduleResponse:
        self.schedules.remove(self._entry(request.schedule_id).id)
        return DeleteScheduleResponse()

    def _describe_schedule(self, request: DescribeScheduleRequest) -> DescribeScheduleResponse:
        entry = self._entry(request.schedule_id)
        return DescribeScheduleResponse(
            schedule=entry.message,
            info=described(entry),
            search_attributes=entry.attributes,
            conflict_token=entry.conflict_token,
        )

    def _list_schedules(self, request: ListSchedulesRequest) -> ListSchedulesResponse:
        wanted = sorted(filter(_filter(request.query), self.schedules.visible))
        first = int(request.next_page_token or b"0")
        last = first + (request.maximum_page_size or 1_000)
        return ListSchedulesResponse(
            schedules=[self.schedules.visible[schedule_id] for schedule_id in wanted[first:last]],
            next_page_token=str(last).encode() if last < len(wanted) else b"",
        )

    def _entry(self, schedule_id: str) -> Entry:
        entry = self.schedules.entries.get(schedule_id)
        if entry is None:
            raise Refusal(RPCStatusCode.NOT_FOUND, "schedule not found")
        return entry

    def _check(self, schedule: Schedule, attributes: SearchAttributes) -> None:
        if unknown := attributes.indexed_fields.keys() - self._attributes.keys():
            raise Refusal(RPCStatusCode.INVALID_ARGUMENT, f"Search attribute {min(unknown)} is not defined.")
        zone = schedule.spec.timezone_name or "UTC"
        if zone in self.unknown_zones or zone not in _zones():
            raise Refusal(RPCStatusCode.INVALID_ARGUMENT, "Invalid schedule spec: unknown time zone.")
        if len(schedule.action.start_workflow.task_queue.name) > LONGEST_NAME:
            raise Refusal(RPCStatusCode.INVALID_ARGUMENT, "taskQueue length exceeds limit.")

    def _start_workflow(self, request: StartWorkflowExecutionRequest) -> StartWorkflowExecutionResponse:
        run_id, started = self.executions.start(request)
        return StartWorkflowExecutionResponse(run_id=run_id, first_execution_run_id=run_id, started=started)

    def _describe_workflow(self, request: DescribeWorkflowExecutionRequest) -> DescribeWorkflowExecutionResponse:
        return self.executions.describe(request.execution.workflow_id)

    def _terminate_workflow(self, request: TerminateWorkflowExecutionRequest) -> TerminateWorkflowExecutionResponse:
        if not self.executions.terminate(request.workflow_execution.workflow_id):
            raise Refusal(RPCStatusCode.NOT_FOUND, "workflow execution already completed")
        return TerminateWorkflowExecutionResponse()

    def _cancel_workflow(
        self, request: RequestCancelWorkflowExecutionRequest
    ) -> RequestCancelWorkflowExecutionResponse:
        if not self.executions.cancel(request.workflow_execution.workflow_id):
            raise Refusal(RPCStatusCode.NOT_FOUND, "workflow execution already completed")
        return RequestCancelWorkflowExecutionResponse()


@cache
def _zones() -> frozenset[str]:
    """Read once: that takes longer than most simulations of a step."""
    return frozenset(available_timezones())


def _filter(query: str) -> Callable[[str], bool]:
    if found := STARTS_WITH.fullmatch(query):
        prefix = found[1]
        return lambda schedule_id: schedule_id.startswith(prefix)
    if found := ONE_OF.fullmatch(query):
        ids = {each.strip().strip("'") for each in found[1].split(",")}
        return ids.__contains__
    raise Refusal(RPCStatusCode.INVALID_ARGUMENT, f"The simulated server does not know this query: {query}")
