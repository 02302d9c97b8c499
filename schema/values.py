"""The small types: plain attributes all the way down, each made by `of` from a value of `services/`."""

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

import strawberry

from resolvers import permissions
from schema.enums import InputType
from schema.scalars import JSON, TimeZone
from services import cadence as cadences
from services import definition, principals, run, runs, schedule_queries
from services.errors import InvalidInput as InvalidCadence
from services.principals import PrincipalType
from services.run import AttemptOutcome, InterventionKind
from services.schedule import Author, ChangeKind


@strawberry.type(description="Times by the wall clock of a zone. Read from Postgres.")
class CronCadence:
    expression: str = strawberry.field(description="Cron as it was given: five fields, or a name such as @daily.")
    time_zone: TimeZone = strawberry.field(description="The zone whose wall clock is meant.")
    description: str = strawberry.field(description='In plain words: "At 17:00, Monday through Friday".')


@strawberry.type(description="Every so many seconds since 1970-01-01T00:00Z, in no zone. Read from Postgres.")
class IntervalCadence:
    every_seconds: int = strawberry.field(description="The time between two fires, in seconds: at least 1.")
    offset_seconds: int = strawberry.field(
        description="How far each fire is moved behind the multiple, in seconds: less than everySeconds."
    )
    description: str = strawberry.field(description='In plain words: "Every 15 minutes".')


Cadence = Annotated[
    CronCadence | IntervalCadence,
    strawberry.union("Cadence", description="When a schedule is due: cron in a time zone, or an interval."),
]


def cadence_of(value: cadences.Cadence) -> CronCadence | IntervalCadence:
    words = _words(value)
    if isinstance(value, cadences.Cron):
        return CronCadence(expression=value.expression, time_zone=TimeZone(value.time_zone), description=words)
    return IntervalCadence(
        every_seconds=int(value.every.total_seconds()),
        offset_seconds=int(value.offset.total_seconds()),
        description=words,
    )


@lru_cache(maxsize=4096)
def _words(value: cadences.Cadence) -> str:
    """A stored cadence can cease to be right, when its zone leaves the database of zones; it stays readable."""
    try:
        return cadences.describe(value)
    except InvalidCadence:
        return "Not readable any more."


@strawberry.type(description="Who acts: a user or a service account. Never a credential. Read from Postgres.")
class Principal:
    type: PrincipalType = strawberry.field(description="What kind of caller it is.")
    user_id: str | None = strawberry.field(description="The id of the user; null for a service account.")
    service_account_id: str | None = strawberry.field(description="The id of the service account; null for a user.")
    account_id: str | None = strawberry.field(description="The account that it belongs to.")

    @classmethod
    def of(cls, value: principals.Principal | None) -> "Principal | None":
        if value is None:
            return None
        return cls(
            type=value.type,
            user_id=value.user_id,
            service_account_id=value.service_account_id,
            account_id=value.account_id,
        )


_INPUT_TYPES = {each.value: each for each in InputType}
_AUTHORS = {each.value: each for each in Author}


@strawberry.type(description="What a fire sends to the agent. Read from Postgres.")
class InitialInput:
    type: InputType = strawberry.field(description="The form of the content.")
    author: Author = strawberry.field(description="Who the agent is told says it.")
    content: str = strawberry.field(description="The text, at most 64 KiB as UTF-8.")

    @classmethod
    def of_json(cls, stored: dict[str, Any]) -> "InitialInput":
        return cls(type=_INPUT_TYPES[stored["type"]], author=_AUTHORS[stored["author"]], content=stored["content"])


@strawberry.type(description="A key with a value, to find schedules by. Read from Postgres.")
class Label:
    key: str = strawberry.field(description="At most 63 characters, once on each schedule.")
    value: str = strawberry.field(description="At most 200 characters; may be empty.")


@strawberry.type(description="Whether the caller may do something. Asked for on a Schedule.")
class Permission:
    allowed: bool = strawberry.field(description="Whether it is allowed now.")
    reason: str | None = strawberry.field(description="Why it is not allowed; null where it is.")

    @classmethod
    def of(cls, verdict: permissions.Verdict) -> "Permission":
        return cls(allowed=verdict.allowed, reason=verdict.reason)


@strawberry.type(description="What the caller may do with a schedule.")
class SchedulePermissions:
    update: Permission = strawberry.field(description="To change, pause or resume it.")
    delete: Permission = strawberry.field(description="To delete it.")
    trigger: Permission = strawberry.field(description="To run it now.")

    @classmethod
    def of(cls, verdicts: permissions.ScheduleVerdicts) -> "SchedulePermissions":
        return cls(
            update=Permission.of(verdicts.update),
            delete=Permission.of(verdicts.delete),
            trigger=Permission.of(verdicts.trigger),
        )


