from typing import Any

import pytest

from tests.schema.api import Api

PREVIEW = """
  query($cadence: CadenceInput!, $startAt: DateTime, $endAt: DateTime, $after: DateTime, $first: Int = 5) {
    previewCadence(cadence: $cadence, startAt: $startAt, endAt: $endAt, after: $after, first: $first) {
      ... on CadencePreview { description fires { at localTime note } warnings }
      ... on InvalidInput { issues { path } }
    }
  }
"""


async def preview(api: Api, cadence: Any, **arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await api.ask(PREVIEW, cadence=cadence, **arguments))["previewCadence"]
    return found


def cron(expression: str, zone: Any = "UTC") -> dict[str, Any]:
    return {"cron": {"expression": expression, "timeZone": zone}}


async def test_a_cadence_is_shown_with_its_times(api: Api) -> None:
    found = await preview(api, cron("30 6 * * mon", "Asia/Kolkata"), after="2026-01-01T00:00:00Z", first=2)

    assert found == {
        "description": "At 06:30, only on Monday",
        "fires": [
            {"at": "2026-01-05T01:00:00Z", "localTime": "2026-01-05T06:30:00+05:30", "note": None},
            {"at": "2026-01-12T01:00:00Z", "localTime": "2026-01-12T06:30:00+05:30", "note": None},
        ],
        "warnings": [],
    }


async def test_an_interval_is_shown_in_utc(api: Api) -> None:
    found = await preview(
        api, {"interval": {"everySeconds": 90}}, startAt="2026-01-01T00:01:00+01:00", after="2020-01-01T00:00:00Z"
    )

    assert found["description"] == "Every 1 minute 30 seconds"
    assert found["fires"][0] == {
        "at": "2025-12-31T23:01:30Z",
        "localTime": "2025-12-31T23:01:30+00:00",
        "note": None,
    }
    assert len(found["fires"]) == 5


async def test_a_clock_change_is_told_of(api: Api) -> None:
    spring = await preview(api, cron("30 2 * * *", "Europe/Berlin"), after="2026-03-28T12:00:00Z", first=3)
    autumn = await preview(api, cron("30 2 * * *", "Europe/Berlin"), after="2026-10-24T12:00:00Z", first=1)

    assert [fire["localTime"][:10] for fire in spring["fires"]] == ["2026-03-30", "2026-03-31", "2026-04-01"]
    assert spring["warnings"] == ["02:30 does not exist on 29 March 2026: the clocks skip it, and it may not fire."]
    assert "comes twice" in autumn["fires"][0]["note"]


async def test_a_cadence_without_a_time_to_come_is_told_of(api: Api) -> None:
    found = await preview(api, cron("0 0 30 2 *"))

    assert found["fires"] == []
    assert len(found["warnings"]) == 1


async def test_everything_that_is_wrong_is_said_at_once(api: Api) -> None:
    found = await preview(
        api, cron("61 * * * *", "Nowhere"), startAt="soon", endAt=5, after="0001-01-01T00:00:00Z", first=101
    )

    assert [".".join(issue["path"]) for issue in found["issues"]] == [
        "startAt",
        "endAt",
        "cadence.cron.expression",
        "cadence.cron.timeZone",
        "after",
        "first",
    ]


@pytest.mark.parametrize(("first", "count"), [(None, 5), (1, 1), (100, 100)])
async def test_as_many_times_are_shown_as_asked_for(api: Api, first: int | None, count: int) -> None:
    assert len((await preview(api, cron("@hourly"), first=first))["fires"]) == count
