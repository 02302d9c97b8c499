"""The enumerations: those of `services/` with a description for each value, and those that only the API knows."""

from enum import Enum, StrEnum

import strawberry

from services.agent import AgentProtocol, AgentStatus, DeliveryMethod
from services.live import LiveStatus
from services.principals import PrincipalType
from services.run import AttemptOutcome, InterventionKind, Resolution, RunStatus, RunTrigger, SkipReason
from services.schedule import (
    Author,
    ChangeKind,
    ClockStatus,
    MissedFirePolicy,
    OnUnknown,
    OverlapPolicy,
    ScheduleState,
)


class InputType(StrEnum):
    TEXT = "TEXT"


class OrderDirection(StrEnum):
    ASC = "ASC"
    DESC = "DESC"


class ScheduleOrderField(StrEnum):
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    NAME = "name"


class AgentOrderField(StrEnum):
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    NAME = "name"


class RunOrderField(StrEnum):
    FIRE_AT = "fire_at"


class ErrorCode(StrEnum):
    INVALID_INPUT = "INVALID_INPUT"
    NOT_FOUND = "NOT_FOUND"
    FORBIDDEN = "FORBIDDEN"
    NAME_TAKEN = "NAME_TAKEN"
    VERSION_CONFLICT = "VERSION_CONFLICT"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    FIRE_NOT_FOUND = "FIRE_NOT_FOUND"
    AGENT_UNREACHABLE = "AGENT_UNREACHABLE"
    AGENT_REFUSED = "AGENT_REFUSED"
    CLOCK_UNAVAILABLE = "CLOCK_UNAVAILABLE"
    COUNT_CHANGED = "COUNT_CHANGED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"


_ORDER_FIELDS = {
    "CREATED_AT": "When it was created.",
    "UPDATED_AT": "When it was last changed.",
    "NAME": "By name, in the alphabet of the database.",
}

