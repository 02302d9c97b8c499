"""All clocks of the namespace, page by page: what a full sweep compares with the rows.

A list comes from visibility, which may be a moment behind: what it says is a suspicion, and describe confirms it.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from temporalio.api.schedule.v1 import ScheduleListEntry
from temporalio.api.workflowservice.v1 import ListSchedulesRequest, ListSchedulesResponse
from temporalio.client import Client

from services.clock_spec import listed_form
from services.clock_values import row_version
from services.schedule import CLOCK_PREFIX, clock_id
from services.temporal_calls import TemporalAway, call

PAGE = 1_000
"""The most that Temporal takes."""
TIMEOUT = timedelta(seconds=10)
PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try of a page: a default cluster admits 10 list calls a second to a namespace."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A clock as a list shows it."""

    version: int | None
    form: str


class ClockList:
    def __init__(self, client: Client, *, page: int = PAGE) -> None:
        self._client = client
        self._page = page

    async def all(self) -> dict[UUID, Entry]:
        """Every clock that has an id of our form, whoever made it. Raises `TemporalAway`."""
        return {
            schedule_id: Entry(row_version(entry.search_attributes), listed_form(entry.info.spec, entry.info.paused))
            async for entry in self._entries()
            if (schedule_id := _schedule_id(entry)) is not None
        }

    async def _entries(self) -> AsyncIterator[ScheduleListEntry]:
        token, more = b"", True
        while more:
            answer = await self._patiently(token)
            for entry in answer.schedules:
                yield entry
            token = answer.next_page_token
            more = bool(token)

    async def _patiently(self, token: bytes) -> ListSchedulesResponse:
        request = ListSchedulesRequest(
            namespace=self._client.namespace,
            maximum_page_size=self._page,
            next_page_token=token,
            query=f"ScheduleId STARTS_WITH '{CLOCK_PREFIX}'",
        )
        for pause in PAUSES:
            try:
                return await self._call(request)
            except TemporalAway as error:
                if error.timed_out:
                    # It is mute rather than busy: to wait as long again and again would tell nobody for a minute.
                    raise
                await asyncio.sleep(pause)
        return await self._call(request)

    async def _call(self, request: ListSchedulesRequest) -> ListSchedulesResponse:
        return await call(lambda: self._client.workflow_service.list_schedules(request, timeout=TIMEOUT), TIMEOUT)


def _schedule_id(entry: ScheduleListEntry) -> UUID | None:
    """None also for an id that only reads as one of ours: its entry would be taken for that of our clock."""
    try:
        found = UUID(entry.schedule_id.removeprefix(CLOCK_PREFIX))
    except ValueError:
        return None
    return found if clock_id(found) == entry.schedule_id else None
