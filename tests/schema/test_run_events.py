"""What has happened to one run, as a connection."""

from typing import Any
from uuid import UUID

from services import run_changes
from services.feed_event import Cursor
from services.run import RunStatus
from tests.schema.api import Api
from tests.stack import Stack

EVENTS = """
query ($id: ID!, $first: Int, $after: String) {
  run(id: $id) {
    events(first: $first, after: $after) {
      totalCount
      edges { cursor node { cursor status previous run { id } } }
      pageInfo { hasNextPage endCursor }
    }
  }
}"""


async def test_the_events_of_a_run_page_forwards_under_the_cursors_of_the_feed(running: Stack) -> None:
    # given a run that has come through four statuses, and another run
    api = Api(running.services)
    schedule = await api.schedule(await api.agent())
    run_id, other = [await triggered(api, schedule) for _ in range(2)]
    await moved(running, run_id, RunStatus.DELIVERING, RunStatus.RETRYING, RunStatus.DELIVERING)
    # when its events are asked for, three and then the rest
    first = await events(api, run_id, first=3)
    rest = await events(api, run_id, first=3, after=first["pageInfo"]["endCursor"])
    # then they are its own, in order, each once
    assert first["totalCount"] == 4
    assert (first["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]) == (True, False)
    told = [edge["node"] for edge in (*first["edges"], *rest["edges"])]
    assert [(event["previous"], event["status"]) for event in told] == [
        (None, "CLAIMED"),
        ("CLAIMED", "DELIVERING"),
        ("DELIVERING", "RETRYING"),
        ("RETRYING", "DELIVERING"),
    ]
    assert {event["run"]["id"] for event in told} == {run_id}
    assert all(edge["cursor"] == edge["node"]["cursor"] for edge in first["edges"])
    assert (await events(api, other))["totalCount"] == 1


async def test_a_cursor_that_is_none_is_refused(running: Stack) -> None:
    api = Api(running.services)
    run_id = await triggered(api, await api.schedule(await api.agent()))
    last = Cursor.decode((await events(api, run_id))["edges"][-1]["cursor"])
    to_come, foreign = last._replace(xid=last.xid + 1_000_000), last._replace(epoch=last.epoch ^ 1)
    assert (await events(api, run_id, after=last.encode()))["edges"] == []
    for cursor, code in (
        ("no cursor", "INVALID_INPUT"),
        (to_come.encode(), "INVALID_INPUT"),
        (foreign.encode(), "CURSOR_EXPIRED"),
        (foreign._replace(xid=0).encode(), "CURSOR_EXPIRED"),
    ):
        assert (await api.refusal(EVENTS, id=run_id, after=cursor)).code == code


async def triggered(api: Api, schedule: str) -> str:
    answer = await api.change("triggerSchedule", {"id": schedule}, "... on ScheduleTriggered { run { id } }")
    return str(answer["run"]["id"])


async def moved(running: Stack, run_id: str, *statuses: RunStatus) -> None:
    for status in statuses:
        async with running.base.database.changes.begin() as transaction:
            run = await run_changes.locked(transaction, UUID(run_id.removeprefix("Run:")))
            await run_changes.set_status(transaction, run, status)


async def events(api: Api, run_id: str, **page: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await api.ask(EVENTS, id=run_id, **page))["run"]["events"]
    return found
