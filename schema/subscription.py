"""The subscriptions: batches of events, each event with the cursor to go on from."""

from collections.abc import AsyncIterable
from datetime import datetime
from typing import Annotated

import strawberry

from resolvers import feed
from schema.fields import subscription
from schema.filters import RunFilter, ScheduleFilter, run_filter, schedule_filter
from schema.graph import FireStatusEvent, Info, Schedule
from schema.pages import given
from schema.values import ScheduleChange

ABSENT = strawberry.UNSET

AfterEvent = Annotated[
    str | None,
    strawberry.argument(
        description="The cursor of the last event that was seen, or an eventCursor: every event since comes first, "
        "once and in order. Without it: from now on."
    ),
]


@strawberry.type(description="A schedule was changed. Read from the event log in Postgres.")
class ScheduleChangedEvent:
    cursor: str = strawberry.field(
        description="The place of the event in the log: pass it as `after` to go on behind it."
    )
    at: datetime = strawberry.field(description="When it was written.")
    change: ScheduleChange = strawberry.field(description="The change.")
    schedule: Schedule = strawberry.field(
        description="The schedule as it is when the event is sent, which may be further on."
    )

    @classmethod
    def of(cls, event: feed.ChangeEvent) -> "ScheduleChangedEvent":
        return cls(
            cursor=event.cursor,
            at=event.at,
            change=ScheduleChange.of(event.revision),
            schedule=Schedule.of(event.schedule),
        )


@strawberry.type(
    description="Events as they are committed, in batches of 1 to 100: each once and in order. A client that "
    "reconnects with the last cursor it saw misses none."
)
class Subscription:
    @subscription("What happens to runs. A cursor that the log no longer reaches is a top-level error, CURSOR_EXPIRED.")
    async def fire_status(
        self,
        info: Info,
        filter: Annotated[RunFilter | None, strawberry.argument(description="Which runs; all if absent.")] = ABSENT,
        after: AfterEvent = ABSENT,
    ) -> AsyncIterable[list[FireStatusEvent]]:
        source = await feed.fires(info.context, run_filter(filter), given(after))
        return source.mapped(FireStatusEvent.of)

    @subscription(
        "What happens to schedules, deletions too. The filter is for the schedule as it is when the event is sent. "
        "A cursor that the log no longer reaches is a top-level error, CURSOR_EXPIRED."
    )
    async def schedule_changed(
        self,
        info: Info,
        filter: Annotated[
            ScheduleFilter | None,
            strawberry.argument(description="Which schedules; all if absent. includeDeleted says nothing here."),
        ] = ABSENT,
        after: AfterEvent = ABSENT,
    ) -> AsyncIterable[list[ScheduleChangedEvent]]:
        source = await feed.changes(info.context, schedule_filter(filter), given(after))
        return source.mapped(ScheduleChangedEvent.of)
