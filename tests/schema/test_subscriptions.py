"""Subscriptions, and the cursor that leads from a query to them without a hole."""

from typing import Any

import pytest

from services.errors import CursorExpired, InvalidInput
from tests.schema.api import Api

FIRES = """
  subscription($filter: RunFilter, $after: String) {
    fireStatus(filter: $filter, after: $after) {
      cursor at status previous run { id status trigger schedule { id } agent { id } task { name } }
    }
  }
"""
CHANGES = """
  subscription($filter: ScheduleFilter, $after: String) {
    scheduleChanged(filter: $filter, after: $after) {
      cursor at change { version kind note fields { field } } schedule { id state version agent { id } }
    }
  }
"""


async def cursor(api: Api) -> str:
    return str((await api.ask("{ eventCursor }"))["eventCursor"])


async def trigger(api: Api, schedule_id: str) -> str:
    answer = await api.change("triggerSchedule", {"id": schedule_id}, "... on ScheduleTriggered { run { id } }")
    return str(answer["run"]["id"])


async def test_what_happens_to_runs_is_told_from_the_cursor_on(api: Api) -> None:
    agent_id = await api.agent()
    schedule_id = await api.schedule(agent_id)
    await trigger(api, schedule_id)
    after = await cursor(api)
    ids = [await trigger(api, schedule_id) for _ in range(3)]

    async with api.events(FIRES, after=after) as events:
        found = await events.take(3)
        late = await trigger(api, schedule_id)
        last = await events.next()

    assert [event["run"]["id"] for event in [*found, last]] == [*ids, late]
    assert len({event["cursor"] for event in [*found, last]}) == 4
    assert (last["status"], last["previous"]) == ("CLAIMED", None)
    assert last["run"]["schedule"] == {"id": schedule_id}
    assert last["run"]["agent"] == {"id": agent_id}


async def test_who_comes_back_with_its_cursor_gets_every_event_once(api: Api) -> None:
    schedule_id = await api.schedule(await api.agent())
    after = await cursor(api)
    ids, found = [], []

    for _ in range(3):
        ids += [await trigger(api, schedule_id) for _ in range(4)]
        async with api.events(FIRES, after=after) as events:
            taken = await events.take(3)
        found += [event["run"]["id"] for event in taken]
        after = taken[-1]["cursor"]
    async with api.events(FIRES, after=after) as events:
        found += [event["run"]["id"] for event in await events.take(3)]

    assert found == ids


async def test_a_filter_is_kept_for_events(api: Api) -> None:
    first, second = await api.agent(), await api.agent()
    schedules = [await api.schedule(agent_id) for agent_id in (first, second, second)]
    after = await cursor(api)
    ids = [await trigger(api, schedule_id) for schedule_id in [*schedules, *schedules]]

    async def told(count: int, **filter: Any) -> list[str]:
        async with api.events(FIRES, after=after, filter=filter) as events:
            return [event["run"]["id"] for event in await events.take(count)]

    assert await told(6, statuses=["CLAIMED"], triggers=["MANUAL"], fireFrom="2020-01-01T00:00:00Z") == ids
    assert await told(2, scheduleIds=[schedules[1], "nonsense"]) == [ids[1], ids[4]]
    assert await told(4, agentIds=[second]) == [ids[1], ids[2], ids[4], ids[5]]


async def test_what_happens_to_schedules_is_told_deletion_included(api: Api) -> None:
    agent_id = await api.agent()
    after = await cursor(api)
    schedule_id = await api.schedule(agent_id, name="one")
    await api.change("updateSchedule", {"id": schedule_id, "expectedVersion": 1, "name": "two", "note": "why"})
    await api.change("pauseSchedule", {"id": schedule_id})
    await api.change("deleteSchedule", {"id": schedule_id})

    async with api.events(CHANGES, after=after) as events:
        found = await events.take(4)

    changes = [(event["change"]["version"], event["change"]["kind"], event["change"]["note"]) for event in found]
    assert changes == [(1, "CREATED", None), (2, "UPDATED", "why"), (3, "PAUSED", None), (4, "DELETED", None)]
    assert found[1]["change"]["fields"] == [{"field": "name"}]
    now = {"id": schedule_id, "state": "DELETED", "version": 4, "agent": {"id": agent_id}}
    assert [event["schedule"] for event in found] == [now] * 4


