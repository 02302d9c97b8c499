"""The mutations. Each takes one `input`, and answers its own union; errors become members by `schema.errors`."""

from typing import Annotated

import strawberry

from resolvers import agents, runs, schedules
from resolvers.ids import Kind, key_of
from schema.agent_inputs import (
    DeleteAgentInput,
    RegisterAgentInput,
    RunAgentInput,
    UpdateAgentInput,
    agent_changes,
    initial_input,
)
from schema.fields import resolved
from schema.graph import Agent, Info, Run, Schedule
from schema.pages import given
from schema.reading import Reader
from schema.results import (
    AgentDeleted,
    AgentRegistered,
    AgentRunStarted,
    AgentUpdated,
    BackfillPlanned,
    BackfillScheduleResult,
    BackfillStarted,
    CreateScheduleResult,
    DeleteAgentResult,
    DeleteScheduleResult,
    FireSkipped,
    FireUnskipped,
    PauseScheduleResult,
    RegisterAgentResult,
    ResolveRunResult,
    ResumeScheduleResult,
    RetryRunResult,
    RunAgentResult,
    RunResolved,
    RunRetried,
    ScheduleCreated,
    ScheduleDeleted,
    SchedulePaused,
    ScheduleResumed,
    ScheduleTriggered,
    ScheduleUpdated,
    SkipFireResult,
    TriggerScheduleResult,
    UnskipFireResult,
    UpdateAgentResult,
    UpdateScheduleResult,
)
from schema.run_inputs import ResolveRunInput, RetryRunInput
from schema.schedule_inputs import (
    BackfillScheduleInput,
    CreateScheduleInput,
    ScheduleActionInput,
    SkipFireInput,
    TriggerScheduleInput,
    UpdateScheduleInput,
    definition,
    schedule_changes,
)
from schema.values import FieldChange
from services.backfills import Span
from services.manual_runs import AgentRunRequest
from services.schedule import OnUnknown

_INPUT = strawberry.argument(description="All that the mutation takes.")


