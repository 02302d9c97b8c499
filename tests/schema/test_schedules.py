from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.schema.api import Api, creation
from tests.waiting import eventually

UNKNOWN = "Schedule:00000000-0000-7000-8000-000000000000"
DEFINITION = """
  name description startAt endAt jitterSeconds overlapPolicy missedFirePolicy catchUpWindowSeconds onUnknown
  retryHorizonSeconds paused pauseNote pauseAfterFailures initialInput { type author content } taskParams taskMetadata
  labels { key value } version
  cadence {
    ... on CronCadence { expression timeZone description }
    ... on IntervalCadence { everySeconds offsetSeconds description }
  }
"""
FULL = {
    "name": "nightly-report",
    "description": "Every night.",
    "cadence": {"cron": {"expression": "0 17 * * MON-FRI", "timeZone": "Europe/Berlin"}},
    "startAt": "2090-01-01T00:00:00+01:00",
    "endAt": "2091-01-01T00:00:00.5Z",
    "jitterSeconds": 60,
    "overlapPolicy": "QUEUE_ONE",
    "missedFirePolicy": "RUN_ALL",
    "catchUpWindowSeconds": 10,
    "onUnknown": "HOLD",
    "retryHorizonSeconds": 1,
    "paused": True,
    "pauseAfterFailures": 3,
    "initialInput": {"author": "AGENT", "content": "Hello."},
    "taskParams": {"model": "m", "deep": [1, {"two": None}]},
    "taskMetadata": {"display_name": "Report"},
    "labels": [{"key": "team", "value": "ops"}, {"key": "empty", "value": ""}],
}


OPTIONAL = (
    "description",
    "startAt",
    "endAt",
    "jitterSeconds",
    "overlapPolicy",
    "missedFirePolicy",
    "catchUpWindowSeconds",
    "onUnknown",
    "retryHorizonSeconds",
    "paused",
    "pauseAfterFailures",
    "taskParams",
    "taskMetadata",
    "labels",
    "idempotencyKey",
)
CLEARABLE = ("description", "startAt", "endAt", "pauseAfterFailures", "taskParams", "taskMetadata", "labels")
JSON_FIELDS = ("taskParams", "taskMetadata")
NEEDED = (
    "name",
    "cadence",
    "jitterSeconds",
    "overlapPolicy",
    "missedFirePolicy",
    "catchUpWindowSeconds",
    "onUnknown",
    "retryHorizonSeconds",
    "paused",
    "initialInput",
)


def nulls(names: tuple[str, ...]) -> dict[str, Any]:
    return dict.fromkeys(names)


async def read(api: Api, schedule_id: str, fields: str = DEFINITION) -> Any:
    document = f"query($id: ID!) {{ schedule(by: {{id: $id}}) {{ {fields} }} }}"
    return (await api.ask(document, id=schedule_id))["schedule"]


async def updated(api: Api, schedule_id: str, *, version: int = 1, **values: Any) -> dict[str, Any]:
    fields = """
      ... on ScheduleUpdated { schedule { version name } changed { field before after } }
      ... on VersionConflict { expected actual current { id version } }
    """
    return await api.change("updateSchedule", {"id": schedule_id, "expectedVersion": version, **values}, fields)


async def test_a_schedule_keeps_everything_that_it_was_given(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), **FULL)

    assert await read(api, schedule_id) == FULL | {
        "cadence": {
            "expression": "0 17 * * MON-FRI",
            "timeZone": "Europe/Berlin",
            "description": "At 17:00, Monday through Friday",
        },
        "startAt": "2089-12-31T23:00:00Z",
        "endAt": "2091-01-01T00:00:00.500000Z",
        "initialInput": {"type": "TEXT", "author": "AGENT", "content": "Hello."},
        "pauseNote": None,
        "version": 1,
    }


