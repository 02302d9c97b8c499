from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from resolvers.ids import Kind, key_of
from services.cadence import Cron
from services.cadence import compile as compile_cadence
from services.calendar import fires
from services.errors import InvalidInput
from services.live import Counters, Live, LiveStatus, LiveValues
from services.live_reader import Wanted
from services.tables import skipped_fires
from tests.schema.api import Api, creation
from tests.stack import Stack
from tests.statements import statements

HOURLY = {"cron": {"expression": "0 * * * *"}}
LIVE = """{
  status nextFireAt nextFires skippedFires lastFireAt paused
  fireCount overlapSkippedCount missedCatchUpCount runningWorkflowCount asOf
}"""
ONE = f"query($id: ID!) {{ schedule(by: {{id: $id}}) {{ live {LIVE} }} }}"
NOW = datetime(2090, 1, 1, tzinfo=UTC)


def shown(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


class Told:
    """Stands for Temporal: answers everything alike, and keeps what was asked."""

    def __init__(self, status: LiveStatus = LiveStatus.AVAILABLE, *, counters: bool = False) -> None:
        self.asked: list[list[Wanted]] = []
        told = Counters(fire_count=1, overlap_skipped=2, missed_catch_up=3, running_workflows=4) if counters else None
        values = LiveValues(version=1, paused=False, next_fires=(NOW,), last_fire_at=None, counters=told, as_of=NOW)
        self._live = Live(status, values if status is LiveStatus.AVAILABLE else None)

    async def read(self, wanted: list[Wanted]) -> list[Live]:
        self.asked.append(wanted)
        return [self._live] * len(wanted)


async def skip(running: Stack, schedule_id: str, *times: datetime) -> None:
    rows = [{"schedule_id": key_of(Kind.SCHEDULE, schedule_id), "fire_at": at} for at in times]
    async with running.base.database.transaction() as connection:
        await connection.execute(skipped_fires.insert().values(rows))


async def test_a_schedule_shows_what_temporal_says_of_it(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), cadence=HOURLY)

    live = (await api.ask(ONE, id=schedule_id))["schedule"]["live"]

    as_of = datetime.fromisoformat(live.pop("asOf"))
    times = [shown(at) for at in islice(fires(compile_cadence(Cron("0 * * * *")), as_of), 5)]
    assert live == {
        "status": "AVAILABLE",
        "nextFireAt": times[0],
        "nextFires": times,
        "skippedFires": [],
        "lastFireAt": None,
        "paused": False,
        "fireCount": 0,
        "overlapSkippedCount": 0,
        "missedCatchUpCount": 0,
        "runningWorkflowCount": 0,
    }


async def test_fires_past_temporals_own_are_worked_out_and_skipped_ones_left_out(running: Stack, api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), cadence=HOURLY)
    times = list(islice(fires(compile_cadence(Cron("0 * * * *")), datetime.now(UTC)), 40))
    skipped = [times[0], times[3], times[20]]
    await skip(running, schedule_id, *skipped)

    answer = await api.ask(
        "query($id: ID!) { schedule(by: {id: $id}) { live { nextFireAt nextFires(first: 30) skippedFires } } }",
        id=schedule_id,
    )

    wanted = [shown(at) for at in times if at not in skipped][:30]
    assert answer["schedule"]["live"] == {
        "nextFireAt": wanted[0],
        "nextFires": wanted,
        "skippedFires": [shown(at) for at in skipped],
    }


async def test_a_skipped_fire_is_left_out_though_temporal_moves_it_by_jitter(running: Stack, api: Api) -> None:
    schedule_id = await api.schedule(await api.agent(), cadence=HOURLY, jitterSeconds=600)
    times = list(islice(fires(compile_cadence(Cron("0 * * * *")), datetime.now(UTC)), 15))
    await skip(running, schedule_id, times[1])

    answer = await api.ask(
        "query($id: ID!) { schedule(by: {id: $id}) { live { nextFires(first: 14) } } }", id=schedule_id
    )

    found = [datetime.fromisoformat(text) for text in answer["schedule"]["live"]["nextFires"]]
    for nominal, at in zip([times[0], *times[2:]], found, strict=True):
        assert nominal <= at < nominal + timedelta(hours=1)


async def test_a_schedule_that_ends_has_no_fires_past_its_end(api: Api) -> None:
    now = datetime.now(UTC)
    end = shown(now + timedelta(hours=3))
    schedule_id = await api.schedule(await api.agent(), cadence=HOURLY, endAt=end)

    answer = await api.ask("query($id: ID!) { schedule(by: {id: $id}) { live { nextFires } } }", id=schedule_id)

    assert len(answer["schedule"]["live"]["nextFires"]) == 3


@pytest.mark.parametrize("status", [LiveStatus.AVAILABLE, LiveStatus.TIMED_OUT])
async def test_more_fires_than_a_page_are_refused(api: Api, status: LiveStatus) -> None:
    schedule_id = await api.schedule(await api.agent())
    document = "query($id: ID!, $first: Int) { schedule(by: {id: $id}) { live { nextFires(first: $first) } } }"

    for first in (0, -1, 101):
        error = await api.swapped(live=Told(status)).refusal(document, id=schedule_id, first=first)
        assert isinstance(error, InvalidInput)
        assert error.path == ("first",)