async def test_a_filter_is_kept_for_changes_by_the_schedule_as_it_is(api: Api) -> None:
    first, second = await api.agent(), await api.agent()
    after = await cursor(api)
    one = await api.schedule(first, labels=[{"key": "team", "value": "ops"}])
    two = await api.schedule(second)
    await api.change("pauseSchedule", {"id": one})
    await api.change("pauseSchedule", {"id": two})
    await api.change("deleteSchedule", {"id": two})

    async def versions(count: int, **filter: Any) -> list[tuple[str, int]]:
        async with api.events(CHANGES, after=after, filter=filter) as events:
            found = await events.take(count)
        return [(event["schedule"]["id"], event["change"]["version"]) for event in found]

    assert await versions(2, agentIds=[first]) == [(one, 1), (one, 2)]
    assert await versions(2, states=["PAUSED"]) == [(one, 1), (one, 2)]
    assert await versions(3, states=["DELETED"]) == [(two, 1), (two, 2), (two, 3)]
    assert await versions(2, labels=[{"key": "team", "value": "ops"}]) == [(one, 1), (one, 2)]
    assert await versions(3, agentIds=[second], includeDeleted=False) == [(two, 1), (two, 2), (two, 3)]


async def test_events_of_another_account_are_not_told(api: Api) -> None:
    other = api.other()
    after = await cursor(api)
    foreign = await api.schedule(await api.agent())
    await trigger(api, foreign)
    own = await other.schedule(await other.agent())
    run_id = await trigger(other, own)

    async with other.events(FIRES, after=after) as fires, other.events(CHANGES, after=after) as changes:
        fire, change = await fires.next(), await changes.next()

    assert fire["run"]["id"] == run_id
    assert change["schedule"]["id"] == own


@pytest.mark.parametrize("document", [FIRES, CHANGES])
async def test_a_malformed_cursor_is_refused(api: Api, document: str) -> None:
    for after in ("", "nonsense", "\x00", "é" * 32, "\ud800" * 32):
        async with api.events(document, after=after) as events:
            error = await events.refusal()

        assert isinstance(error, InvalidInput)
        assert error.path == ("after",)


@pytest.mark.parametrize(
    ("document", "filter", "path"),
    [
        (FIRES, {"fireFrom": "today"}, ("filter", "fireFrom")),
        (CHANGES, {"updatedSince": "today"}, ("filter", "updatedSince")),
        (CHANGES, {"search": "\x00"}, ("filter", "search")),
    ],
)
async def test_a_malformed_filter_is_refused(
    api: Api, document: str, filter: dict[str, Any], path: tuple[str, ...]
) -> None:
    async with api.events(document, filter=filter) as events:
        error = await events.refusal()

    assert isinstance(error, InvalidInput)
    assert error.path == path


@pytest.mark.parametrize("document", [FIRES, CHANGES])
async def test_a_cursor_of_another_log_has_expired(api: Api, document: str) -> None:
    async with api.events(document, after="A" * 32) as events:
        assert isinstance(await events.refusal(), CursorExpired)


@pytest.mark.parametrize("document", ["{ eventCursor }", "{ ...Cursor } fragment Cursor on Query { eventCursor }"])
async def test_the_cursor_is_taken_before_the_data_is_read(api: Api, document: str) -> None:
    order: list[str] = []
    spied = api.swapped(
        feed=Spy(api.services.feed, order),
        schedule_queries=Spy(api.services.schedule_queries, order),
        agents=Spy(api.services.agents, order),
        runs=Spy(api.services.runs, order),
    )
    data = 'schedules { totalCount } agents { nodes { id } } runs { nodes { id } } node(id: "Run:x") { id }'

    await spied.ask(document.replace("{", f"{{ {data}", 1))
    with_cursor, order[:] = [*order], []
    await spied.ask(f"{{ {data} }}")

    assert with_cursor[0] == "cursor"
    assert sorted(with_cursor[1:]) == sorted(order)
    assert len(order) == 4


class Spy:
    """A service that notes the names of its calls as they begin, and lets others go first."""

    def __init__(self, service: object, calls: list[str]) -> None:
        self._service = service
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._service, name)

        async def call(*values: Any, **named: Any) -> Any:
            if name == "cursor":
                answer = await method(*values, **named)
                self._calls.append(name)
                return answer
            self._calls.append(name)
            return await method(*values, **named)

        return call
