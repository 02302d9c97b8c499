"""Inputs of which exactly one field is to be given."""

from typing import Any

import pytest

from tests.schema.api import Api, creation

ONLY_ONE = "Give one of cron and interval, and only one."
BREACHES: list[dict[str, Any]] = [
    {},
    {"cron": {"expression": "0 9 * * *"}, "interval": {"everySeconds": 60}},
    {"cron": None},
    {"cron": None, "interval": None},
]


@pytest.mark.parametrize("cadence", BREACHES, ids=str)
async def test_none_or_both_cadences_are_one_issue_among_the_others(api: Api, cadence: dict[str, Any]) -> None:
    agent = await api.agent()
    answer = await api.change("createSchedule", creation(agent, cadence=cadence, name="Not a name"))
    assert answer["__typename"] == "InvalidInput"
    issues = {tuple(issue["path"]): issue["message"] for issue in answer["issues"]}
    assert issues.keys() == {("input", "cadence"), ("input", "name")}
    assert issues["input", "cadence"] == ONLY_ONE


async def test_an_update_with_both_changes_nothing(api: Api) -> None:
    schedule = await api.schedule(await api.agent())
    answer = await api.change("updateSchedule", {"id": schedule, "expectedVersion": 1, "cadence": BREACHES[1]})
    assert answer["issues"] == [{"path": ["input", "cadence"], "message": ONLY_ONE}]
    data = await api.ask("query ($id: ID!) { schedule(by: {id: $id}) { version } }", id=schedule)
    assert data["schedule"]["version"] == 1


async def test_the_schema_says_one_of_to_its_readers(api: Api) -> None:
    data = await api.ask('{ __type(name: "CadenceInput") { isOneOf } }')
    assert data["__type"]["isOneOf"] is True


async def test_other_one_of_inputs_are_refused_as_broken_requests(api: Api) -> None:
    _, errors = await api.answer("query ($by: ScheduleRef!) { schedule(by: $by) { id } }", by={})
    assert len(errors) == 1
