"""The clock: the Temporal Schedule that belongs to a schedule row, written and read by raw calls.

The SDK's own schedule calls send no conflict token and give up the canonical spec; the raw ones do neither. Errors are
judged by gRPC status, never by text.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from temporalio.api.common.v1 import Payload, SearchAttributes
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.schedule.v1 import Schedule as ScheduleMessage
from temporalio.api.workflowservice.v1 import (
    CreateScheduleRequest,
    DeleteScheduleRequest,
    DescribeScheduleRequest,
    GetSystemInfoRequest,
    ListSchedulesRequest,
    UpdateScheduleRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from services import clock_values
from services.clock_spec import WORKFLOW_TYPE, DesiredClock, arguments, canonical, differences, message
from services.clock_values import ROW_VERSION
from services.live import LiveValues
from services.schedule import clock_id
from services.temporal_calls import AWAY, call
from services.temporal_calls import TemporalAway as TemporalAway

WRITE_TIMEOUT = timedelta(seconds=5)
OPERATOR_AWAY = AWAY - {RPCStatusCode.PERMISSION_DENIED}
"""Many a namespace denies us the operator's calls, which is its answer."""
LIST_LIMIT = 100
"""How many ids one list call asks for."""

T = TypeVar("T")


class ClockRefused(Exception):
    """Temporal will not take this clock, now or later: its message says why."""


class ClockMoved(Exception):
    """Someone else wrote the clock since it was described."""


@dataclass(frozen=True, slots=True)
class Described:
    """A clock as Temporal describes it."""

    message: ScheduleMessage
    told: list[str]
    """What its workflow is told, but for a version; what cannot be read is told in other words."""
    conflict_token: bytes
    version: int | None
    live: LiveValues
    created_at: datetime

    @property
    def form(self) -> str:
        return canonical(self.message, self.told)