@pytest.mark.parametrize(
    "absent",
    [
        {},
        dict.fromkeys(OPTIONAL),
    ],
)
async def test_what_is_absent_or_null_at_first_has_its_default(api: Api, absent: dict[str, None]) -> None:
    cadence = {"interval": {"everySeconds": 900}}

    schedule_id = await api.schedule(await api.agent(), name="plain", cadence=cadence, **absent)

    assert await read(api, schedule_id) == {
        "name": "plain",
        "description": None,
        "cadence": {"everySeconds": 900, "offsetSeconds": 0, "description": "Every 15 minutes"},
        "startAt": None,
        "endAt": None,
        "jitterSeconds": 0,
        "overlapPolicy": "SKIP",
        "missedFirePolicy": "RUN_LATEST",
        "catchUpWindowSeconds": 3600,
        "onUnknown": "RETRY",
        "retryHorizonSeconds": 3600,
        "paused": False,
        "pauseNote": None,
        "pauseAfterFailures": None,
        "initialInput": {"type": "TEXT", "author": "USER", "content": "Write the report."},
        "taskParams": None,
        "taskMetadata": None,
        "labels": [],
        "version": 1,
    }


async def test_everything_that_is_wrong_with_a_schedule_is_said_at_once_and_nothing_is_saved(api: Api) -> None:
    wrong = creation(
        "nonsense",
        name="No Name",
        description="\x00",
        cadence={"cron": {"expression": "61 * * * *", "timeZone": "Europe/Berln"}},
        startAt="2026-03-01T09:00:00",
        endAt=5,
        jitterSeconds=-1,
        catchUpWindowSeconds=9,
        retryHorizonSeconds=0,
        pauseAfterFailures=0,
        initialInput={"content": " "},
        taskParams=[],
        taskMetadata="x",
        labels=[{"key": "a", "value": ""}, {"key": "a", "value": "\ud800"}],
        idempotencyKey=" ",
    )

    answer = await api.change("createSchedule", wrong)

    assert answer["__typename"] == "InvalidInput"
    assert {".".join(issue["path"]) for issue in answer["issues"]} == {
        "input.name",
        "input.description",
        "input.cadence.cron.expression",
        "input.cadence.cron.timeZone",
        "input.startAt",
        "input.endAt",
        "input.jitterSeconds",
        "input.catchUpWindowSeconds",
        "input.retryHorizonSeconds",
        "input.pauseAfterFailures",
        "input.initialInput.content",
        "input.taskParams",
        "input.taskMetadata",
        "input.labels.1.key",
        "input.labels.1.value",
        "input.idempotencyKey",
    }
    assert await api.ask("{ schedules { totalCount } }") == {"schedules": {"totalCount": 0}}


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"startAt": "2091-01-01T00:00:00Z", "endAt": "2090-01-01T00:00:00Z"}, "input.endAt"),
        ({"cadence": {"cron": {"expression": "0 0 30 2 *"}}}, "input.cadence"),
        ({"cadence": {"interval": {"everySeconds": 0}}}, "input.cadence.interval.everySeconds"),
        ({"cadence": {"cron": {"expression": "* * * * *", "timeZone": 5}}}, "input.cadence.cron.timeZone"),
        ({"taskParams": {"deep": "x" * 70_000}}, "input.taskParams"),
        ({"initialInput": {"content": "ä" * 40_000}}, "input.initialInput.content"),
        ({"startAt": "0001-01-01T00:00:00Z"}, "input.startAt"),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused(api: Api, values: dict[str, Any], path: str) -> None:
    answer = await api.change("createSchedule", creation(await api.agent(), **values))

    assert answer["__typename"] == "InvalidInput"
    assert [".".join(issue["path"]) for issue in answer["issues"]] == [path]


