"""The plain attributes of agents, schedules, runs and tasks. What needs I/O, and leads from one to another, is added to
them in `schema.graph`.

Agents, schedules and runs come by the page, and are made of a dict: as 25 arguments, they take three times as long.
"""

from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

import strawberry

from resolvers.ids import Kind, encode
from schema.fields import resolved
from schema.scalars import JSON
from schema.values import Cadence, InitialInput, Label, Principal, RunError, RunIntervention, cadence_of
from services import agent, run, schedule
from services.agent import AgentProtocol, AgentStatus, DeliveryMethod
from services.run import RunStatus, RunTrigger, SkipReason
from services.schedule import Author, MissedFirePolicy, OnUnknown, OverlapPolicy, ScheduleState

ABSENT: Any = strawberry.UNSET
"""Stands in an attribute that nobody asks for."""

_OVERLAP_POLICIES = {each.value: each for each in OverlapPolicy}
_MISSED_FIRE_POLICIES = {each.value: each for each in MissedFirePolicy}
_ON_UNKNOWN = {each.value: each for each in OnUnknown}


@strawberry.interface(description="Anything that can be read again by its id.")
class Node:
    id: strawberry.ID = strawberry.field(
        description="The global id, made of its type and a UUID. It never changes and is never used again."
    )


@strawberry.type
class AgentRecord(Node):
    name: str = strawberry.field(
        description="1 to 64 of a-z, 0-9 and -; unique among the account's live agents. Read from Postgres."
    )
    description: str | None = strawberry.field(description="At most 1,000 characters; null for none.")
    protocol: AgentProtocol = strawberry.field(description="How it speaks ACP.")
    url: str = strawberry.field(description="The base URL of its ACP server, without a slash at the end.")
    status: AgentStatus = strawberry.field(description="Whether it can be run.")
    delivery_method: DeliveryMethod = strawberry.field(description="How its input reaches it; follows from protocol.")
    version: int = strawberry.field(description="Starts at 1 and grows by one at every change.")
    created_at: datetime = strawberry.field(description="When it was registered.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")
    deleted_at: datetime | None = strawberry.field(description="When it was deleted; null while it is live.")
    value: strawberry.Private[agent.Agent]

    @classmethod
    def of(cls, value: agent.Agent) -> Self:
        made = cls.__new__(cls)
        made.__dict__ = cls.attributes_of(value)
        return made

    @staticmethod
    def attributes_of(value: agent.Agent) -> dict[str, Any]:
        return {
            "id": f"Agent:{value.id}",
            "name": value.name,
            "description": value.description,
            "protocol": value.protocol,
            "url": value.url,
            "status": value.status,
            "delivery_method": value.delivery_method,
            "version": value.version,
            "created_at": value.created_at,
            "updated_at": value.updated_at,
            "deleted_at": value.deleted_at,
            "value": value,
        }

    @staticmethod
    def named(agent_id: UUID, name: str, protocol: str, status: str) -> dict[str, Any]:
        """Of an agent of which only what names it was read."""
        speaks = AgentProtocol(protocol)
        return {
            "id": f"Agent:{agent_id}",
            "name": name,
            "protocol": speaks,
            "status": AgentStatus(status),
            "delivery_method": agent.delivery_method(speaks),
        }


