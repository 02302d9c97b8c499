from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from services.errors import InvalidInput
from services.principals import OPEN_ACTOR
from services.provider_authentication import actor_of
from services.retention import KEEP_KEYS, prune
from services.schedule_statements import ScheduleFilter
from services.tables import idempotency_keys
from tests.provider.scripted import principal
from tests.schema.api import Api
from tests.stack import Stack

RUN = """{
  id trigger status skipReason error { code } attempts { number } deliveryMethod scheduleVersion
  deliveredAt finishedAt latencyMs temporalWorkflowId temporalUrl
  schedule { id } agent { id }
  task { name displayName params metadata agent { id } messages { totalCount nodes { author content } } }
}"""
KEY = "once"
UNKNOWN = "Agent:00000000-0000-7000-8000-000000000000"


async def triggered(api: Api, schedule_id: str, fields: str = RUN, **values: Any) -> dict[str, Any]:
    fields = f"... on ScheduleTriggered {{ run {fields} schedule {{ id lastRun {{ id }} }} }}"
    return await api.change("triggerSchedule", {"id": schedule_id, **values}, fields)


async def test_a_triggered_run_is_there_at_once_and_a_paused_schedule_runs_too(api: Api) -> None:
    agent_id = await api.agent()
    schedule_id = await api.schedule(
        agent_id, name="nightly", paused=True, taskParams={"a": 1}, taskMetadata={"team": "ops"}
    )

    answer = await triggered(api, schedule_id, note="by hand")

    run = answer["run"]
    assert answer["schedule"] == {"id": schedule_id, "lastRun": {"id": run["id"]}}
    task, workflow = run.pop("task"), run.pop("temporalWorkflowId")
    assert run == {
        "id": run["id"],
        "trigger": "MANUAL",
        "status": "CLAIMED",
        "skipReason": None,
        "error": None,
        "attempts": [],
        "deliveryMethod": "MESSAGE_SEND",
        "scheduleVersion": 1,
        "deliveredAt": None,
        "finishedAt": None,
        "latencyMs": None,
        "temporalUrl": f"http://temporal.test/namespaces/default/workflows/{workflow.replace(':', '%3A')}",
        "schedule": {"id": schedule_id},
        "agent": {"id": agent_id},
    }
    assert task["displayName"] == "nightly"
    assert task["params"] == {"a": 1}
    assert task["metadata"]["team"] == "ops"
    assert task["agent"] == {"id": agent_id}
    assert task["messages"] == {"totalCount": 1, "nodes": [{"author": "USER", "content": "Write the report."}]}
    read = await api.ask(f"query($id: ID!) {{ run(id: $id) {RUN} }}", id=run["id"])
    assert read == {"run": run | {"task": task, "temporalWorkflowId": workflow}}


async def test_an_agent_is_run_without_a_schedule(api: Api) -> None:
    agent_id = await api.agent(protocol="ASYNC")
    wanted = {"agentId": agent_id, "initialInput": {"content": "Hello."}, "taskMetadata": {"display_name": "Now"}}

    answer = await api.change("runAgent", wanted, f"... on AgentRunStarted {{ run {RUN} }}")

    run = answer["run"]
    assert (run["schedule"], run["agent"], run["scheduleVersion"]) == (None, {"id": agent_id}, 0)
    assert (run["trigger"], run["deliveryMethod"], run["task"]["displayName"]) == ("MANUAL", "EVENT_SEND", "Now")


async def test_everything_that_is_wrong_with_a_run_of_an_agent_is_said_at_once(api: Api) -> None:
    wrong = {
        "agentId": UNKNOWN,
        "initialInput": {"content": ""},
        "taskParams": 5,
        "taskMetadata": {"a": "\x00"},
        "idempotencyKey": "x" * 201,
    }

    answer = await api.change("runAgent", wrong)

    assert answer["__typename"] == "InvalidInput"
    assert {".".join(issue["path"]) for issue in answer["issues"]} == {
        "input.initialInput.content",
        "input.taskParams",
        "input.taskMetadata",
        "input.idempotencyKey",
    }