async def test_a_variable_within_json_has_to_be_readable_too(api: Api) -> None:
    document = """mutation ($agentId: ID!, $cadence: CadenceInput!, $inner: JSON) {
      createSchedule(input: {
        agentId: $agentId, name: "nightly", cadence: $cadence, initialInput: {content: "Go."}
        taskParams: {deep: [{inner: $inner}]}
      }) {
        ... on ScheduleCreated { schedule { taskParams } }
        ... on InvalidInput { issues { path } }
      }
    }"""
    given = {"agentId": await api.agent(), "cadence": {"cron": {"expression": "0 0 1 1 *"}}}

    refused = await api.ask(document, **given, inner=3)
    created = await api.ask(document, **given, inner={"a": 1})

    assert refused == {"createSchedule": {"issues": [{"path": ["input", "taskParams"]}]}}
    assert created == {"createSchedule": {"schedule": {"taskParams": {"deep": [{"inner": {"a": 1}}]}}}}


async def test_a_schedule_needs_an_agent_that_is_there(api: Api) -> None:
    deleted = await api.agent()
    await api.change("deleteAgent", {"id": deleted})
    foreign = await api.other().agent()

    for agent_id in (deleted, foreign, "nonsense", UNKNOWN):
        answer = await api.change("createSchedule", creation(agent_id))
        assert (answer["__typename"], answer["path"]) == ("NotFound", ["input", "agentId"])


async def test_a_taken_name_is_answered_with_a_free_one(api: Api) -> None:
    agent_id = await api.agent()
    await api.schedule(agent_id, name="nightly")
    other = await api.schedule(agent_id, name="other")

    created = await api.change("createSchedule", creation(agent_id, name="nightly"))
    renamed = await updated(api, other, name="nightly")

    for answer in (created, renamed):
        assert answer["__typename"] == "NameTaken"
        assert (answer["path"], answer["suggestion"]) == (["input", "name"], "nightly-2")


async def test_one_idempotency_key_makes_one_schedule(api: Api) -> None:
    wanted = creation(await api.agent(), idempotencyKey="once", taskParams={"b": 1, "a": 2})

    first = await api.change("createSchedule", wanted, "... on ScheduleCreated { schedule { id } }")
    again = await api.change("createSchedule", wanted, "... on ScheduleCreated { schedule { id } }")
    another = await api.change("createSchedule", wanted | {"name": "another"})

    assert first == again
    assert (another["__typename"], another["path"]) == ("IdempotencyKeyReused", ["input", "idempotencyKey"])
    assert await api.ask("{ schedules { totalCount } }") == {"schedules": {"totalCount": 1}}


async def test_a_repeated_create_gets_its_answer_though_the_last_fire_is_over(api: Api) -> None:
    wanted = creation(await api.agent(), cadence={"interval": {"everySeconds": 1}}, idempotencyKey="once")
    wanted["endAt"] = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    first = await api.change("createSchedule", wanted, "... on ScheduleCreated { schedule { id } }")

    async def refused_as_new() -> dict[str, Any] | None:
        new = await api.change("createSchedule", wanted | {"name": "new", "idempotencyKey": None})
        return new if new["__typename"] == "InvalidInput" else None

    await eventually(refused_as_new)

    again = await api.change("createSchedule", wanted, "... on ScheduleCreated { schedule { id } }")
    another = await api.change("createSchedule", wanted | {"name": "another"})
    under_new_key = await api.change("createSchedule", wanted | {"idempotencyKey": "new"})

    assert (first["__typename"], again) == ("ScheduleCreated", first)
    assert (another["__typename"], under_new_key["__typename"]) == ("IdempotencyKeyReused", "InvalidInput")


async def test_an_update_changes_what_is_present_and_nothing_else(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), **FULL)
    before = await read(api, schedule_id)

    answer = await updated(
        api, schedule_id, name="renamed", jitterSeconds=0, cadence={"interval": {"everySeconds": 60}}
    )

    assert answer["__typename"] == "ScheduleUpdated"
    assert answer["schedule"] == {"version": 2, "name": "renamed"}
    assert answer["changed"] == [
        {"field": "name", "before": "nightly-report", "after": "renamed"},
        {
            "field": "cadence",
            "before": FULL["cadence"],
            "after": {"interval": {"everySeconds": 60, "offsetSeconds": 0}},
        },
        {"field": "jitterSeconds", "before": 60, "after": 0},
    ]
    assert await read(api, schedule_id) == before | {
        "name": "renamed",
        "jitterSeconds": 0,
        "cadence": {"everySeconds": 60, "offsetSeconds": 0, "description": "Every minute"},
        "version": 2,
    }