@strawberry.type
class ScheduleRecord(Node):
    name: str = strawberry.field(
        description="A label: 1 to 64 of a-z, 0-9 and -; unique among the agent's live schedules. The id is the handle."
    )
    description: str | None = strawberry.field(description="At most 1,000 characters; null for none.")
    cadence: Cadence = strawberry.field(description="When it is due. Read from Postgres.")
    start_at: datetime | None = strawberry.field(description="No fire is before this; null for no start.")
    end_at: datetime | None = strawberry.field(description="No fire is after this; null for no end.")
    jitter_seconds: int = strawberry.field(
        description="Each fire starts up to this many seconds late, by chance: 0 to 86,400."
    )
    overlap_policy: OverlapPolicy = strawberry.field(description="What to do while an earlier run has not ended.")
    missed_fire_policy: MissedFirePolicy = strawberry.field(description="What becomes of fires that start too late.")
    catch_up_window_seconds: int = strawberry.field(
        description="How late a fire may still start after an outage, in seconds: 10 to 31,536,000."
    )
    on_unknown: OnUnknown = strawberry.field(description="What to do when nobody can know whether the agent got it.")
    retry_horizon_seconds: int = strawberry.field(
        description="For how long a failing delivery is tried again, in seconds: 1 to 604,800."
    )
    paused: bool = strawberry.field(description="Whether it is paused in Postgres; no scheduled run is claimed then.")
    pause_note: str | None = strawberry.field(description="Why it is paused; null for no note, and while not paused.")
    pause_after_failures: int | None = strawberry.field(
        description="After how many failed runs in a row it pauses itself, 1 to 1,000; null for never."
    )
    initial_input: InitialInput = strawberry.field(description="What each fire sends to the agent.")
    task_params: JSON | None = strawberry.field(description="The params of each task at the agent; null for none.")
    task_metadata: JSON | None = strawberry.field(
        description="Added to the metadata of each task; of Nextfire's own keys it can set display_name only. "
        "Null for none."
    )
    labels: list[Label] = strawberry.field(description="At most 32 labels to find it by, in the order given.")
    creator: Principal | None = strawberry.field(
        description="Who its runs act as; null where nobody is known by name. Never a credential."
    )
    version: int = strawberry.field(description="Starts at 1 and grows by one at every change of the definition.")
    created_at: datetime = strawberry.field(description="When it was created.")
    updated_at: datetime = strawberry.field(description="When its definition was last changed.")
    deleted_at: datetime | None = strawberry.field(description="When it was deleted; null while it is live.")
    value: strawberry.Private[schedule.Schedule]

    @resolved("Whether it will fire, from its row and the time of the answer.")
    def state(self) -> ScheduleState:
        return self.value.state(datetime.now(UTC))

    @staticmethod
    def attributes_of(value: schedule.Schedule, parts: frozenset[str]) -> dict[str, Any]:
        """Of a schedule that was read in part, these parts."""
        row = value.row
        return {
            "id": f"Schedule:{value.id}",
            "name": row["name"],
            "description": row["description"],
            "cadence": cadence_of(value.cadence) if "cadence" in parts else ABSENT,
            "start_at": row["start_at"],
            "end_at": row["end_at"],
            "jitter_seconds": row["jitter_seconds"],
            "overlap_policy": _OVERLAP_POLICIES[row["overlap_policy"]],
            "missed_fire_policy": _MISSED_FIRE_POLICIES[row["missed_fire_policy"]],
            "catch_up_window_seconds": row["catch_up_window_seconds"],
            "on_unknown": _ON_UNKNOWN[row["on_unknown"]],
            "retry_horizon_seconds": row["retry_horizon_seconds"],
            "paused": row["paused"],
            "pause_note": row["pause_note"],
            "pause_after_failures": row["pause_after_failures"],
            "initial_input": InitialInput.of_json(row["initial_input"]) if "initial_input" in parts else ABSENT,
            "task_params": row["task_params"] if "task_params" in parts else ABSENT,
            "task_metadata": row["task_metadata"] if "task_metadata" in parts else ABSENT,
            "labels": [Label(**label) for label in row["labels"]] if "labels" in parts else ABSENT,
            "creator": Principal.of(value.creator) if "creator" in parts else ABSENT,
            "version": value.version,
            "created_at": row["created_at"],
            "updated_at": row["updated_at"],
            "deleted_at": value.deleted_at,
            "value": value,
        }