@pytest.mark.parametrize("agent_id", [UNKNOWN, "nonsense", ""])
async def test_an_agent_that_is_not_there_cannot_be_run(api: Api, agent_id: str) -> None:
    answer = await api.change("runAgent", {"agentId": agent_id, "initialInput": {"content": "Hello."}})

    assert (answer["__typename"], answer["path"]) == ("NotFound", ["input", "agentId"])


async def test_one_idempotency_key_makes_one_run(api: Api) -> None:
    agent_id = await api.agent()
    schedule_id = await api.schedule(agent_id)
    asked = {"agentId": agent_id, "initialInput": {"content": "Hello."}, "idempotencyKey": "once-more"}

    first, again = [await triggered(api, schedule_id, "{ id }", idempotencyKey="once") for _ in range(2)]
    other = await triggered(api, schedule_id, "{ id }", idempotencyKey="once", note="other")
    run, same = [await api.change("runAgent", asked, "... on AgentRunStarted { run { id } }") for _ in range(2)]
    another = await api.change("runAgent", asked | {"initialInput": {"content": "Other."}})

    assert first == again
    assert run == same
    for refused in (other, another):
        assert (refused["__typename"], refused["path"]) == ("IdempotencyKeyReused", ["input", "idempotencyKey"])
    assert await api.ask("{ runs { totalCount } }") == {"runs": {"totalCount": 2}}


@pytest.mark.parametrize("mutation", ["triggerSchedule", "runAgent"])
async def test_a_key_is_one_callers_and_is_forgotten(running: Stack, api: Api, mutation: str) -> None:
    agent_id = await api.agent()
    schedule_id = await api.schedule(agent_id, cadence={"interval": {"everySeconds": 86_400}})
    ada, bob = [Api(running.services, actor_of(principal(name, api.actor.account_id))) for name in ("ada", "bob")]

    async def run(caller: Api, note: str) -> str:
        if mutation == "triggerSchedule":
            return str((await triggered(caller, schedule_id, "{ id }", idempotencyKey=KEY, note=note))["run"]["id"])
        asked = {"agentId": agent_id, "initialInput": {"content": note}, "idempotencyKey": KEY}
        return str((await caller.change("runAgent", asked, "... on AgentRunStarted { run { id } }"))["run"]["id"])

    # given two callers who happen on the same key
    first, other = await run(ada, "ada's"), await run(bob, "bob's")
    # when it is old enough to be forgotten, and used again
    async with running.base.database.transaction() as connection:
        await connection.execute(update(idempotency_keys).values(at=datetime.now(UTC) - KEEP_KEYS))
    await prune(running.base.database)
    again = await run(ada, "ada's")
    # then each has got a run of its own
    assert len({first, other, again}) == 3
    assert await api.ask("{ runs { totalCount } }") == {"runs": {"totalCount": 3}}


async def test_a_bad_trigger_is_refused(api: Api) -> None:
    answer = await triggered(api, await api.schedule(await api.agent()), idempotencyKey="", note="x" * 1001)

    assert [issue["path"] for issue in answer["issues"]] == [["input", "idempotencyKey"], ["input", "note"]]