async def test_an_update_with_null_clears_what_can_be_cleared(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), **FULL)
    before = await read(api, schedule_id)
    answer = await updated(api, schedule_id, **nulls(CLEARABLE))

    assert tuple(change["field"] for change in answer["changed"]) == CLEARABLE
    assert await read(api, schedule_id) == before | dict.fromkeys(CLEARABLE) | {"labels": [], "version": 2}


async def test_an_update_with_null_is_refused_for_everything_else_at_once(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent())

    answer = await updated(api, schedule_id, **nulls(NEEDED), startAt="soon", note="x" * 1001)

    assert answer["__typename"] == "InvalidInput"
    assert [issue["path"] for issue in answer["issues"]] == [
        ["input", name] for name in ["name", "cadence", "startAt", *NEEDED[2:], "note"]
    ]
    assert (await read(api, schedule_id, "version"))["version"] == 1


async def test_an_update_that_changes_nothing_makes_no_version(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), name="same")

    answer = await updated(api, schedule_id, name="same", description=None)

    assert (answer["schedule"], answer["changed"]) == ({"version": 1, "name": "same"}, [])


@pytest.mark.parametrize(
    ("before", "after"),
    [(1, True), (0, False), (1, 1.0), ([{"deep": 1}], [{"deep": True}]), (True, 1), (1.0, 1)],
    ids=repr,
)
async def test_values_that_are_equal_only_to_python_are_a_change(api: Api, before: Any, after: Any) -> None:
    schedule_id = await api.schedule(await api.agent(), taskParams={"a": before}, taskMetadata={"a": before})

    answer = await updated(api, schedule_id, taskParams={"a": after}, taskMetadata={"a": after})

    stored = (await read(api, schedule_id))["taskParams"]
    assert [repr(value) for value in stored.values()] == [repr(after)]
    expected = [{"field": field, "before": {"a": before}, "after": {"a": after}} for field in JSON_FIELDS]
    assert repr(answer["changed"]) == repr(expected)


async def test_a_number_that_postgres_writes_in_another_way_is_no_change(api: Api) -> None:
    params = {"large": 1e17, "negative": -1e16, "zero": -0.0, "small": 1e-7, "whole": 2**60, "half": 0.5}
    schedule_id = await api.schedule(await api.agent(), taskParams=params)

    answer = await updated(api, schedule_id, taskParams=params)

    assert (answer["schedule"]["version"], answer["changed"]) == (1, [])


async def test_an_update_of_another_version_is_a_conflict_with_what_is_there(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent())

    answer = await updated(api, schedule_id, version=3, name="other")

    assert answer["__typename"] == "VersionConflict"
    assert (answer["code"], answer["path"]) == ("VERSION_CONFLICT", ["input", "expectedVersion"])
    assert (answer["expected"], answer["actual"], answer["current"]) == (3, 1, {"id": schedule_id, "version": 1})


async def test_a_schedule_is_paused_and_resumed(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent())
    fields = "{ schedule { paused pauseNote state version live { status paused nextFires } } }"

    paused = await api.change(
        "pauseSchedule", {"id": schedule_id, "note": "holiday"}, f"... on SchedulePaused {fields}"
    )
    resumed = await api.change(
        "resumeSchedule", {"id": schedule_id, "expectedVersion": 2}, f"... on ScheduleResumed {fields}"
    )

    assert paused["schedule"] == {
        "paused": True,
        "pauseNote": "holiday",
        "state": "PAUSED",
        "version": 2,
        "live": {"status": "AVAILABLE", "paused": True, "nextFires": []},
    }
    live = resumed["schedule"].pop("live")
    assert resumed["schedule"] == {"paused": False, "pauseNote": None, "state": "ACTIVE", "version": 3}
    assert (live["status"], live["paused"], len(live["nextFires"])) == ("AVAILABLE", False, 5)