@pytest.mark.parametrize("status", [LiveStatus.UNAVAILABLE, LiveStatus.TIMED_OUT, LiveStatus.NOT_SYNCED])
async def test_without_an_answer_the_values_are_null_and_the_status_says_why(
    running: Stack, api: Api, status: LiveStatus
) -> None:
    schedule_id = await api.schedule(await api.agent())
    await skip(running, schedule_id, NOW)

    live = (await api.swapped(live=Told(status)).ask(ONE, id=schedule_id))["schedule"]["live"]

    assert live.pop("status") == status
    assert live.pop("skippedFires") == [shown(NOW)]
    assert set(live.values()) == {None}


async def test_all_schedules_of_a_request_are_read_at_once(api: Api) -> None:
    agent_id = await api.agent()
    ids = [await api.schedule(agent_id) for _ in range(3)]
    told = Told()

    await api.swapped(live=told).ask(
        """query($id: ID!) {
          schedules { nodes { live { status } again: live { paused } } }
          schedule(by: {id: $id}) { live { asOf } }
        }""",
        id=ids[0],
    )

    asked = [(wanted.schedule.id, wanted.fresh, wanted.counters) for batch in told.asked for wanted in batch]
    assert sorted(asked) == sorted((key_of(Kind.SCHEDULE, each), False, False) for each in ids)


SELECTIONS = {
    "live { status nextFires lastFireAt paused asOf }": False,
    "live { fireCount }": True,
    "live { status } live { overlapSkippedCount }": True,
    "live { ... { ... on LiveSchedule { missedCatchUpCount } } }": True,
    "live { ...Counted }": True,
    "live { status @skip(if: true) fireCount @include(if: $no) }": False,
    "live { status ...Counted @skip(if: $yes) }": False,
    "live { status ... @include(if: false) { fireCount } }": False,
    "live { status fireCount @include(if: $yes) @skip(if: $no) }": True,
    "live { status fireCount: asOf }": False,
}


async def test_counters_are_asked_for_only_when_selected(api: Api) -> None:
    await api.schedule(await api.agent())

    for selection, counters in SELECTIONS.items():
        told = Told(counters=True)
        document = f"""query($yes: Boolean = true, $no: Boolean = false) {{
          schedules {{ nodes {{ {selection} used: name @include(if: $yes) @skip(if: $no) }} }}
        }}"""
        if "Counted" in selection:
            document += " fragment Counted on LiveSchedule { runningWorkflowCount }"

        await api.swapped(live=told).ask(document)

        assert [(selection, wanted.counters) for batch in told.asked for wanted in batch] == [(selection, counters)]


async def test_what_an_operation_has_changed_is_read_strongly(api: Api) -> None:
    told = Told()
    fields = "... on ScheduleCreated { schedule { live { status } } }"

    await api.swapped(live=told).change("createSchedule", creation(await api.agent()), fields)

    assert [[wanted.fresh for wanted in batch] for batch in told.asked] == [[True]]


async def test_nothing_is_asked_of_temporal_unless_live_is_selected(api: Api) -> None:
    await api.schedule(await api.agent())
    told = Told()

    await api.swapped(live=told).ask("{ schedules { nodes { id clock { status temporalUrl } lastRun { id } } } }")

    assert told.asked == []


async def test_a_page_costs_two_statements_whatever_its_length(running: Stack, api: Api) -> None:
    for _ in range(3):
        agent_id = await api.agent()
        for _ in range(2):
            schedule_id = await api.schedule(agent_id, cadence=HOURLY)
            await api.change("triggerSchedule", {"id": schedule_id})
    document = f"""{{
      schedules {{ nodes {{
        id name agent {{ name }} deliveryMethod lastRun {{ status agent {{ name }} schedule {{ name }} }}
        live {LIVE}
      }} }}
    }}"""
    await skip(running, schedule_id, NOW)

    with statements(running.base.database) as found:
        answer = await api.ask(document.replace("schedule { name } }", "}"))
    with statements(running.base.database) as without_live:
        await api.ask("{ schedules { nodes { id name } } }")

    assert len(answer["schedules"]["nodes"]) == 6
    assert all(node["lastRun"] for node in answer["schedules"]["nodes"])
    assert answer["schedules"]["nodes"][0]["live"]["skippedFires"] == [shown(NOW)]
    assert len(found) == 2, found  # the page with what stands beside it, and the agents of the last runs
    assert len(without_live) == 1
    assert "skipped_fires" not in without_live[0]


async def test_the_clock_is_shown_as_postgres_knows_it(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent())
    document = """query($id: ID!) {
      schedule(by: {id: $id}) { clock { status appliedVersion appliedAt error temporalScheduleId temporalUrl } }
    }"""

    clock: dict[str, Any] = (await api.ask(document, id=schedule_id))["schedule"]["clock"]

    temporal_id = f"agent-run-schedule:{key_of(Kind.SCHEDULE, schedule_id)}"
    assert datetime.fromisoformat(clock.pop("appliedAt")) <= datetime.now(UTC)
    assert clock == {
        "status": "IN_SYNC",
        "appliedVersion": 1,
        "error": None,
        "temporalScheduleId": temporal_id,
        "temporalUrl": f"http://temporal.test/namespaces/default/schedules/{temporal_id.replace(':', '%3A')}",
    }


async def test_schedules_with_params_and_metadata_are_read_like_any_other(api: Api) -> None:
    agent_id = await api.agent()
    for _ in range(2):
        await api.schedule(agent_id, taskParams={"a": 1}, taskMetadata={"team": "ops"})

    answer = await api.ask("{ schedules { nodes { live { status } } } }")

    assert answer == {"schedules": {"nodes": [{"live": {"status": "AVAILABLE"}}] * 2}}