class Clock:
    """The clocks of one namespace. `client` should be lazy, so that a process starts though Temporal is away."""

    def __init__(self, client: Client, *, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue
        self._has_row_version: bool | None = None

    async def ping(self, timeout: timedelta) -> None:
        """Raises `TemporalAway` unless Temporal answers within `timeout`."""
        await call(
            lambda: self._client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=timeout),
            timeout,
        )

    async def describe(self, schedule_id: UUID, *, timeout: timedelta = WRITE_TIMEOUT) -> Described | None:
        """The clock as it is now, read strongly; None where there is none. Raises `TemporalAway`."""
        request = DescribeScheduleRequest(namespace=self._client.namespace, schedule_id=clock_id(schedule_id))
        try:
            answer = await call(
                lambda: self._client.workflow_service.describe_schedule(request, timeout=timeout), timeout
            )
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        live = clock_values.of_description(answer, datetime.now(UTC))
        created_at = answer.info.create_time.ToDatetime(tzinfo=UTC)
        said = await self._told(answer.schedule)
        return Described(answer.schedule, said, answer.conflict_token, live.version, live, created_at)

    async def look_up(self, ids: list[UUID], *, timeout: timedelta) -> dict[UUID, LiveValues]:
        """Those of the clocks that visibility knows, which may be a moment behind. Raises `TemporalAway`.

        One call for each hundred ids; a missing one may be there all the same.
        """
        found: dict[UUID, LiveValues] = {}
        for start in range(0, len(ids), LIST_LIMIT):
            found |= await self._listed(ids[start : start + LIST_LIMIT], timeout)
        return found

    async def _listed(self, ids: list[UUID], timeout: timedelta) -> dict[UUID, LiveValues]:
        asked = {clock_id(schedule_id): schedule_id for schedule_id in ids}
        quoted = ",".join(f"'{each}'" for each in asked)
        request = ListSchedulesRequest(
            namespace=self._client.namespace,
            maximum_page_size=LIST_LIMIT,
            query=f"ScheduleId IN ({quoted})",
        )
        answer = await call(lambda: self._client.workflow_service.list_schedules(request, timeout=timeout), timeout)
        now = datetime.now(UTC)
        return {
            asked[entry.schedule_id]: clock_values.of_entry(entry, now)
            for entry in answer.schedules
            if entry.schedule_id in asked
        }

    async def create(self, desired: DesiredClock, request_id: str) -> None:
        """Raises `TemporalAway`, `ClockRefused`, and `ClockMoved` where there is one by that id already."""
        request = CreateScheduleRequest(
            namespace=self._client.namespace,
            schedule_id=clock_id(desired.schedule_id),
            schedule=await self._message(desired),
            identity=self._client.identity,
            request_id=request_id,
            search_attributes=await self._attributes(desired.version),
        )
        await self._written(
            lambda: self._client.workflow_service.create_schedule(request, timeout=WRITE_TIMEOUT),
            moved={RPCStatusCode.ALREADY_EXISTS, RPCStatusCode.FAILED_PRECONDITION},
        )

    async def update(self, desired: DesiredClock, conflict_token: bytes, request_id: str) -> None:
        """Replace the whole clock, unless someone else wrote it since the token was read.

        Raises `TemporalAway`, `ClockRefused` and `ClockMoved`. An answer is no proof on the V1 scheduler: read back.
        """
        request = UpdateScheduleRequest(
            namespace=self._client.namespace,
            schedule_id=clock_id(desired.schedule_id),
            schedule=await self._message(desired),
            conflict_token=conflict_token,
            identity=self._client.identity,
            request_id=request_id,
            search_attributes=await self._attributes(desired.version),
        )
        await self._written(
            lambda: self._client.workflow_service.update_schedule(request, timeout=WRITE_TIMEOUT),
            moved={RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.NOT_FOUND},
        )

    async def delete(self, schedule_id: UUID) -> None:
        """Remove the clock; one that is not there is removed. Raises `TemporalAway`."""
        request = DeleteScheduleRequest(
            namespace=self._client.namespace,
            schedule_id=clock_id(schedule_id),
            identity=self._client.identity,
        )
        try:
            await call(
                lambda: self._client.workflow_service.delete_schedule(request, timeout=WRITE_TIMEOUT),
                WRITE_TIMEOUT,
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def desired_form(self, desired: DesiredClock) -> str:
        """The canonical form that a clock of this row has once it is written."""
        return canonical(await self._message(desired), arguments(desired))

    async def differences(self, desired: DesiredClock, described: Described) -> list[str]:
        """What about the clock is not as its row wants it, in words."""
        return differences(described.message, described.told, await self._message(desired), arguments(desired))

    def owns(self, schedule_id: UUID, described: Described) -> bool:
        """Whether this installation made the clock: it starts our workflow, in the queue that our workers poll."""
        action = described.message.action.start_workflow
        ours = (clock_id(schedule_id), WORKFLOW_TYPE, self._task_queue)
        return (action.workflow_id, action.workflow_type.name, action.task_queue.name) == ours

    async def prepare(self) -> bool:
        """Register the search attribute where the namespace lets us, once a process. Raises `TemporalAway`.

        False where it cannot be had: the version then travels in the action's arguments, and only describe shows it.
        """
        if self._has_row_version is None:
            self._has_row_version = await _register(self._client)
        return self._has_row_version

    async def _message(self, desired: DesiredClock) -> ScheduleMessage:
        args: list[Any] = [*arguments(desired)]
        if not await self.prepare():
            args.append(desired.version)
        payloads = await self._client.data_converter.encode(args)
        return message(desired, self._task_queue, payloads)

    async def _told(self, schedule: ScheduleMessage) -> list[str]:
        """A key that is not ours, or text that is no JSON, can only be another's."""
        payloads = list(schedule.action.start_workflow.input.payloads)
        try:
            args = await self._client.data_converter.decode(payloads)
        except Exception:
            return ["what cannot be read"]
        return [str(each).encode("utf-8", "backslashreplace").decode() for each in args if not isinstance(each, int)]

    async def _attributes(self, version: int) -> SearchAttributes | None:
        if not await self.prepare():
            return None
        payload = Payload(metadata={"encoding": b"json/plain", "type": b"Int"}, data=str(version).encode())
        return SearchAttributes(indexed_fields={ROW_VERSION: payload})

    async def _written(self, write: Callable[[], Awaitable[T]], *, moved: set[RPCStatusCode]) -> T:
        try:
            return await call(write, WRITE_TIMEOUT)
        except RPCError as error:
            if error.status in moved:
                raise ClockMoved(error.message) from error
            if ROW_VERSION in error.message or (self._has_row_version and not await _knows_row_version(self._client)):
                # A server that came back empty: the next try registers the attribute anew. Where another has done so
                # since this was refused, the server knows it by now, and all the same this is no refusal.
                self._has_row_version = None
                raise TemporalAway("the search attribute is gone", timed_out=False) from error
            raise ClockRefused(error.message) from error


async def _register(client: Client) -> bool:
    wanted = AddSearchAttributesRequest(
        namespace=client.namespace,
        search_attributes={ROW_VERSION: IndexedValueType.INDEXED_VALUE_TYPE_INT},
    )
    try:
        await call(
            lambda: client.operator_service.add_search_attributes(wanted, timeout=WRITE_TIMEOUT),
            WRITE_TIMEOUT,
            away=OPERATOR_AWAY,
        )
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:
            return True
    return await _knows_row_version(client)


async def _knows_row_version(client: Client) -> bool:
    listed = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        answer = await call(
            lambda: client.operator_service.list_search_attributes(listed, timeout=WRITE_TIMEOUT),
            WRITE_TIMEOUT,
            away=OPERATOR_AWAY,
        )
    except RPCError:
        return False
    return answer.custom_attributes.get(ROW_VERSION) == IndexedValueType.INDEXED_VALUE_TYPE_INT
