"""The schema as it is printed: complete, described, sorted, and without its part of schedules where that is off."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    is_introspection_type,
    is_specified_scalar_type,
    lexicographic_sort_schema,
    print_schema,
)
from graphql import (
    build_schema as parse_schema,
)

from schema import build_schema, sdl

PAGE = "first after last before"
SURFACE = {
    # type: its fields, with their arguments
    "Node": "id",
    "Agent": "id name description protocol url status deliveryMethod version createdAt updatedAt deletedAt "
    f"schedules(filter orderBy {PAGE})",
    "CronCadence": "expression timeZone description",
    "IntervalCadence": "everySeconds offsetSeconds description",
    "Schedule": "id name description agent cadence startAt endAt jitterSeconds overlapPolicy missedFirePolicy "
    "catchUpWindowSeconds onUnknown retryHorizonSeconds paused pauseNote pauseAfterFailures state initialInput "
    "deliveryMethod taskParams taskMetadata labels creator version createdAt updatedAt deletedAt clock viewerCan live "
    f"lastRun runs(filter {PAGE}) runStats(since) changes({PAGE})",
    "LiveSchedule": "status nextFireAt nextFires(first) skippedFires lastFireAt paused fireCount overlapSkippedCount "
    "missedCatchUpCount runningWorkflowCount asOf",
    "Clock": "status appliedVersion appliedAt error temporalScheduleId temporalUrl",
    "InitialInput": "type author content",
    "Label": "key value",
    "Principal": "type userId serviceAccountId accountId",
    "ScheduleChange": "version kind at by note fields",
    "FieldChange": "field before after",
    "Run": "id schedule agent trigger fireAt status skipReason error attempts deliveryMethod task scheduleVersion "
    "claimedAt deliveredAt finishedAt latencyMs temporalWorkflowId temporalUrl interventions",
    "RunIntervention": "kind at by note",
    "Attempt": "number at durationMs outcome error",
    "RunError": "code message retryable",
    "Task": "id name displayName agent params metadata createdAt messages(first after)",
    "Message": "id author content createdAt",
    "RunStats": "total delivered skipped missed failed p50LatencyMs p95LatencyMs consecutiveFailures",
    "Query": f"node(id) nodes(ids) viewer agent(by) agents(filter orderBy {PAGE}) schedule(by) "
    f"schedules(filter orderBy {PAGE}) run(id) runs(filter orderBy {PAGE}) "
    "previewCadence(cadence startAt endAt after first) eventCursor serverInfo",
    "Viewer": "principal authenticated",
    "Permission": "allowed reason",
    "SchedulePermissions": "update delete trigger",
    "CadencePreview": "description fires warnings",
    "PreviewFire": "at localTime note",
    "ServerInfo": "version schedulesEnabled temporalReachable temporalNamespace",
    "AgentRef": "id name",
    "ScheduleRef": "id named",
    "ScheduleName": "agentId name",
    "ScheduleFilter": "agentIds states search labels clockStatus lastRunStatus includeDeleted createdBy updatedSince",
    "RunFilter": "scheduleIds agentIds statuses triggers fireFrom fireTo",
    "UserError": "code message path",
    "InvalidInput": "code message path issues",
    "FieldIssue": "path message",
    "NotFound": "code message path",
    "Forbidden": "code message path",
    "NameTaken": "code message path suggestion",
    "VersionConflict": "code message path expected actual current",
    "IdempotencyKeyReused": "code message path",
    "FireNotFound": "code message path nearest",
    "ClockUnavailable": "code message path retryAfterSeconds",
    "CadenceInput": "cron interval",
    "CronInput": "expression timeZone",
    "IntervalInput": "everySeconds offsetSeconds",
    "InitialInputInput": "type author content",
    "LabelInput": "key value",
    "CreateScheduleInput": "agentId name description cadence startAt endAt jitterSeconds overlapPolicy "
    "missedFirePolicy catchUpWindowSeconds onUnknown retryHorizonSeconds paused pauseAfterFailures initialInput "
    "taskParams taskMetadata labels idempotencyKey",
    "UpdateScheduleInput": "id expectedVersion name description cadence startAt endAt jitterSeconds overlapPolicy "
    "missedFirePolicy catchUpWindowSeconds onUnknown retryHorizonSeconds paused pauseAfterFailures initialInput "
    "taskParams taskMetadata labels note",
    "ScheduleActionInput": "id expectedVersion note",
    "TriggerScheduleInput": "id idempotencyKey note skipNextFire",
    "SkipFireInput": "id fireAt note",
    "BackfillScheduleInput": "id from to dryRun idempotencyKey note",
    "RetryRunInput": "id note idempotencyKey",
    "ResolveRunInput": "id outcome note",
    "RegisterAgentInput": "name description protocol url apiKey",
    "UpdateAgentInput": "id expectedVersion name description protocol url apiKey",
    "DeleteAgentInput": "id expectedVersion",
    "RunAgentInput": "agentId initialInput taskParams taskMetadata onUnknown idempotencyKey",
    "ScheduleCreated": "schedule",
    "ScheduleUpdated": "schedule changed",
    "SchedulePaused": "schedule",
    "ScheduleResumed": "schedule",
    "ScheduleDeleted": "schedule",
    "ScheduleTriggered": "schedule run",
    "FireSkipped": "schedule fireAt",
    "FireUnskipped": "schedule fireAt",
    "BackfillPlanned": "schedule fires",
    "BackfillStarted": "schedule fires",
    "RunRetried": "run",
    "RunResolved": "run",
    "Mutation": "registerAgent(input) updateAgent(input) deleteAgent(input) runAgent(input) createSchedule(input) "
    "updateSchedule(input) pauseSchedule(input) resumeSchedule(input) deleteSchedule(input) triggerSchedule(input) "
    "skipFire(input) unskipFire(input) backfillSchedule(input) retryRun(input) resolveRun(input)",
    "Subscription": "fireStatus(filter after) scheduleChanged(filter after)",
    "FireStatusEvent": "cursor at status previous run",
    "ScheduleChangedEvent": "cursor at change schedule",
    "ScheduleConnection": "edges pageInfo totalCount",
    "RunConnection": "edges pageInfo totalCount",
    "PageInfo": "hasNextPage hasPreviousPage startCursor endCursor",
    # enumeration: its values
    "AgentProtocol": "SYNC ASYNC AGENTIC",
    "AgentStatus": "ACTIVE UNREACHABLE DELETED",
    "DeliveryMethod": "MESSAGE_SEND EVENT_SEND",
    "ScheduleState": "ACTIVE PAUSED FINISHED DELETED",
    "OverlapPolicy": "SKIP QUEUE_ONE CANCEL_PREVIOUS ALLOW",
    "MissedFirePolicy": "RUN_ALL RUN_LATEST RUN_NONE",
    "OnUnknown": "RETRY HOLD",
    "ClockStatus": "IN_SYNC PENDING DRIFTED MISSING UNKNOWN",
    "LiveStatus": "AVAILABLE UNAVAILABLE TIMED_OUT NOT_SYNCED",
    "InputType": "TEXT",
    "Author": "USER AGENT",
    "PrincipalType": "USER SERVICE_ACCOUNT",
    "ChangeKind": "CREATED UPDATED PAUSED RESUMED SKIPPED UNSKIPPED DELETED REPAIRED",
    "RunTrigger": "SCHEDULED MANUAL BACKFILL EXTERNAL",
    "RunStatus": "CLAIMED QUEUED DELIVERING RETRYING DELIVERED SKIPPED MISSED CANCELLED FAILED UNKNOWN",
    "SkipReason": "SCHEDULE_NOT_FOUND SCHEDULE_DELETED SCHEDULE_PAUSED SKIP_REQUESTED OVERLAP OUTSIDE_WINDOW TOO_LATE "
    "AGENT_DELETED PERMISSION_DENIED INPUT_ALREADY_DELIVERED",
    "Resolution": "DELIVERED NOT_DELIVERED",
    "InterventionKind": "RETRIED RESOLVED_DELIVERED RESOLVED_NOT_DELIVERED",
    "AttemptOutcome": "IN_FLIGHT DELIVERED REFUSED RETRY UNKNOWN",
    "ErrorCode": "INVALID_INPUT NOT_FOUND FORBIDDEN NAME_TAKEN VERSION_CONFLICT IDEMPOTENCY_KEY_REUSED FIRE_NOT_FOUND "
    "AGENT_UNREACHABLE AGENT_REFUSED CLOCK_UNAVAILABLE COUNT_CHANGED LIMIT_EXCEEDED",
    "ScheduleOrderField": "CREATED_AT UPDATED_AT NAME",
    "OrderDirection": "ASC DESC",
}
UNIONS = {
    "Cadence": "CronCadence IntervalCadence",
    "CadencePreviewResult": "CadencePreview InvalidInput",
    "CreateScheduleResult": "ScheduleCreated InvalidInput NotFound Forbidden NameTaken IdempotencyKeyReused",
    "UpdateScheduleResult": "ScheduleUpdated InvalidInput NotFound Forbidden NameTaken VersionConflict",
    "PauseScheduleResult": "SchedulePaused NotFound Forbidden VersionConflict",
    "ResumeScheduleResult": "ScheduleResumed NotFound Forbidden VersionConflict",
    "DeleteScheduleResult": "ScheduleDeleted NotFound Forbidden VersionConflict",
    "TriggerScheduleResult": "ScheduleTriggered InvalidInput NotFound Forbidden IdempotencyKeyReused ClockUnavailable",
    "SkipFireResult": "FireSkipped InvalidInput NotFound Forbidden FireNotFound",
    "UnskipFireResult": "FireUnskipped InvalidInput NotFound Forbidden FireNotFound",
    "BackfillScheduleResult": "BackfillPlanned BackfillStarted InvalidInput NotFound Forbidden ClockUnavailable",
    "RetryRunResult": "RunRetried NotFound Forbidden InvalidInput ClockUnavailable",
    "ResolveRunResult": "RunResolved InvalidInput NotFound Forbidden",
    "RegisterAgentResult": "AgentRegistered InvalidInput NameTaken Forbidden",
    "UpdateAgentResult": "AgentUpdated InvalidInput NotFound Forbidden NameTaken AgentVersionConflict",
    "DeleteAgentResult": "AgentDeleted NotFound Forbidden AgentVersionConflict",
    "RunAgentResult": "AgentRunStarted InvalidInput NotFound Forbidden IdempotencyKeyReused",
}


@pytest.fixture(scope="module")
def printed() -> GraphQLSchema:
    return parse_schema(sdl())


@pytest.mark.parametrize("name", SURFACE)
def test_everything_of_the_surface_is_there_under_its_name(printed: GraphQLSchema, name: str) -> None:
    wanted = words(SURFACE[name])

    type_: Any = printed.type_map[name]
    offered = type_.values if isinstance(type_, GraphQLEnumType) else type_.fields

    assert wanted.keys() <= offered.keys()
    for field, arguments in wanted.items():
        assert arguments <= set(getattr(offered[field], "args", {}))


@pytest.mark.parametrize("name", UNIONS)
def test_every_union_has_the_members_of_the_surface(printed: GraphQLSchema, name: str) -> None:
    union: Any = printed.type_map[name]

    assert set(UNIONS[name].split()) <= {member.name for member in union.types}


@pytest.mark.parametrize(
    ("field", "type_name"),
    [
        ("Schedule.id", "ID!"),
        ("Schedule.labels", "[Label!]!"),
        ("Schedule.creator", "Principal"),
        ("Schedule.lastRun", "Run"),
        ("Schedule.live", "LiveSchedule!"),
        ("LiveSchedule.nextFires", "[DateTime!]"),
        ("Query.node", "Node"),
        ("Query.nodes", "[Node]!"),
        ("Query.schedules", "ScheduleConnection!"),
        ("Subscription.fireStatus", "[FireStatusEvent!]!"),
        ("Subscription.scheduleChanged", "[ScheduleChangedEvent!]!"),
        ("UserError.path", "[String!]"),
        ("FieldIssue.path", "[String!]!"),
        ("CronInput.timeZone", "TimeZone"),
        ("FieldChange.before", "JSON"),
        ("FireNotFound.nearest", "[DateTime!]!"),
        ("SkipFireInput.fireAt", "DateTime!"),
        ("BackfillScheduleInput.from", "DateTime!"),
        ("BackfillPlanned.fires", "[DateTime!]!"),
        ("ResolveRunInput.outcome", "Resolution!"),
        ("Run.interventions", "[RunIntervention!]!"),
        ("CreateScheduleInput.startAt", "DateTime"),
        ("UpdateScheduleInput.expectedVersion", "Int!"),
        ("VersionConflict.current", "Schedule!"),
        ("Run.schedule", "Schedule"),
        ("Run.agent", "Agent"),
    ],
)
def test_a_field_has_its_type(printed: GraphQLSchema, field: str, type_name: str) -> None:
    owner, _, name = field.partition(".")
    type_: Any = printed.type_map[owner]

    assert str(type_.fields[name].type) == type_name


@pytest.mark.parametrize(
    ("field", "default"),
    [
        ("CreateScheduleInput.jitterSeconds", 0),
        ("CreateScheduleInput.catchUpWindowSeconds", 3600),
        ("CreateScheduleInput.overlapPolicy", "SKIP"),
        ("CreateScheduleInput.missedFirePolicy", "RUN_LATEST"),
        ("CreateScheduleInput.onUnknown", "RETRY"),
        ("CreateScheduleInput.paused", False),
        ("CronInput.timeZone", "UTC"),
        ("IntervalInput.offsetSeconds", 0),
        ("InitialInputInput.author", "USER"),
        ("RunAgentInput.onUnknown", "RETRY"),
        ("TriggerScheduleInput.skipNextFire", False),
        ("BackfillScheduleInput.dryRun", False),
        ("ScheduleFilter.includeDeleted", False),
        ("ScheduleOrder.direction", "ASC"),
    ],
)
def test_a_default_is_the_one_of_the_surface(field: str, default: object) -> None:
    owner, _, name = field.partition(".")
    text = sdl()
    start = text.index(f"input {owner} ")
    body = text[start : text.index("\n}", start)]
    line = next(line.strip() for line in body.splitlines() if line.strip().startswith(f"{name}:"))

    assert line.partition(" = ")[2] == spelled(default, line)


def spelled(default: object, line: str) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return f'"{default}"' if "TimeZone" in line else str(default)


def test_it_is_sorted_and_ends_with_one_line_break() -> None:
    text = sdl()

    assert text == print_schema(lexicographic_sort_schema(parse_schema(text))) + "\n"
    assert not text.endswith("\n\n")


def test_everything_is_described() -> None:
    schema = build_schema(schedules=True)._schema

    undescribed = [name for name, description in descriptions(schema) if len(description or "") < 8]

    assert undescribed == []
    assert sum(1 for _ in descriptions(schema)) > 500


def test_there_is_defer_and_no_stream() -> None:
    names = {directive.name for directive in build_schema(schedules=True)._schema.directives}

    assert "defer" in names
    assert "stream" not in names


def test_without_schedules_agents_and_the_server_remain() -> None:
    schema = build_schema(schedules=False)._schema

    assert schema.query_type is not None
    assert set(schema.query_type.fields) == {"node", "nodes", "viewer", "agent", "agents", "serverInfo"}
    assert schema.mutation_type is not None
    assert set(schema.mutation_type.fields) == {"registerAgent", "updateAgent", "deleteAgent"}
    assert schema.subscription_type is None
    assert not [name for name in schema.type_map if "Schedule" in name or "Run" in name or "Task" in name]


def test_it_can_be_built_any_number_of_times_and_either_way() -> None:
    first = sdl()

    build_schema(schedules=False)

    assert sdl() == first


def words(text: str) -> dict[str, set[str]]:
    """The fields of `a b(c d)`, each with its arguments."""
    return {name: set(arguments.split()) for name, arguments in re.findall(r"(\w+)(?:\(([^)]*)\))?", text)}


def descriptions(schema: GraphQLSchema) -> Iterator[tuple[str, str | None]]:
    """Everything that has to have a description, with the one that it has."""
    for type_ in schema.type_map.values():
        if is_introspection_type(type_) or is_specified_scalar_type(type_):
            continue
        yield type_.name, type_.description
        if isinstance(type_, GraphQLEnumType):
            for value_name, value in type_.values.items():
                yield f"{type_.name}.{value_name}", value.description
        elif isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            for field_name, field in type_.fields.items():
                yield f"{type_.name}.{field_name}", field.description
                for argument_name, argument in field.args.items():
                    yield f"{type_.name}.{field_name}({argument_name})", argument.description
        elif isinstance(type_, GraphQLInputObjectType):
            for input_name, input_field in type_.fields.items():
                yield f"{type_.name}.{input_name}", input_field.description