async def test_runs_are_listed_the_latest_first_and_by_each_filter(api: Api) -> None:
    agent_id = await api.agent()
    schedule_id = await api.schedule(agent_id)
    ids = [(await triggered(api, schedule_id))["run"]["id"] for _ in range(3)]
    other = (await triggered(api, await api.schedule(await api.agent())))["run"]["id"]
    document = """query($filter: RunFilter, $orderBy: RunOrder, $first: Int, $after: String, $id: ID!) {
      runs(filter: $filter, orderBy: $orderBy, first: $first, after: $after) {
        edges { cursor node { id fireAt } } totalCount
      }
      schedule(by: {id: $id}) { runs(filter: $filter, first: $first, after: $after) { nodes { id } totalCount } }
    }"""

    async def found(**arguments: Any) -> list[str]:
        answer = await api.ask(document, id=schedule_id, **arguments)
        all_ids = [edge["node"]["id"] for edge in answer["runs"]["edges"]]
        own = [node["id"] for node in answer["schedule"]["runs"]["nodes"]]
        if not arguments.get("orderBy") and not arguments.get("first"):
            assert own == [each for each in all_ids if each != other]
        return all_ids

    latest_first = [other, *reversed(ids)]
    assert await found() == latest_first
    assert await found(orderBy={"field": "FIRE_AT"}) == latest_first[::-1]
    assert await found(filter={"scheduleIds": [schedule_id]}) == latest_first[1:]
    assert await found(filter={"agentIds": [agent_id]}) == latest_first[1:]
    assert await found(filter={"statuses": ["CLAIMED"], "triggers": ["MANUAL"]}) == latest_first
    assert await found(filter={"statuses": []}) == []
    assert await found(filter={"triggers": ["SCHEDULED"]}) == []
    edges = (await api.ask(document, id=schedule_id))["runs"]["edges"]
    second, third = edges[1]["node"]["fireAt"], edges[2]["node"]["fireAt"]
    assert await found(filter={"fireFrom": third, "fireTo": second}) == [latest_first[2]]
    assert await found(first=2, after=edges[0]["cursor"]) == latest_first[1:3]
    assert await api.other().ask("{ runs { totalCount } }") == {"runs": {"totalCount": 0}}


@pytest.mark.parametrize("name", ["fireFrom", "fireTo"])
async def test_a_time_in_a_filter_needs_an_offset(api: Api, name: str) -> None:
    error = await api.refusal(f'{{ runs(filter: {{{name}: "2026-01-01T00:00:00"}}) {{ totalCount }} }}')

    assert isinstance(error, InvalidInput)
    assert error.path == ("filter", name)


async def test_the_runs_of_a_schedule_are_counted(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent())
    await triggered(api, schedule_id)
    document = """query($id: ID!, $since: DateTime) {
      schedule(by: {id: $id}) {
        runStats(since: $since) {
          total delivered skipped missed failed p50LatencyMs p95LatencyMs consecutiveFailures
        }
      }
    }"""
    none = dict.fromkeys(["total", "delivered", "skipped", "missed", "failed", "consecutiveFailures"], 0)
    none |= dict.fromkeys(["p50LatencyMs", "p95LatencyMs"])  # type: ignore[arg-type]

    assert await api.ask(document, id=schedule_id) == {"schedule": {"runStats": none | {"total": 1}}}
    assert await api.ask(document, id=schedule_id, since="2090-01-01T00:00:00Z") == {"schedule": {"runStats": none}}
    error = await api.refusal(document, id=schedule_id, since="yesterday")
    assert isinstance(error, InvalidInput)
    assert error.path == ("since",)


async def test_messages_are_pages_forwards(api: Api) -> None:
    run = (await triggered(api, await api.schedule(await api.agent())))["run"]
    document = """query($id: ID!, $after: String) {
      run(id: $id) { task { messages(first: 1, after: $after) { edges { cursor } pageInfo { hasNextPage } } } }
    }"""

    one = (await api.ask(document, id=run["id"]))["run"]["task"]["messages"]
    rest = (await api.ask(document, id=run["id"], after=one["edges"][0]["cursor"]))["run"]["task"]["messages"]

    assert (len(one["edges"]), one["pageInfo"]) == (1, {"hasNextPage": False})
    assert rest == {"edges": [], "pageInfo": {"hasNextPage": False}}


async def test_schedules_are_found_by_the_status_of_their_last_run(api: Api) -> None:
    agent_id = await api.agent()
    schedule_id = await api.schedule(agent_id)
    await api.schedule(agent_id)
    await triggered(api, schedule_id)

    found = await api.ask("{ schedules(filter: {lastRunStatus: [CLAIMED]}) { nodes { id } } }")

    assert found == {"schedules": {"nodes": [{"id": schedule_id}]}}
    assert await api.services.schedule_queries.count(OPEN_ACTOR, ScheduleFilter()) == 2