@strawberry.type
class RunRecord(Node):
    trigger: RunTrigger = strawberry.field(description="What brought it about. Read from Postgres, like all here.")
    fire_at: datetime = strawberry.field(
        description="The nominal time for SCHEDULED and BACKFILL, the time of the call for MANUAL."
    )
    status: RunStatus = strawberry.field(description="Where it stands.")
    skip_reason: SkipReason | None = strawberry.field(description="Why it was skipped; null unless it is SKIPPED.")
    error: RunError | None = strawberry.field(description="Why it failed or is being retried; null where nothing did.")
    delivery_method: DeliveryMethod | None = strawberry.field(
        description="How the input reaches the agent; null where it was decided before that not to send."
    )
    schedule_version: int = strawberry.field(
        description="The version of the schedule that it ran under; 0 for a run without a schedule."
    )
    claimed_at: datetime = strawberry.field(description="When the fire got this run.")
    delivered_at: datetime | None = strawberry.field(
        description="When the agent acknowledged the input; null until then. Where a person said so instead, the "
        "end of the last attempt."
    )
    finished_at: datetime | None = strawberry.field(description="When it came to its end; null until then.")
    latency_ms: int | None = strawberry.field(
        description="From fireAt to deliveredAt, in milliseconds; null until it is delivered."
    )
    temporal_workflow_id: str = strawberry.field(
        description="The id of the Temporal workflow that runs it; each retry has another."
    )
    interventions: list[RunIntervention] = strawberry.field(
        description="What people did about it after it had ended, in order: at most 100; empty for most."
    )
    value: strawberry.Private[run.Run]

    @classmethod
    def of(cls, value: run.Run) -> Self:
        made = cls.__new__(cls)
        made.__dict__ = {
            "id": f"Run:{value.id}",
            "trigger": value.trigger,
            "fire_at": value.fire_at,
            "status": value.status,
            "skip_reason": value.skip_reason,
            "error": RunError.of(value.error),
            "delivery_method": value.delivery_method,
            "schedule_version": value.schedule_version,
            "claimed_at": value.claimed_at,
            "delivered_at": value.delivered_at,
            "finished_at": value.finished_at,
            "latency_ms": value.latency_ms,
            "temporal_workflow_id": value.temporal_workflow_id,
            "interventions": [RunIntervention.of(each) for each in value.interventions] if value.interventions else [],
            "value": value,
        }
        return made


@strawberry.type(description="One thing that was said in a task. Read from Postgres.")
class Message:
    id: strawberry.ID = strawberry.field(description="The global id: Message and a UUID. It is not a Node.")
    author: Author = strawberry.field(description="Who said it.")
    content: str = strawberry.field(description="What was said.")
    created_at: datetime = strawberry.field(description="When it was stored.")

    @classmethod
    def of(cls, value: run.Message) -> Self:
        return cls(
            id=strawberry.ID(encode(Kind.MESSAGE, value.id)),
            author=Author(value.author),
            content=value.content,
            created_at=value.created_at,
        )


@strawberry.type
class TaskRecord(Node):
    name: str = strawberry.field(
        description="Under which the agent knows it, the same for every attempt: scheduled-run:{schedule}:{fire}."
    )
    display_name: str = strawberry.field(description="What a person is shown: the schedule's name, or display_name.")
    params: JSON | None = strawberry.field(description="The params that it was created with; null for none.")
    metadata: JSON | None = strawberry.field(description="The metadata that it was created with; null for none.")
    created_at: datetime = strawberry.field(description="When it was written down, before the agent was asked.")
    value: strawberry.Private[run.Task]

    @classmethod
    def of(cls, value: run.Task) -> Self:
        return cls(
            id=strawberry.ID(encode(Kind.TASK, value.id)),
            name=value.name,
            display_name=value.display_name,
            params=None if value.params is None else JSON(value.params),
            metadata=None if value.metadata is None else JSON(value.metadata),
            created_at=value.created_at,
            value=value,
        )