@strawberry.type(description="One field of a schedule before and after a change, in the form of the API's input.")
class FieldChange:
    field: str = strawberry.field(
        description="The name of the field, as in UpdateScheduleInput; or skippedFires, those to come; or creator."
    )
    before: JSON | None = strawberry.field(description="What it held; null for nothing, and in the first version.")
    after: JSON | None = strawberry.field(description="What it holds since; null for nothing.")

    @classmethod
    def of(cls, value: definition.Difference) -> "FieldChange":
        return cls(field=value.field, before=_json(value.before), after=_json(value.after))


def _json(value: object) -> JSON | None:
    return None if value is None else JSON(value)


@strawberry.type(description="One change of a schedule's definition, kept for ever. Read from Postgres.")
class ScheduleChange:
    version: int = strawberry.field(description="The version that the change made.")
    kind: ChangeKind = strawberry.field(description="What the change did.")
    at: datetime = strawberry.field(description="When it was committed.")
    by: Principal | None = strawberry.field(description="Who made it; null where nobody is known by name.")
    note: str | None = strawberry.field(description="What its maker had to say; null for nothing.")
    fields: list[FieldChange] = strawberry.field(description="Each field that differs from the version before.")

    @classmethod
    def of(cls, value: schedule_queries.Revision) -> "ScheduleChange":
        return cls(
            version=value.version,
            kind=value.kind,
            at=value.at,
            by=Principal.of(value.by),
            note=value.note,
            fields=[FieldChange.of(each) for each in value.changed],
        )


@strawberry.type(description="Why a run or one of its attempts failed. Read from Postgres.")
class RunError:
    code: str = strawberry.field(description="A stable name of the kind of failure, in capitals.")
    message: str = strawberry.field(description="What happened, in a sentence.")
    retryable: bool = strawberry.field(description="Whether the same request may yet succeed.")

    @classmethod
    def of(cls, value: run.RunError | None) -> "RunError | None":
        return cls(code=value.code, message=value.message, retryable=value.retryable) if value else None


@strawberry.type(description="What a person did about a run that had ended. Read from Postgres.")
class RunIntervention:
    kind: InterventionKind = strawberry.field(description="What was done.")
    at: datetime = strawberry.field(description="When it was done.")
    by: Principal | None = strawberry.field(description="Who did it; null where nobody is known by name.")
    note: str | None = strawberry.field(description="What that person had to say; null for nothing.")

    @classmethod
    def of(cls, value: run.Intervention) -> "RunIntervention":
        return cls(kind=value.kind, at=value.at, by=Principal.of(value.by), note=value.note)


@strawberry.type(description="One request to the agent for a run, written down before it is sent. Read from Postgres.")
class Attempt:
    number: int = strawberry.field(description="1 for the first attempt of the run.")
    at: datetime = strawberry.field(description="When it began.")
    duration_ms: int | None = strawberry.field(description="How long it took, in milliseconds; null while in flight.")
    outcome: AttemptOutcome = strawberry.field(description="How it ended.")
    error: RunError | None = strawberry.field(description="Why it failed; null where it did not.")

    @classmethod
    def of(cls, value: run.Attempt) -> "Attempt":
        return cls(
            number=value.number,
            at=value.at,
            duration_ms=value.duration_ms,
            outcome=value.outcome,
            error=RunError.of(value.error),
        )


@strawberry.type(description="Counts of a schedule's runs, by the time of their fire. Read from Postgres.")
class RunStats:
    total: int = strawberry.field(description="All runs, whatever became of them.")
    delivered: int = strawberry.field(description="Runs that ended as DELIVERED.")
    skipped: int = strawberry.field(description="Runs that ended as SKIPPED.")
    missed: int = strawberry.field(description="Runs that ended as MISSED.")
    failed: int = strawberry.field(description="Runs that ended as FAILED.")
    p50_latency_ms: int | None = strawberry.field(
        name="p50LatencyMs",
        description="Half of the delivered runs were delivered within this many milliseconds; null if none was.",
    )
    p95_latency_ms: int | None = strawberry.field(
        name="p95LatencyMs",
        description="95 % of the delivered runs were delivered within this many milliseconds; null if none was.",
    )
    consecutive_failures: int = strawberry.field(
        description="How many runs in a row have failed or are UNKNOWN up to now, whatever `since` says; a resume sets "
        "it to 0, and one that is retried or resolved as delivered counts no more."
    )

    @classmethod
    def of(cls, value: runs.RunStats, consecutive_failures: int) -> "RunStats":
        return cls(
            total=value.total,
            delivered=value.delivered,
            skipped=value.skipped,
            missed=value.missed,
            failed=value.failed,
            p50_latency_ms=value.p50_latency_ms,
            p95_latency_ms=value.p95_latency_ms,
            consecutive_failures=consecutive_failures,
        )