async def test_a_deleted_schedule_stays_readable_and_frees_its_name(api: Api) -> None:
    agent_id = await api.agent()
    schedule_id = await api.schedule(agent_id, name="nightly")
    fields = """... on ScheduleDeleted {
      schedule {
        state deletedAt live { status nextFires } viewerCan { update { allowed reason } delete { allowed } }
      }
    }"""

    answer = await api.change("deleteSchedule", {"id": schedule_id, "note": "done"}, fields)

    deleted_at = answer["schedule"].pop("deletedAt")
    assert deleted_at is not None
    assert answer["schedule"] == {
        "state": "DELETED",
        "live": {"status": "AVAILABLE", "nextFires": []},
        "viewerCan": {"update": {"allowed": False, "reason": "The schedule is deleted."}, "delete": {"allowed": False}},
    }
    found = await api.ask(
        """query($id: ID!, $agent: ID!) {
          schedule(by: {id: $id}) { state changes { nodes { kind note version } } }
          named: schedule(by: {named: {agentId: $agent, name: "nightly"}}) { id }
          live: schedules { totalCount }
          all: schedules(filter: {includeDeleted: true}) { totalCount }
          deleted: schedules(filter: {states: [DELETED]}) { totalCount }
        }""",
        id=schedule_id,
        agent=agent_id,
    )
    assert found == {
        "schedule": {
            "state": "DELETED",
            "changes": {
                "nodes": [
                    {"kind": "DELETED", "note": "done", "version": 2},
                    {"kind": "CREATED", "note": None, "version": 1},
                ]
            },
        },
        "named": None,
        "live": {"totalCount": 0},
        "all": {"totalCount": 1},
        "deleted": {"totalCount": 1},
    }
    await api.schedule(agent_id, name="nightly")


@pytest.mark.parametrize("mutation", ["pauseSchedule", "resumeSchedule", "deleteSchedule"])
async def test_an_action_answers_each_failure(api: Api, mutation: str) -> None:
    schedule_id = await api.schedule(await api.agent(), paused=mutation == "resumeSchedule")

    conflict = await api.change(mutation, {"id": schedule_id, "expectedVersion": 2})
    invalid = await api.change(mutation, {"id": schedule_id, "note": "\x00" * 2000})
    missing = await api.change(mutation, {"id": UNKNOWN})

    assert conflict["__typename"] == "VersionConflict"
    assert (invalid["__typename"], invalid["path"]) == ("InvalidInput", ["input", "note"])
    assert (missing["__typename"], missing["path"]) == ("NotFound", ["input", "id"])


@pytest.mark.parametrize("mutation", ["pauseSchedule", "resumeSchedule", "deleteSchedule", "triggerSchedule"])
async def test_a_schedule_that_is_not_there_is_not_found(api: Api, mutation: str) -> None:
    agent_id = await api.agent()
    schedule_id = await api.schedule(agent_id)

    for caller, missing in ((api, "nonsense"), (api, agent_id), (api, "Schedule:"), (api.other(), schedule_id)):
        answer = await caller.change(mutation, {"id": missing})
        assert (answer["__typename"], answer["path"]) == ("NotFound", ["input", "id"])


async def test_two_changes_in_one_operation_are_each_shown_as_they_were_after_it(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent())

    answer = await api.ask(
        """mutation($id: ID!) {
          pauseSchedule(input: {id: $id}) { ... on SchedulePaused { schedule { version live { paused } } } }
          resumeSchedule(input: {id: $id}) { ... on ScheduleResumed { schedule { version live { paused } } } }
        }""",
        id=schedule_id,
    )

    assert answer == {
        "pauseSchedule": {"schedule": {"version": 2, "live": {"paused": True}}},
        "resumeSchedule": {"schedule": {"version": 3, "live": {"paused": False}}},
    }