@strawberry.type(
    description="Changes. When one returns, it is durable in Postgres, though Temporal may be down: a schedule's clock "
    "follows at once or as soon as Temporal is there, and clock.status says so."
)
class Mutation:
    @resolved("Register an agent, so that schedules can run it.")
    async def register_agent(self, info: Info, input: Annotated[RegisterAgentInput, _INPUT]) -> RegisterAgentResult:
        agent = await agents.register(
            info.context,
            name=input.name,
            description=given(input.description),
            protocol=input.protocol,
            url=input.url,
            api_key=given(input.api_key),
        )
        return AgentRegistered(agent=Agent.of(agent))

    @resolved("Change an agent. Runs that have begun keep what they began with.")
    async def update_agent(self, info: Info, input: Annotated[UpdateAgentInput, _INPUT]) -> UpdateAgentResult:
        reader = Reader()
        agent = await agents.update(
            info.context,
            key_of(Kind.AGENT, input.id),
            agent_changes(reader, input),
            expected_version=input.expected_version,
            issues=reader.issues,
        )
        return AgentUpdated(agent=Agent.of(agent))

    @resolved("Delete an agent. It stays readable; fires of its schedules are recorded as SKIPPED, AGENT_DELETED.")
    async def delete_agent(self, info: Info, input: Annotated[DeleteAgentInput, _INPUT]) -> DeleteAgentResult:
        agent = await agents.delete(
            info.context, key_of(Kind.AGENT, input.id), expected_version=given(input.expected_version)
        )
        return AgentDeleted(agent=Agent.of(agent))

    @resolved("A manual run without a schedule, over the very path that a fire takes.", schedules=True)
    async def run_agent(self, info: Info, input: Annotated[RunAgentInput, _INPUT]) -> RunAgentResult:
        reader = Reader()
        request = AgentRunRequest(
            agent_id=key_of(Kind.AGENT, input.agent_id),
            input=initial_input(input.initial_input),
            params=reader.scalar(given(input.task_params), "input", "taskParams"),
            metadata=reader.scalar(given(input.task_metadata), "input", "taskMetadata"),
            on_unknown=input.on_unknown or OnUnknown.RETRY,
            idempotency_key=given(input.idempotency_key),
        )
        return AgentRunStarted(run=Run.of(await runs.run_agent(info.context, request, reader.issues)))

    @resolved("Create a schedule. It fires from its next time on.", schedules=True)
    async def create_schedule(self, info: Info, input: Annotated[CreateScheduleInput, _INPUT]) -> CreateScheduleResult:
        reader = Reader()
        wanted = definition(reader, input)
        schedule = await schedules.create(
            info.context,
            key_of(Kind.AGENT, input.agent_id),
            wanted,
            idempotency_key=given(input.idempotency_key),
            issues=reader.issues,
        )
        return ScheduleCreated(schedule=Schedule.of(schedule))

    @resolved(
        "Change the fields that are present. What does not differ is no change and makes no version.", schedules=True
    )
    async def update_schedule(self, info: Info, input: Annotated[UpdateScheduleInput, _INPUT]) -> UpdateScheduleResult:
        reader = Reader()
        wanted = schedule_changes(reader, input)
        schedule, changed = await schedules.update(
            info.context,
            key_of(Kind.SCHEDULE, input.id),
            wanted,
            expected_version=input.expected_version,
            note=given(input.note),
            issues=reader.issues,
        )
        return ScheduleUpdated(schedule=Schedule.of(schedule), changed=[FieldChange.of(each) for each in changed])

    @resolved(
        "Pause a schedule: no scheduled run is claimed after this returns. A paused one stays as it is.", schedules=True
    )
    async def pause_schedule(self, info: Info, input: Annotated[ScheduleActionInput, _INPUT]) -> PauseScheduleResult:
        schedule = await schedules.pause(
            info.context,
            key_of(Kind.SCHEDULE, input.id),
            expected_version=given(input.expected_version),
            note=given(input.note),
        )
        return SchedulePaused(schedule=Schedule.of(schedule))

    @resolved("Resume a schedule; its count of failures in a row begins anew.", schedules=True)
    async def resume_schedule(self, info: Info, input: Annotated[ScheduleActionInput, _INPUT]) -> ResumeScheduleResult:
        schedule = await schedules.resume(
            info.context,
            key_of(Kind.SCHEDULE, input.id),
            expected_version=given(input.expected_version),
            note=given(input.note),
        )
        return ScheduleResumed(schedule=Schedule.of(schedule))

    @resolved("Delete a schedule: it stays readable by its id, its name is free, its clock is removed.", schedules=True)
    async def delete_schedule(self, info: Info, input: Annotated[ScheduleActionInput, _INPUT]) -> DeleteScheduleResult:
        schedule = await schedules.delete(
            info.context,
            key_of(Kind.SCHEDULE, input.id),
            expected_version=given(input.expected_version),
            note=given(input.note),
        )
        return ScheduleDeleted(schedule=Schedule.of(schedule))

    @resolved("Run a schedule now, as it is defined now, paused or not. Its times stay as they are.", schedules=True)
    async def trigger_schedule(
        self, info: Info, input: Annotated[TriggerScheduleInput, _INPUT]
    ) -> TriggerScheduleResult:
        run, schedule = await runs.trigger(
            info.context,
            key_of(Kind.SCHEDULE, input.id),
            idempotency_key=given(input.idempotency_key),
            note=given(input.note),
            skip_next_fire=bool(given(input.skip_next_fire)),
        )
        return ScheduleTriggered(schedule=Schedule.of(schedule), run=Run.of(run))

    @resolved(
        "Skip one fire to come, however far away, also while Temporal is down. A skipped one stays as it is.",
        schedules=True,
    )
    async def skip_fire(self, info: Info, input: Annotated[SkipFireInput, _INPUT]) -> SkipFireResult:
        reader = Reader()
        schedule, fire_at = await schedules.skip_fire(
            info.context,
            key_of(Kind.SCHEDULE, input.id),
            reader.time(input.fire_at, "input", "fireAt"),
            note=given(input.note),
            issues=reader.issues,
        )
        return FireSkipped(schedule=Schedule.of(schedule), fire_at=fire_at)

    @resolved("Let a skipped fire run after all. One that is not skipped stays as it is.", schedules=True)
    async def unskip_fire(self, info: Info, input: Annotated[SkipFireInput, _INPUT]) -> UnskipFireResult:
        reader = Reader()
        schedule, fire_at = await schedules.unskip_fire(
            info.context,
            key_of(Kind.SCHEDULE, input.id),
            reader.time(input.fire_at, "input", "fireAt"),
            note=given(input.note),
            issues=reader.issues,
        )
        return FireUnskipped(schedule=Schedule.of(schedule), fire_at=fire_at)

    @resolved(
        "Run the due times of a span of the past that have no run, or whose run was MISSED, and that no one asked to "
        "skip; as the schedule is now, paused or not, and whatever overlaps. A due time has one run, however often "
        "this is asked for.",
        schedules=True,
    )
    async def backfill_schedule(
        self, info: Info, input: Annotated[BackfillScheduleInput, _INPUT]
    ) -> BackfillScheduleResult:
        reader = Reader()
        schedule_id, key = key_of(Kind.SCHEDULE, input.id), given(input.idempotency_key)
        first, last = reader.time(input.from_, "input", "from"), reader.time(input.to, "input", "to")
        span = Span(first, last, given(input.note))
        if given(input.dry_run):
            schedule, fires = await schedules.plan_backfill(info.context, schedule_id, span, reader.issues)
            return BackfillPlanned(schedule=Schedule.of(schedule), fires=[*fires])
        schedule, fires = await schedules.backfill(
            info.context, schedule_id, span, idempotency_key=key, issues=reader.issues
        )
        return BackfillStarted(schedule=Schedule.of(schedule), fires=[*fires])

    @resolved(
        "Let a run that was not delivered go on: the same key, the same bytes, and its retry horizon anew. One that is "
        "under way stays as it is. A MISSED run, of which nothing was sent, is rendered from the schedule as it is.",
        schedules=True,
    )
    async def retry_run(self, info: Info, input: Annotated[RetryRunInput, _INPUT]) -> RetryRunResult:
        run = await runs.retry(
            info.context,
            key_of(Kind.RUN, input.id),
            idempotency_key=given(input.idempotency_key),
            note=given(input.note),
        )
        return RunRetried(run=Run.of(run))

    @resolved(
        "Say of a run that is UNKNOWN whether the agent got it. Who said what stands in its interventions.",
        schedules=True,
    )
    async def resolve_run(self, info: Info, input: Annotated[ResolveRunInput, _INPUT]) -> ResolveRunResult:
        run = await runs.resolve(info.context, key_of(Kind.RUN, input.id), input.outcome, note=given(input.note))
        return RunResolved(run=Run.of(run))
