"""What a page costs in statements and calls: held here, so that no change makes it a statement a row."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from graphql import parse
from graphql.execution import ExperimentalIncrementalExecutionResults
from sqlalchemy import insert

from nextfire.embedded import Temporal
from resolvers.context import Context
from schema.plain_fields import PlainFields
from schema.plans import Plans
from schema.program import Program
from services.agent import Agent
from services.live_reader import LiveReader
from services.principals import OPEN_ACTOR
from services.run import RunStatus, RunTrigger, run_id
from services.schedule import ClockStatus, Schedule
from services.tables import runs
from tests.clocks import CountingClock
from tests.schema.api import SCHEMA, Api
from tests.schema.plans.comparing import operations
from tests.stack import YEARLY, Stack, stack
from tests.statements import statements
from tests.waiting import eventually

SIZE = 50
PATIENT = timedelta(seconds=30)
PAGE = """{
  schedules(first: 50) {
    nodes {
      id name
      cadence { __typename ... on CronCadence { expression description } }
      agent { name status }
      clock { status }
      live { status nextFireAt nextFires(first: 3) paused lastFireAt asOf }
      lastRun { status latencyMs }
    }
    pageInfo { hasNextPage endCursor }
    totalCount
  }
}"""


@pytest.fixture
async def running(database_url: str, temporal: Temporal) -> AsyncIterator[Stack]:
    async with stack(database_url, temporal.address, worker=False) as built:
        yield built


async def page_of(running: Stack, size: int = SIZE) -> list[Schedule]:
    """Schedules of five agents, applied and visible, each with a run."""
    agents = [await running.agent("http://127.0.0.1:9") for _ in range(5)]
    made = [await running.schedule(agents[number % 5], YEARLY) for number in range(size)]
    await add_runs(running, {agent.id: agent for agent in agents}, made)
    ids = [schedule.id for schedule in made]

    async def visible() -> bool | None:
        listed = await running.base.clock.look_up(ids, timeout=PATIENT)
        return True if len(listed) == size else None

    async def applied() -> list[Schedule] | None:
        found = await running.services.schedule_queries.get_many(OPEN_ACTOR, ids)
        in_sync = [each for each in found.values() if each.clock.status is ClockStatus.IN_SYNC]
        return in_sync if len(in_sync) == size else None

    await eventually(visible)
    return await eventually(applied)


async def add_runs(running: Stack, agents: dict[UUID, Agent], made: list[Schedule]) -> None:
    rows = [
        {
            "id": run_id(schedule.id, "manual:1"),
            "account_id": OPEN_ACTOR.account_id,
            "schedule_id": schedule.id,
            "agent_id": agents[schedule.agent_id].id,
            "fire_key": "manual:1",
            "trigger": RunTrigger.MANUAL,
            "fire_at": schedule.created_at,
            "status": RunStatus.FAILED,
            "schedule_version": 1,
            "finished_at": schedule.created_at,
            "temporal_workflow_id": "none",
        }
        for schedule in made
    ]
    async with running.base.database.transaction() as connection:
        await connection.execute(insert(runs).values(rows))


async def test_a_page_with_agent_live_last_run_and_count_is_one_statement_and_one_call(running: Stack) -> None:
    # given a page of fifty
    await page_of(running)
    clock = CountingClock(running.base.clock)
    live = LiveReader(clock, budget=PATIENT)
    api = Api(running.services).swapped(live=live)
    # when it is asked for with all that comes from elsewhere
    with statements(running.base.database) as sent:
        data = await api.ask(PAGE)
    # then it took one statement and one list call
    nodes = data["schedules"]["nodes"]
    assert data["schedules"]["totalCount"] == SIZE
    assert len(nodes) == SIZE
    assert {node["live"]["status"] for node in nodes} == {"AVAILABLE"}
    assert {node["lastRun"]["status"] for node in nodes} == {"FAILED"}
    assert len(sent) == 1, sent
    assert (clock.lists, clock.describes) == ([SIZE], 0)


async def test_what_is_not_selected_costs_nothing(running: Stack) -> None:
    agent = await running.agent("http://127.0.0.1:9")
    await running.schedule(agent)
    clock = CountingClock(running.base.clock)
    api = Api(running.services).swapped(live=LiveReader(clock, budget=PATIENT))
    with statements(running.base.database) as sent:
        await api.ask("{ schedules { nodes { id name } } }")
    assert len(sent) == 1, sent
    assert not any(costly in sent[0] for costly in ("count(", "runs", "JOIN", "initial_input", "cron_expression"))
    assert (clock.lists, clock.describes) == ([], 0)


async def test_one_schedule_with_agent_and_last_run_is_one_statement(running: Stack) -> None:
    agent = await running.agent("http://127.0.0.1:9")
    schedule = await running.schedule(agent)
    await add_runs(running, {agent.id: agent}, [schedule])
    document = """query ($by: ScheduleRef!) {
      schedule(by: $by) { name deliveryMethod agent { name } lastRun { status } viewerCan { update { allowed } } }
    }"""
    for by in ({"id": f"Schedule:{schedule.id}"}, {"named": {"agentId": f"Agent:{agent.id}", "name": schedule.name}}):
        with statements(running.base.database) as sent:
            data = await Api(running.services).ask(document, by=by)
        assert data["schedule"] == {
            "name": schedule.name,
            "deliveryMethod": "MESSAGE_SEND",
            "agent": {"name": agent.name},
            "lastRun": {"status": "FAILED"},
            "viewerCan": {"update": {"allowed": True}},
        }
        assert len(sent) == 1, sent


async def test_a_page_behind_the_end_is_counted_all_the_same(running: Stack) -> None:
    agent = await running.agent("http://127.0.0.1:9")
    await running.schedule(agent)
    api = Api(running.services)
    end = (await api.ask("{ schedules { pageInfo { endCursor } } }"))["schedules"]["pageInfo"]["endCursor"]
    data = await api.ask("query ($after: String) { schedules(after: $after) { nodes { id } totalCount } }", after=end)
    assert data["schedules"] == {"nodes": [], "totalCount": 1}


async def test_one_schedule_and_a_page_with_counters_are_described(running: Stack) -> None:
    agent = await running.agent("http://127.0.0.1:9")
    first, _ = [await running.schedule(agent) for _ in range(2)]
    clock = CountingClock(running.base.clock)
    api = Api(running.services).swapped(live=LiveReader(clock, budget=PATIENT))
    data = await api.ask(
        "query ($id: ID!) { schedule(by: {id: $id}) { live { status fireCount } } }", id=f"Schedule:{first.id}"
    )
    assert data["schedule"]["live"] == {"status": "AVAILABLE", "fireCount": 0}
    assert (clock.lists, clock.describes) == ([], 1)
    data = await api.ask("{ schedules { nodes { live { fireCount overlapSkippedCount } } } }")
    assert [node["live"]["fireCount"] for node in data["schedules"]["nodes"]] == [0, 0]
    assert (clock.lists, clock.describes) == ([], 3)


async def by_plans(running: Stack, document: str, context: Context) -> Any:
    """The answer to a document that has been asked before, as the endpoint runs it, with the statements for it."""
    parsed = parse(document)
    (operation,) = operations(parsed)
    program = Program(SCHEMA._schema, Plans(PlainFields(SCHEMA), parsed), parsed, operation)
    for _ in range(3):
        executor = program.executor(context.fresh(), {}, {}, max_errors=5)
        assert not isinstance(executor, list)
        with statements(running.base.database) as sent:
            result = await executor.execute_operation()  # type: ignore[misc]
    assert result.errors is None
    return result.data, sent


async def test_a_live_page_by_plans_is_one_statement_and_one_call(running: Stack) -> None:
    # given
    await page_of(running)
    clock = CountingClock(running.base.clock)
    api = Api(running.services).swapped(live=LiveReader(clock, budget=PATIENT, shared_for=timedelta(0)))
    # when
    data, sent = await by_plans(running, PAGE, api.context())
    # then
    assert len(sent) == 1, sent
    assert {node["live"]["status"] for node in data["schedules"]["nodes"]} == {"AVAILABLE"}
    assert all(node["live"]["nextFireAt"] == node["live"]["nextFires"][0] for node in data["schedules"]["nodes"])
    assert (clock.lists, clock.describes) == ([SIZE] * 3, 0)


async def test_a_deferred_live_page_asks_temporal_once_and_after_its_first_part(running: Stack) -> None:
    # given a document whose plans are there
    await page_of(running, size=5)
    clock = CountingClock(running.base.clock)
    api = Api(running.services).swapped(live=LiveReader(clock, budget=PATIENT, shared_for=timedelta(0)))
    parsed = parse(
        "{ schedules { nodes { id ... @defer { live { status nextFireAt } runs(first: 2) { nodes { id } } } } } }"
    )
    program = Program(SCHEMA._schema, Plans(PlainFields(SCHEMA), parsed), parsed, operations(parsed)[0])

    async def first_part() -> ExperimentalIncrementalExecutionResults:
        executor: Any = program.executor(api.context(), {}, {}, max_errors=5)
        result = await executor.execute_operation()
        assert isinstance(result, ExperimentalIncrementalExecutionResults)
        return result

    for _ in range(3):
        async for _part in (await first_part()).subsequent_results:
            pass
    clock.lists.clear()
    # when
    with statements(running.base.database) as sent:
        result = await first_part()
    # then
    assert [each.path for each in result.initial_result.pending] == [["schedules", "nodes", n] for n in range(5)]
    assert (len(sent), clock.lists) == (1, [])
    assert "skipped_fires" not in sent[0]
    with statements(running.base.database) as sent:
        (part,) = [each async for each in result.subsequent_results]
    entries: Any = part.incremental
    assert [each.data["live"]["status"] for each in entries] == ["AVAILABLE"] * 5
    assert (len(sent), clock.lists, clock.describes) == (2, [5], 0)  # the skips, and the runs


async def test_the_last_runs_of_a_page_are_one_statement(running: Stack) -> None:
    # given two schedules, one of which has a run
    agent = await running.agent("http://127.0.0.1:9")
    without, with_one = [await running.schedule(agent) for _ in range(2)]
    await add_runs(running, {agent.id: agent}, [with_one])
    api = Api(running.services)
    document = """{ schedules(orderBy: {field: CREATED_AT, direction: ASC}) { nodes {
        id runs(first: 3) { nodes { status } edges { cursor } pageInfo { hasNextPage hasPreviousPage } }
    } } }"""
    # when
    data, sent = await by_plans(running, document, api.context())
    # then it is what graphql-core answers
    assert len(sent) == 2, sent
    assert data == await api.ask(document)
    none, one = (node["runs"] for node in data["schedules"]["nodes"])
    assert none == {"nodes": [], "edges": [], "pageInfo": {"hasNextPage": False, "hasPreviousPage": False}}
    assert one["nodes"] == [{"status": "FAILED"}]
    assert [node["id"] for node in data["schedules"]["nodes"]] == [
        f"Schedule:{each}" for each in (without.id, with_one.id)
    ]
