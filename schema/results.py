"""What the mutations answer: the success, or one of the failures that a caller must expect."""

from typing import Annotated

import strawberry

from schema.errors import (
    AgentVersionConflict,
    ClockUnavailable,
    Forbidden,
    IdempotencyKeyReused,
    InvalidInput,
    NameTaken,
    NotFound,
    VersionConflict,
)
from schema.graph import Agent, Run, Schedule
from schema.values import FieldChange


@strawberry.type(description="The agent is registered.")
class AgentRegistered:
    agent: Agent = strawberry.field(description="The new agent.")


@strawberry.type(description="The agent has what was asked for; its version grew if anything differed.")
class AgentUpdated:
    agent: Agent = strawberry.field(description="The agent as it is now.")


@strawberry.type(description="The agent is deleted: its name is free, and fires of its schedules are skipped.")
class AgentDeleted:
    agent: Agent = strawberry.field(description="The agent, which stays readable.")


@strawberry.type(description="The run is written down, and its workflow is started or will be shortly.")
class AgentRunStarted:
    run: Run = strawberry.field(description="The run, to be followed with fireStatus.")


@strawberry.type(description="The schedule is saved.")
class ScheduleCreated:
    schedule: Schedule = strawberry.field(description="The new schedule; clock.status says whether its clock runs yet.")


@strawberry.type(description="The schedule has what was asked for; its version grew if anything differed.")
class ScheduleUpdated:
    schedule: Schedule = strawberry.field(description="The schedule as it is now.")
    changed: list[FieldChange] = strawberry.field(description="Each field that differs from before; may be empty.")


@strawberry.type(description="The schedule is paused: no scheduled run of it is claimed any more.")
class SchedulePaused:
    schedule: Schedule = strawberry.field(description="The schedule as it is now.")


@strawberry.type(description="The schedule is not paused any more.")
class ScheduleResumed:
    schedule: Schedule = strawberry.field(description="The schedule as it is now.")


@strawberry.type(description="The schedule is deleted: its name is free, and its clock is removed.")
class ScheduleDeleted:
    schedule: Schedule = strawberry.field(description="The schedule, which stays readable.")


@strawberry.type(description="The run is written down, and its workflow is started or will be shortly.")
class ScheduleTriggered:
    schedule: Schedule = strawberry.field(description="The schedule as it is now.")
    run: Run = strawberry.field(description="The run, to be followed with fireStatus.")


RegisterAgentResult = Annotated[
    AgentRegistered | InvalidInput | NameTaken | Forbidden,
    strawberry.union("RegisterAgentResult", description="What registerAgent answers."),
]
UpdateAgentResult = Annotated[
    AgentUpdated | InvalidInput | NotFound | Forbidden | NameTaken | AgentVersionConflict,
    strawberry.union("UpdateAgentResult", description="What updateAgent answers."),
]
DeleteAgentResult = Annotated[
    AgentDeleted | NotFound | Forbidden | AgentVersionConflict,
    strawberry.union("DeleteAgentResult", description="What deleteAgent answers."),
]
RunAgentResult = Annotated[
    AgentRunStarted | InvalidInput | NotFound | Forbidden | IdempotencyKeyReused,
    strawberry.union("RunAgentResult", description="What runAgent answers."),
]
CreateScheduleResult = Annotated[
    ScheduleCreated | InvalidInput | NotFound | Forbidden | NameTaken | IdempotencyKeyReused,
    strawberry.union("CreateScheduleResult", description="What createSchedule answers."),
]
UpdateScheduleResult = Annotated[
    ScheduleUpdated | InvalidInput | NotFound | Forbidden | NameTaken | VersionConflict,
    strawberry.union("UpdateScheduleResult", description="What updateSchedule answers."),
]
PauseScheduleResult = Annotated[
    SchedulePaused | InvalidInput | NotFound | Forbidden | VersionConflict,
    strawberry.union("PauseScheduleResult", description="What pauseSchedule answers."),
]
ResumeScheduleResult = Annotated[
    ScheduleResumed | InvalidInput | NotFound | Forbidden | VersionConflict,
    strawberry.union("ResumeScheduleResult", description="What resumeSchedule answers."),
]
DeleteScheduleResult = Annotated[
    ScheduleDeleted | InvalidInput | NotFound | Forbidden | VersionConflict,
    strawberry.union("DeleteScheduleResult", description="What deleteSchedule answers."),
]
TriggerScheduleResult = Annotated[
    ScheduleTriggered | InvalidInput | NotFound | Forbidden | IdempotencyKeyReused | ClockUnavailable,
    strawberry.union("TriggerScheduleResult", description="What triggerSchedule answers."),
]
