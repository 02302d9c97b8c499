"""Backfills, as a caller sees them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from schema.scalars import show_time
from services.tables import skipped_fires
from tests.schema.api import Api
from tests.stack import Stack

UNKNOWN = "Schedule:00000000-0000-7000-8000-000000000000"
DAILY = {"cadence": {"cron": {"expression": "0 9 * * *", "timeZone": "Europe/Berlin"}}}
WEEKEND = {"from": "2025-03-29T08:00:00Z", "to": "2025-03-31T07:00:00Z"}
"""The clocks are put forward in between; both ends are due times."""
FIRES = ["2025-03-29T08:00:00Z", "2025-03-30T07:00:00Z", "2025-03-31T07:00:00Z"]
FIELDS = "... on BackfillPlanned { fires schedule { id } } ... on BackfillStarted { fires schedule { id } }"


async def backfilled(api: Api, schedule_id: str, **values: Any) -> dict[str, Any]:
    return await api.change("backfillSchedule", {"id": schedule_id, **WEEKEND, **values}, FIELDS)


async def runs_of(api: Api, schedule_id: str) -> list[dict[str, Any]]:
    document = """query($id: ID!) { schedule(by: {id: $id}) { runs {
      nodes { trigger fireAt status scheduleVersion task { name metadata } }
    } } }"""
    found: list[dict[str, Any]] = (await api.ask(document, id=schedule_id))["schedule"]["runs"]["nodes"]
    return found


async def test_a_dry_run_lists_what_would_run_and_does_nothing(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), **DAILY)

    answer = await backfilled(api, schedule_id, dryRun=True, idempotencyKey="k")

    assert answer == {"__typename": "BackfillPlanned", "fires": FIRES, "schedule": {"id": schedule_id}}
    assert await runs_of(api, schedule_id) == []


async def test_each_due_time_is_run_once_however_often_it_is_asked_for(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), **DAILY, paused=True, overlapPolicy="SKIP")

    part = await backfilled(api, schedule_id, to=FIRES[1])
    rest = await backfilled(api, schedule_id)
    none = await backfilled(api, schedule_id)
    plan = await backfilled(api, schedule_id, dryRun=True)

    assert (part["__typename"], part["fires"]) == ("BackfillStarted", FIRES[:2])
    assert (rest["fires"], none["fires"], plan["fires"]) == (FIRES[2:], [], [])
    found = await runs_of(api, schedule_id)
    assert [run["fireAt"] for run in found] == FIRES[::-1]
    assert {(run["trigger"], run["status"], run["scheduleVersion"]) for run in found} == {("BACKFILL", "CLAIMED", 1)}
    plain = schedule_id.removeprefix("Schedule:")
    assert [run["task"]["name"] for run in found] == [f"scheduled-run:{plain}:{at}" for at in FIRES[::-1]]
    assert {run["task"]["metadata"]["trigger_type"] for run in found} == {"backfill"}


async def test_one_key_gives_one_answer(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), **DAILY)

    first, again = [await backfilled(api, schedule_id, idempotencyKey="once") for _ in range(2)]
    other = await backfilled(api, schedule_id, idempotencyKey="once", to=FIRES[1])

    assert first == again
    assert first["fires"] == FIRES
    assert other["__typename"] == "IdempotencyKeyReused"
    assert len(await runs_of(api, schedule_id)) == 3


async def test_what_someone_asked_to_skip_is_not_run_though_no_run_says_so(running: Stack, api: Api) -> None:
    # given a due time that was skipped, and that nothing claimed, since the schedule was paused
    schedule_id = await api.schedule(await api.agent(), **DAILY, paused=True)
    skip = {"schedule_id": UUID(schedule_id.removeprefix("Schedule:")), "fire_at": datetime.fromisoformat(FIRES[1])}
    async with running.base.database.transaction() as connection:
        await connection.execute(skipped_fires.insert().values(skip))

    plan, started = [await backfilled(api, schedule_id, dryRun=dry) for dry in (True, False)]

    assert plan["fires"] == started["fires"] == [FIRES[0], FIRES[2]]
    assert [run["fireAt"] for run in await runs_of(api, schedule_id)] == [FIRES[2], FIRES[0]]


async def test_a_refused_backfill_leaves_its_key_free(api: Api) -> None:
    agent_id = await api.agent()
    schedule_id = await api.schedule(agent_id, **DAILY)
    await api.change("deleteAgent", {"id": agent_id})

    refused = [
        await backfilled(api, schedule_id, idempotencyKey="once"),
        await backfilled(api, schedule_id, idempotencyKey="once", note="other"),
        await backfilled(api, schedule_id, dryRun=True),
    ]

    for answer in refused:
        assert (answer["__typename"], answer["path"]) == ("InvalidInput", ["input", "id"])


async def test_only_what_lies_in_the_window_is_due(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), **DAILY, startAt="2025-03-30T00:00:00Z")

    assert (await backfilled(api, schedule_id, dryRun=True))["fires"] == FIRES[1:]


@pytest.mark.parametrize(("every", "number"), [(60, "1,441"), (1, "10,000 or more")])
async def test_too_many_due_times_are_counted_and_refused(api: Api, every: int, number: str) -> None:
    schedule_id = await api.schedule(await api.agent(), cadence={"interval": {"everySeconds": every}}, paused=True)

    answer = await backfilled(api, schedule_id, **{"from": "2025-01-01T00:00:00Z", "to": "2025-01-02T00:00:00Z"})

    assert answer["__typename"] == "InvalidInput"
    assert f"these are {number}." in answer["message"]
    assert await runs_of(api, schedule_id) == []


async def test_a_thousand_due_times_are_run_at_once(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), cadence={"interval": {"everySeconds": 60}})

    answer = await backfilled(api, schedule_id, **{"from": "2025-01-01T00:01:00Z", "to": "2025-01-01T16:40:00Z"})

    assert len(answer["fires"]) == 1000
    document = "query($id: ID!) { schedule(by: {id: $id}) { runs { totalCount } } }"
    assert await api.ask(document, id=schedule_id) == {"schedule": {"runs": {"totalCount": 1000}}}


async def test_everything_that_is_wrong_with_a_span_is_said(api: Api) -> None:
    agent_id = await api.agent()
    schedule_id = await api.schedule(agent_id, **DAILY)
    tomorrow = show_time(datetime.now(UTC) + timedelta(days=1))

    wrong = await backfilled(
        api, schedule_id, **{"from": "1969-12-31T00:00:00Z", "to": tomorrow}, note="\x00", idempotencyKey=" "
    )
    unreadable = await backfilled(api, schedule_id, **{"from": "then", "to": "2025-01-01T00:00:00"})
    backwards = await backfilled(api, schedule_id, **{"from": FIRES[1], "to": FIRES[0]})
    missing = await backfilled(api, UNKNOWN)
    foreign = await backfilled(api.other(), schedule_id)
    await api.change("deleteAgent", {"id": agent_id})
    gone = await backfilled(api, schedule_id)

    assert {".".join(issue["path"]) for issue in wrong["issues"]} == {
        "input.from",
        "input.to",
        "input.note",
        "input.idempotencyKey",
    }
    assert [issue["path"][1] for issue in unreadable["issues"]] == ["from", "to"]
    assert [issue["path"][1] for issue in backwards["issues"]] == ["to"]
    assert missing["__typename"] == foreign["__typename"] == "NotFound"
    assert (gone["__typename"], gone["path"]) == ("InvalidInput", ["input", "id"])
