"""What a cadence would do."""

from datetime import datetime
from typing import Annotated

import strawberry

from resolvers import previews
from schema.errors import InvalidInput


@strawberry.type(description="One time at which a cadence would be due.")
class PreviewFire:
    at: datetime = strawberry.field(description="The instant.")
    local_time: str = strawberry.field(
        description="The same by the wall clock of the cadence's zone, with its offset; UTC for an interval."
    )
    note: str | None = strawberry.field(
        description="What a clock change does to it, such as a wall time that comes twice; null for nothing."
    )


@strawberry.type(
    description="What a cadence would do, worked out by the server; neither Postgres nor Temporal is asked."
)
class CadencePreview:
    description: str = strawberry.field(description='In plain words: "At 17:00, Monday through Friday".')
    fires: list[PreviewFire] = strawberry.field(description="The times to come, in order; empty where there are none.")
    warnings: list[str] = strawberry.field(
        description="What one might not expect: no time to come, or wall times that the clocks skip within a year."
    )

    @classmethod
    def of(cls, value: previews.Preview) -> "CadencePreview":
        fires = [PreviewFire(at=each.at, local_time=each.local_time, note=each.note) for each in value.fires]
        return cls(description=value.description, fires=fires, warnings=[*value.warnings])


CadencePreviewResult = Annotated[
    CadencePreview | InvalidInput,
    strawberry.union("CadencePreviewResult", description="What previewCadence answers."),
]
