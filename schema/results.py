"""What the mutations answer: the success, or one of the failures that a caller must expect."""

from datetime import datetime
from typing import Annotated

import strawberry

from schema.errors import (
    AgentVersionConflict,
    ClockUnavailable,
    FireNotFound,
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


@strawberry.type(description="The fire will not run: the claim records it as SKIPPED, SKIP_REQUESTED.")
class FireSkipped:
    schedule: Schedule = strawberry.field(description="The schedule as it is now.")
    fire_at: datetime = strawberry.field(description="The fire that is skipped.")


@strawberry.type(description="The fire will run.")
class FireUnskipped:
    schedule: Schedule = strawberry.field(description="The schedule as it is now.")
    fire_at: datetime = strawberry.field(description="The fire that is not skipped.")


@strawberry.type(description="What the backfill would run; nothing was done.")
class BackfillPlanned:
    schedule: Schedule = strawberry.field(description="The schedule as it is now.")
    fires: list[datetime] = strawberry.field(description="The due times that have no run, or whose run was MISSED.")


@strawberry.type(description="The runs are written down, and their workflows are started or will be shortly.")
class BackfillStarted:
    schedule: Schedule = strawberry.field(description="The schedule as it is now.")
    fires: list[datetime] = strawberry.field(description="The due times that are run; each other had its run already.")


@strawberry.type(description="The run goes on, or was under way already.")
class RunRetried:
    run: Run = strawberry.field(description="The run, to be followed with fireStatus.")


@strawberry.type(description="The run has the end that a person gave it.")
class RunResolved:
    run: Run = strawberry.field(description="The run as it is now.")


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
SkipFireResult = Annotated[
    FireSkipped | InvalidInput | NotFound | Forbidden | FireNotFound,
    strawberry.union("SkipFireResult", description="What skipFire answers."),
]
UnskipFireResult = Annotated[
    FireUnskipped | InvalidInput | NotFound | Forbidden | FireNotFound,
    strawberry.union("UnskipFireResult", description="What unskipFire answers."),
]
BackfillScheduleResult = Annotated[
    BackfillPlanned | BackfillStarted | InvalidInput | NotFound | Forbidden | IdempotencyKeyReused | ClockUnavailable,
    strawberry.union("BackfillScheduleResult", description="What backfillSchedule answers."),
]
RetryRunResult = Annotated[
    RunRetried | InvalidInput | NotFound | Forbidden | IdempotencyKeyReused | ClockUnavailable,
    strawberry.union("RetryRunResult", description="What retryRun answers."),
]
ResolveRunResult = Annotated[
    RunResolved | InvalidInput | NotFound | Forbidden,
    strawberry.union("ResolveRunResult", description="What resolveRun answers."),
]
