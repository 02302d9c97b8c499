"""Single fires that are skipped, and what shows of it."""

import asyncio
from typing import Any

import pytest

from tests.schema.api import Api
from tests.schema.test_schedules import read, updated
from tests.schema.test_subscriptions import CHANGES, cursor

UNKNOWN = "Schedule:00000000-0000-7000-8000-000000000000"
FIRST, SECOND = "2037-11-01T05:30:00Z", "2037-11-01T06:30:00Z"
"""Both 01:30s of the day on which New York puts its clocks back."""
NEXT_DAY = "2037-11-02T06:30:00Z"
NIGHTLY = {
    "cadence": {"cron": {"expression": "30 1 * * *", "timeZone": "America/New_York"}},
    "startAt": "2037-11-01T00:00:00Z",
}
LIVE = "version live { nextFires(first: 3) skippedFires }"
HISTORY = "changes { nodes { version kind note fields { field before after } } }"


async def skipped(api: Api, schedule_id: str, at: str, mutation: str = "skipFire", **values: Any) -> dict[str, Any]:
    fields = "... on Fire{} {{ fireAt schedule {{ {} }} }}".format(
        "Skipped" if mutation == "skipFire" else "Unskipped", LIVE
    )
    return await api.change(mutation, {"id": schedule_id, "fireAt": at, **values}, fields)


async def test_a_skip_names_an_instant_where_the_wall_time_comes_twice(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), **NIGHTLY)
    assert await read(api, schedule_id, "live { nextFires(first: 2) }") == {"live": {"nextFires": [FIRST, SECOND]}}

    answer = await skipped(api, schedule_id, "2037-11-01T01:30:00-05:00", note="the second time")

    assert answer["__typename"] == "FireSkipped"
    assert answer["fireAt"] == SECOND
    assert answer["schedule"]["version"] == 2
    assert answer["schedule"]["live"]["skippedFires"] == [SECOND]
    assert answer["schedule"]["live"]["nextFires"][:2] == [FIRST, NEXT_DAY]


async def test_skips_and_unskips_are_changes_and_repeating_one_is_none(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), **NIGHTLY)
    after = await cursor(api)

    for _ in range(2):
        await skipped(api, schedule_id, NEXT_DAY)
    await asyncio.gather(*(skipped(api, schedule_id, FIRST, note="a holiday") for _ in range(4)))
    answers = [await skipped(api, schedule_id, NEXT_DAY, "unskipFire", note="not at all") for _ in range(2)]

    assert [answer["schedule"]["version"] for answer in answers] == [4, 4]
    assert [answer["fireAt"] for answer in answers] == [NEXT_DAY, NEXT_DAY]
    assert (await read(api, schedule_id, HISTORY))["changes"]["nodes"][:3] == [
        change(4, "UNSKIPPED", "not at all", [FIRST, NEXT_DAY], [FIRST]),
        change(3, "SKIPPED", "a holiday", [NEXT_DAY], [FIRST, NEXT_DAY]),
        change(2, "SKIPPED", None, [], [NEXT_DAY]),
    ]
    async with api.events(CHANGES, after=after) as events:
        told = [event["change"] for event in await events.take(3)]
    assert [(each["version"], each["kind"]) for each in told] == [(2, "SKIPPED"), (3, "SKIPPED"), (4, "UNSKIPPED")]
    assert {each["fields"][0]["field"] for each in told} == {"skippedFires"}


async def test_a_skip_is_kept_through_every_other_change(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), **NIGHTLY)
    await skipped(api, schedule_id, FIRST)

    hourly = {"cron": {"expression": "30 * * * *", "timeZone": "UTC"}}
    await updated(api, schedule_id, version=2, name="renamed", cadence=hourly)

    found = await read(api, schedule_id, f"{LIVE} {HISTORY}")
    assert found["live"]["skippedFires"] == [FIRST]
    assert FIRST not in found["live"]["nextFires"]
    assert [each["field"] for each in found["changes"]["nodes"][0]["fields"]] == ["name", "cadence"]


async def test_any_fire_to_come_can_be_skipped_and_no_other_time(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), **NIGHTLY, endAt="2050-01-01T00:00:00Z")

    far = await skipped(api, schedule_id, "2049-07-01T05:30:00Z")
    none = await skipped(api, schedule_id, "2037-11-01T07:00:00Z")
    fraction = await skipped(api, schedule_id, "2037-11-01T06:30:00.5Z", "unskipFire")
    early = await skipped(api, schedule_id, "2037-10-31T05:30:00Z")
    late = await skipped(api, schedule_id, "2050-01-01T06:30:00Z")

    assert far["__typename"] == "FireSkipped"
    assert (none["__typename"], none["path"]) == ("FireNotFound", ["input", "fireAt"])
    assert none["nearest"] == fraction["nearest"] == [SECOND, NEXT_DAY]
    assert none["message"].endswith(f"the nearest to come: {SECOND} and {NEXT_DAY}.")
    assert early["nearest"] == [FIRST]
    assert late["nearest"] == ["2049-12-31T06:30:00Z"]


@pytest.mark.parametrize("mutation", ["skipFire", "unskipFire"])
async def test_what_is_wrong_with_a_skip_is_said(api: Api, mutation: str) -> None:
    schedule_id = await api.schedule(await api.agent())

    past = await skipped(api, schedule_id, "2026-01-01T00:00:00Z", mutation)
    wrong = await skipped(api, schedule_id, "tomorrow", mutation, note="x" * 1001)
    far = await skipped(api, schedule_id, "9999-12-31T23:59:59.9Z", mutation)
    missing = await skipped(api, UNKNOWN, FIRST, mutation)
    foreign = await skipped(api.other(), schedule_id, "2090-01-01T00:00:00Z", mutation)

    assert [issue["path"] for issue in past["issues"]] == [["input", "fireAt"]]
    assert "has passed" in past["message"]
    assert [issue["path"] for issue in wrong["issues"]] == [["input", "fireAt"], ["input", "note"]]
    assert far["__typename"] == "InvalidInput"
    assert missing["__typename"] == foreign["__typename"] == "NotFound"


async def test_a_trigger_can_take_the_place_of_the_next_fire(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), **NIGHTLY)
    wanted = {"id": schedule_id, "skipNextFire": True, "note": "a day early"}
    fields = f"... on ScheduleTriggered {{ run {{ id trigger scheduleVersion }} schedule {{ {LIVE} {HISTORY} }} }}"

    once = await api.change("triggerSchedule", wanted | {"idempotencyKey": "once"}, fields)
    again = await api.change("triggerSchedule", wanted | {"idempotencyKey": "once"}, fields)
    other = await api.change("triggerSchedule", wanted | {"idempotencyKey": "once", "skipNextFire": False}, fields)
    more = await api.change("triggerSchedule", wanted, fields)

    assert once["run"] == again["run"]
    assert once["schedule"]["live"]["skippedFires"] == again["schedule"]["live"]["skippedFires"] == [FIRST]
    assert once["schedule"]["changes"]["nodes"][0] == change(2, "SKIPPED", "a day early", [], [FIRST])
    assert other["__typename"] == "IdempotencyKeyReused"
    assert more["schedule"]["live"]["skippedFires"] == [FIRST, SECOND]


def change(version: int, kind: str, note: str | None, before: list[str], after: list[str]) -> dict[str, Any]:
    field = {"field": "skippedFires", "before": before, "after": after}
    return {"version": version, "kind": kind, "note": note, "fields": [field]}
