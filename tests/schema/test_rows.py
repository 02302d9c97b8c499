"""What plans read out of rows is what graphql-core makes of the same rows' attributes."""

import pytest
from graphql import parse

from schema.graph import AgentRow, ScheduleRow
from schema.rows import Row
from services.schedule_rows import ALWAYS_READ
from tests.schema.api import SCHEMA, Api
from tests.schema.plans.comparing import Comparison

SCHEDULE = """
    __typename id name description startAt endAt jitterSeconds overlapPolicy missedFirePolicy catchUpWindowSeconds
    onUnknown retryHorizonSeconds paused pauseNote pauseAfterFailures state version createdAt updatedAt deletedAt
    cadence { __typename ... on CronCadence { expression } ... on IntervalCadence { everySeconds } }
    initialInput { content } taskParams taskMetadata labels { key value } creator { userId } clock { status }
"""
NAMED = "__typename id name protocol status deliveryMethod"
AGENT = f"{NAMED} description url version createdAt updatedAt deletedAt"
PAGE = "{ schedules(filter: {includeDeleted: true}) { edges { cursor node { %s } } pageInfo { endCursor } } }"
DOCUMENTS = (
    PAGE % SCHEDULE,
    PAGE % f"name agent {{ {NAMED} }}",
    PAGE % f"{SCHEDULE} deliveryMethod agent {{ {AGENT} schedules {{ nodes {{ {SCHEDULE} }} }} }}",
    PAGE % "... on Node { id } viewerCan { update { allowed } } lastRun { id } agent { ... on Node { id } name }",
    "{ agents { nodes { name schedules { nodes { createdAt agent { name status } } } } } }",
)


@pytest.fixture
async def filled(api: Api) -> Api:
    """Schedules with all that can be null and without, one of them deleted."""
    agents = [await api.agent(protocol=each) for each in ("SYNC", "ASYNC", "AGENTIC")]
    times = {"startAt": "2026-03-01T09:00:00.000120Z", "endAt": "2099-03-01T09:00:00Z"}
    plain = await api.schedule(agents[0])
    await api.schedule(agents[1], description="All.", pauseAfterFailures=3, taskParams={"a": 1}, **times)
    await api.schedule(agents[2], cadence={"interval": {"everySeconds": 60}}, overlapPolicy="ALLOW", onUnknown="HOLD")
    await api.change("deleteSchedule", {"id": plain, "expectedVersion": 1})
    return api


async def test_plans_read_from_rows_what_the_attributes_are(filled: Api) -> None:
    comparison = Comparison(SCHEMA)
    for text in DOCUMENTS:
        (answer,) = await comparison.run(parse(text), {}, filled.context())
        assert answer[1] == []
    assert comparison.used > len(DOCUMENTS)
    assert comparison.abandoned == 0


async def test_one_by_its_id_too(filled: Api) -> None:
    nodes = (await filled.ask("{ schedules { nodes { id } } }"))["schedules"]["nodes"]
    document = parse(f"query ($id: ID!) {{ schedule(by: {{id: $id}}) {{ {SCHEDULE} agent {{ {AGENT} }} }} }}")
    comparison = Comparison(SCHEMA)
    for each in (*nodes, {"id": "Schedule:00000000-0000-0000-0000-000000000000"}, {"id": "none"}):
        await comparison.run(document, each, filled.context())
    assert comparison.used > len(nodes)
    assert comparison.abandoned == 0


async def test_with_a_provider_agents_are_read_whole_and_asked_about(ada: Api) -> None:
    agent_id = await ada.agent()
    await ada.schedule(agent_id)
    comparison = Comparison(SCHEMA)
    document = parse(PAGE % f"name deliveryMethod agent {{ {NAMED} }}")
    (answer,) = await comparison.run(document, {}, ada.context())
    assert f'"id": "{agent_id}"' in answer[0]
    assert answer[1] == []


def test_columns_stand_where_the_rows_have_them() -> None:
    for class_ in (AgentRow, ScheduleRow):
        assert issubclass(class_, Row)
        assert class_.columns["id"].kind == class_.__bases__[1].__name__
    places = {name: column.place for name, column in ScheduleRow.columns.items()}
    assert [places[name] for name in ALWAYS_READ] == [*range(len(ALWAYS_READ))]


def test_a_row_has_the_attributes_that_were_read_of_it_and_no_others() -> None:
    row = AgentRow(("key", "name", "SYNC", "ACTIVE"))
    assert (row.id, row.delivery_method.value) == ("Agent:key", "MESSAGE_SEND")
    for absent in ("url", "value", "__as_strawberry_type__"):
        assert not hasattr(row, absent)