DESCRIPTIONS: dict[type[Enum], tuple[str, dict[str, str]]] = {
    AgentProtocol: (
        "How an agent speaks ACP, and so how a fire's input reaches it.",
        {
            "SYNC": "Answers message/send within the request; its reply is kept as messages of the task.",
            "ASYNC": "Takes task/create and then event/send, and works on it later.",
            "AGENTIC": "Like ASYNC: task/create and then event/send.",
        },
    ),
    AgentStatus: (
        "Whether an agent can be run.",
        {
            "ACTIVE": "Registered; nothing is known against it.",
            "UNREACHABLE": "Did not answer when it was last asked; runs are still tried.",
            "DELETED": "Deleted: still readable, and fires of its schedules are recorded as SKIPPED.",
        },
    ),
    DeliveryMethod: (
        "The ACP method that carries the input; it follows from the agent's protocol.",
        {
            "MESSAGE_SEND": "message/send, for SYNC agents.",
            "EVENT_SEND": "event/send, for ASYNC and AGENTIC agents.",
        },
    ),
    LiveStatus: (
        "Whether Temporal told the live values, and if not, why.",
        {
            "AVAILABLE": "The values are Temporal's.",
            "UNAVAILABLE": "Temporal could not be reached or refused to answer; the values are null.",
            "TIMED_OUT": "Temporal did not answer within the 1.3 seconds that live values have; they are null.",
            "NOT_SYNCED": "The clock does not yet show this version of the schedule; the values are null.",
        },
    ),
    PrincipalType: (
        "What kind of caller a principal is.",
        {"USER": "A person, with a user id.", "SERVICE_ACCOUNT": "A program, with a service account id."},
    ),
    AttemptOutcome: (
        "How one request to the agent ended.",
        {
            "IN_FLIGHT": "Written down before the request was sent, and not closed yet.",
            "DELIVERED": "The agent acknowledged the request.",
            "REFUSED": "The agent refused in a way that no repetition mends.",
            "RETRY": "It failed in a way that may pass; the same bytes are sent again.",
            "UNKNOWN": "The request was written and no answer came: the agent may have got it.",
        },
    ),
    RunStatus: (
        "Where a run stands. The last six are ends: SKIPPED, MISSED, CANCELLED, FAILED, UNKNOWN and DELIVERED.",
        {
            "CLAIMED": "The fire has its run; nothing has been sent.",
            "QUEUED": "Waits for an earlier run of the schedule to end (overlap policy QUEUE_ONE).",
            "DELIVERING": "A request to the agent is under way.",
            "RETRYING": "A request failed, and the next one is waited for.",
            "DELIVERED": "The agent acknowledged the input.",
            "SKIPPED": "Not sent, on purpose; skipReason says why.",
            "MISSED": "Not sent, since it could not start in time.",
            "CANCELLED": "Stopped for a later run (overlap policy CANCEL_PREVIOUS) or by an operator.",
            "FAILED": "Not delivered; error says why.",
            "UNKNOWN": (
                "Nobody can know whether the agent got it, and it is not sent again: onUnknown is HOLD, it may no "
                "longer be sent, or its retry horizon has passed."
            ),
        },
    ),
    RunTrigger: (
        "What brought a run about.",
        {
            "SCHEDULED": "Its schedule was due.",
            "MANUAL": "A caller asked for it, by triggerSchedule or runAgent.",
            "BACKFILL": "A caller asked for a due time of the past.",
            "EXTERNAL": "Someone triggered the clock in Temporal itself.",
        },
    ),
    SkipReason: (
        "Why a fire was not sent.",
        {
            "SCHEDULE_NOT_FOUND": "Temporal has a clock for which there is no schedule.",
            "SCHEDULE_DELETED": "The schedule was deleted before the run was claimed, or while it waited.",
            "SCHEDULE_PAUSED": "The schedule was paused when the run was claimed.",
            "SKIP_REQUESTED": "A caller asked to skip this fire.",
            "OVERLAP": "An earlier run had not ended (overlap policy SKIP).",
            "OUTSIDE_WINDOW": "Before startAt or after endAt.",
            "TOO_LATE": "Later than the missed fire policy allows.",
            "AGENT_DELETED": "The agent was deleted.",
            "PERMISSION_DENIED": "The schedule's creator may no longer run the agent.",
            "INPUT_ALREADY_DELIVERED": "The task had this input already.",
        },
    ),
    Author: (
        "Who says a message.",
        {"USER": "The one who asks: a person or a schedule.", "AGENT": "The agent."},
    ),
    ChangeKind: (
        "What a change did to the schedule.",
        {
            "CREATED": "The first version.",
            "UPDATED": "One or more fields were changed.",
            "PAUSED": "It was paused, by a caller or after too many failures.",
            "RESUMED": "It was resumed.",
            "SKIPPED": "A fire to come was marked to be skipped.",
            "UNSKIPPED": "A skip was taken back.",
            "DELETED": "It was deleted.",
            "REPAIRED": "Its clock had been changed in Temporal and was set right.",
        },
    ),
    ClockStatus: (
        "Whether the Temporal Schedule says what the Postgres row says, as far as was last seen.",
        {
            "IN_SYNC": "A read-back of the clock equalled what this version of the row wants.",
            "PENDING": "The row has changed, and the clock follows shortly.",
            "DRIFTED": "The clock says something else than the row.",
            "MISSING": "There is no clock where there should be one.",
            "UNKNOWN": "It has not been seen for a while.",
        },
    ),
    MissedFirePolicy: (
        "What becomes of fires that could not start in time. Each one is recorded in any case.",
        {
            "RUN_ALL": "Run each one that is within the catch-up window.",
            "RUN_LATEST": "Run only the latest one within the catch-up window.",
            "RUN_NONE": "Run none of them.",
        },
    ),
    Resolution: (
        "What a person found out about a run that is UNKNOWN.",
        {
            "DELIVERED": "The agent got it: the run becomes DELIVERED.",
            "NOT_DELIVERED": "The agent did not get it: the run becomes FAILED, and can be retried.",
        },
    ),
    InterventionKind: (
        "What a person did about a run that had ended.",
        {
            "RETRIED": "Let it go on with retryRun.",
            "RESOLVED_DELIVERED": "Said with resolveRun that the agent got it.",
            "RESOLVED_NOT_DELIVERED": "Said with resolveRun that the agent did not get it.",
        },
    ),
    OnUnknown: (
        "What to do when nobody can know whether the agent got the request.",
        {
            "RETRY": "Send the same bytes again under the same idempotency key: at least once.",
            "HOLD": "Never send twice, and end the run as UNKNOWN: at most once.",
        },
    ),
    OverlapPolicy: (
        "What to do when a fire is due while an earlier run has not ended. Decided in Postgres, at claim.",
        {
            "SKIP": "Skip the new fire, recorded with the reason OVERLAP.",
            "QUEUE_ONE": "Let one fire wait for the end of the earlier run, and skip further ones.",
            "CANCEL_PREVIOUS": (
                "Cancel the earlier run, then run the new one. An ASYNC or AGENTIC agent is told by task/cancel to "
                "stop what the earlier run gave it to do, which it may be working on though that run has ended as "
                "DELIVERED; see Task.cancellation. A SYNC agent has done its work when its run ends."
            ),
            "ALLOW": "Run both.",
        },
    ),
    ScheduleState: (
        "Whether a schedule will fire.",
        {
            "ACTIVE": "It fires at its times.",
            "PAUSED": "It fires again when it is resumed.",
            "FINISHED": "Its last time has passed.",
            "DELETED": "It is deleted; its history stays readable.",
        },
    ),
    InputType: ("The form of the initial input.", {"TEXT": "Plain text, at most 64 KiB as UTF-8."}),
    OrderDirection: (
        "Which end of an order comes first.",
        {
            "ASC": "The smallest, the earliest or the first letter.",
            "DESC": "The largest, the latest or the last letter.",
        },
    ),
    ScheduleOrderField: ("What schedules can be sorted by; the id decides between equals.", _ORDER_FIELDS),
    AgentOrderField: ("What agents can be sorted by; the id decides between equals.", _ORDER_FIELDS),
    RunOrderField: (
        "What runs can be sorted by; the id decides between equals.",
        {"FIRE_AT": "The time of the fire that the run is the record of."},
    ),
    ErrorCode: (
        "A stable name for each failure that a caller must expect.",
        {
            "INVALID_INPUT": "One or more fields are wrong; nothing was saved.",
            "NOT_FOUND": "There is no such thing for this caller.",
            "FORBIDDEN": "The caller may see it and may not do this.",
            "NAME_TAKEN": "Another live one has the name.",
            "VERSION_CONFLICT": "It has changed since the caller read it.",
            "IDEMPOTENCY_KEY_REUSED": "The key was used for another request.",
            "FIRE_NOT_FOUND": "The schedule has no fire at that time.",
            "AGENT_UNREACHABLE": "The agent did not answer.",
            "AGENT_REFUSED": "The agent refused the request.",
            "CLOCK_UNAVAILABLE": "Temporal did not answer in time; nothing was changed.",
            "COUNT_CHANGED": "A bulk change would touch another number of schedules than expected.",
            "LIMIT_EXCEEDED": "It would be more than a limit of the server or the account allows.",
        },
    ),
}


for _enum, (_description, _values) in DESCRIPTIONS.items():
    # What a decorator does to a class of one's own; those of `services/` know nothing of GraphQL.
    strawberry.enum(_enum, description=_description)
    for _value in getattr(_enum, "__strawberry_definition__").values:  # noqa: B009 - set by strawberry
        _value.description = _values[_value.name]
