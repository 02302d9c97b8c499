"""The inputs of the mutations on runs that have ended."""

import strawberry

from schema.schedule_inputs import ABSENT, KEY
from services.run import Resolution

NOTE = "Why: at most 1,000 characters, kept with the intervention."


@strawberry.input(description="Which run is to go on.")
class RetryRunInput:
    id: strawberry.ID = strawberry.field(description="The run: FAILED, UNKNOWN, CANCELLED or MISSED.")
    note: str | None = strawberry.field(default=ABSENT, description=NOTE)
    idempotency_key: str | None = strawberry.field(default=ABSENT, description=KEY)


@strawberry.input(description="What became of a run of which nobody could know it.")
class ResolveRunInput:
    id: strawberry.ID = strawberry.field(description="The run: UNKNOWN.")
    outcome: Resolution = strawberry.field(description="Whether the agent got it.")
    note: str | None = strawberry.field(default=ABSENT, description=NOTE)
