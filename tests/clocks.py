"""The real clock, watched."""

from datetime import timedelta
from uuid import UUID

from services.clock import WRITE_TIMEOUT, Clock, Described
from services.live import LiveValues


class CountingClock(Clock):
    """The real clock, which counts its calls; `lists` holds how many ids each list call asked for."""

    def __init__(self, real: Clock) -> None:
        super().__init__(real._client, task_queue=real._task_queue)
        self.lists: list[int] = []
        self.describes = 0

    async def look_up(self, ids: list[UUID], *, timeout: timedelta) -> dict[UUID, LiveValues]:
        self.lists.append(len(ids))
        return await super().look_up(ids, timeout=timeout)

    async def describe(self, schedule_id: UUID, *, timeout: timedelta = WRITE_TIMEOUT) -> Described | None:
        self.describes += 1
        return await super().describe(schedule_id, timeout=timeout)
