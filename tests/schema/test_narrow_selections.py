"""What is read for a narrow selection is what a wide one answers."""

from typing import Any

from tests.schema.api import Api

FIELDS = (
    "id name description startAt endAt jitterSeconds overlapPolicy missedFirePolicy catchUpWindowSeconds onUnknown",
    "retryHorizonSeconds paused pauseNote pauseAfterFailures state version createdAt updatedAt deletedAt",
    "cadence { ... on CronCadence { expression timeZone description } }",
    "initialInput { type author content }",
    "taskParams",
    "taskMetadata",
    "labels { key value }",
    "creator { userId }",
    "clock { status appliedVersion error temporalScheduleId }",
    "agent { id name url }",
    "deliveryMethod",
    "lastRun { id }",
    "viewerCan { update { allowed } }",
    "runStats { total consecutiveFailures }",
    "changes { nodes { version } }",
    "live { paused nextFires(first: 12) }",
)


async def test_each_field_by_itself_is_as_among_all(api: Api) -> None:
    agent_id = await api.agent()
    labels = [{"key": "team", "value": "reports"}]
    given = await api.schedule(agent_id, taskParams={"a": 1}, taskMetadata={"b": [2]}, labels=labels)
    ways = ("schedules { nodes { %s } }", f'node(id: "{given}") {{ ... on Schedule {{ %s }} }}')
    whole = (await api.ask(f"{{ schedules {{ nodes {{ {' '.join(FIELDS)} }} }} }}"))["schedules"]["nodes"][0]
    assert whole["labels"] == labels
    assert (whole["taskParams"], whole["taskMetadata"]) == ({"a": 1}, {"b": [2]})
    for way in ways:
        alone: dict[str, Any] = {}
        for field in FIELDS:
            (found,) = (await api.ask(f"{{ {way % field} }}")).values()
            alone |= found["nodes"][0] if "nodes" in found else found
        assert alone == whole
