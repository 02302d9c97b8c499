"""One execution for all subscriptions that are answered alike, and none of it for any other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any

import orjson
import pytest

from nextfire.transport.audiences import Payloads
from nextfire.transport.correlation import RequestIdMiddleware
from nextfire.transport.execution import Engine
from nextfire.transport.frames import Encoded, encode_json
from nextfire.transport.refusal import Refused
from nextfire.transport.requests import GraphQLRequest
from resolvers.context import Context
from schema import build_schema
from schema.limits import DEFAULT_LIMITS
from services.authorization import RoleAuthorizer
from services.errors import Unavailable
from services.feed_event import Cursor
from services.principals import OPEN_ACCOUNT, Actor, Role
from tests.provider.scripted import CHECK, ScriptedProvider
from tests.schema.api import Api
from tests.services.feeding import connected, staged, until
from tests.waiting import PATIENCE

DOCUMENT = """
  subscription($filter: RunFilter, $after: String) {
    fireStatus(filter: $filter, after: $after) { cursor status run { id schedule { name } } }
  }
"""
MAY = """
  subscription($after: String) {
    fireStatus(after: $after) { run { schedule { viewerCan { update { allowed } } } } }
  }
"""
COPY = """
  INSERT INTO events (account_id, kind, schedule_id, run_id, agent_id, payload)
  SELECT account_id, kind, schedule_id, run_id, agent_id, payload
  FROM (SELECT * FROM events WHERE run_id IS NOT NULL LIMIT 1) AS event, generate_series(1, $1)
"""


class Counted:
    """A service that counts the calls of one method, can hold them up, and can fail."""

    def __init__(self, service: object, method: str) -> None:
        self._service = service
        self._method = method
        self.calls = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._service, name)
        if name != self._method:
            return method

        async def call(*values: Any, **named: Any) -> Any:
            self.calls += 1
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
            return await method(*values, **named)

        return call


def engine_of(deadline: float = PATIENCE) -> Engine:
    return Engine(build_schema(schedules=True), DEFAULT_LIMITS, timedelta(seconds=deadline), Context.fresh)


def counted(api: Api, method: str = "get_many", **parts: Any) -> tuple[Api, Counted]:
    """The same caller, and its runs, counted."""
    runs = Counted(api.services.runs, method)
    return api.swapped(runs=runs, **parts), runs


def acting(api: Api, **values: Any) -> Api:
    return Api(api.services, Actor(api.actor.account_id, **values))


async def fired(api: Api) -> None:
    """One event, of a schedule of its own."""
    schedule_id = await api.schedule(await api.agent())
    await api.change("triggerSchedule", {"id": schedule_id})


@asynccontextmanager
async def subscribed(
    engine: Engine, *callers: Api, document: str = DOCUMENT, variables: Any = None
) -> AsyncIterator[list[Payloads]]:
    """A subscription for each caller, with its own variables where a list of them is given."""
    given = variables if isinstance(variables, list) else [variables or {}] * len(callers)
    async with AsyncExitStack() as stack:
        streams = []
        for api, each in zip(callers, given, strict=True):
            request = GraphQLRequest(document, None, each)
            stream = await engine.subscribe(engine.prepare(request), request, api.context())
            streams.append(await stack.enter_async_context(aclosing(stream)))
        yield streams


@asynccontextmanager
async def next_of(api: Api, streams: list[Payloads]) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """The next payload of each as a task, once all of them wait at the tail of the log."""
    before = api.services.feed.live
    tasks = [asyncio.create_task(decoded(stream)) for stream in streams]
    try:
        await until(lambda: api.services.feed.live == before + len(streams))
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def decoded(stream: Payloads) -> Any:
    async with asyncio.timeout(PATIENCE):
        payload = await anext(stream)
    return orjson.loads(payload.json if isinstance(payload, Encoded) else encode_json(payload))


async def test_a_hundred_subscribers_cost_one_execution(api: Api) -> None:
    # given a hundred subscribers that came from different places in the log
    api, runs = counted(api)
    places = [{}, {"after": None}, {"after": await api.services.feed.cursor()}]
    variables = [places[number % 3] for number in range(100)]
    async with subscribed(engine_of(), *[api] * 100, variables=variables) as streams, next_of(api, streams) as answers:
        # when an event comes
        await fired(api)
        heard = await asyncio.gather(*answers)

    # then all are told the same
    assert runs.calls == 1
    assert heard == [heard[0]] * 100
    (event,) = heard[0]["data"]["fireStatus"]
    assert event["status"] == "CLAIMED"
    assert event["run"]["schedule"]["name"]


@pytest.mark.parametrize(
    ("document", "field"),
    [(DOCUMENT, "fireStatus"), ("subscription { scheduleChanged { cursor } }", "scheduleChanged")],
)
async def test_nothing_is_missed_from_when_it_is_open(api: Api, document: str, field: str) -> None:
    # given a subscription that is open, and of which nothing has been read yet
    async with subscribed(engine_of(), api, document=document) as (stream,):
        # when something happens
        await fired(api)

        # then it is told
        assert (await decoded(stream))["data"][field]


@pytest.mark.parametrize(
    ("document", "variables"),
    [
        (DOCUMENT, [{}, {"filter": {"statuses": ["CLAIMED"]}}]),
        (DOCUMENT, [{}, {"filter": {}}]),
        (DOCUMENT.replace("cursor", "at"), [{}, {}]),
    ],
)
async def test_other_documents_and_variables_are_executed_for_themselves(
    api: Api, document: str, variables: list[dict[str, Any]]
) -> None:
    # given three subscribers, two of which ask alike
    api, runs = counted(api)
    engine = engine_of()
    async with (
        subscribed(engine, api) as plain,
        subscribed(engine, api, api, document=document, variables=variables) as streams,
        next_of(api, [*plain, *streams]) as answers,
    ):
        # when an event comes
        await fired(api)
        heard = await asyncio.gather(*answers)

    # then it is executed twice, and all are told of it
    assert runs.calls == 2
    assert len({each["data"]["fireStatus"][0]["run"]["id"] for each in heard}) == 1


@pytest.mark.parametrize(
    "document",
    [
        "subscription($after: String) { fireStatus(after: $after) { run { events(first: 1, after: $after) "
        "{ nodes { cursor } } } } }",
        "subscription($after: String) { ...Fires } fragment Fires on Subscription "
        "{ fireStatus(after: $after) { run { id } } }",
    ],
)
async def test_a_place_that_may_be_told_as_well_keeps_subscribers_apart(api: Api, document: str) -> None:
    api, runs = counted(api)
    variables = [{"after": await api.services.feed.cursor()}, {}]
    async with (
        subscribed(engine_of(), api, api, document=document, variables=variables) as streams,
        next_of(api, streams) as answers,
    ):
        await fired(api)
        heard = await asyncio.gather(*answers)

    assert runs.calls == 2
    assert [len(each["data"]["fireStatus"]) for each in heard] == [1, 1]


async def test_callers_of_other_roles_are_executed_for_themselves(api: Api) -> None:
    # given two viewers and an editor of one account
    api, runs = counted(api, authorizer=RoleAuthorizer())
    roles = [Role.VIEWER, Role.VIEWER, Role.EDITOR]
    operator, *callers = (acting(api, role=role) for role in [Role.OPERATOR, *roles])
    async with subscribed(engine_of(), *callers, document=MAY) as streams, next_of(api, streams) as answers:
        # when an event comes
        await fired(operator)
        heard = await asyncio.gather(*answers)

    # then each is told what it may do
    assert runs.calls == 2
    found = [each["data"]["fireStatus"][0]["run"]["schedule"]["viewerCan"]["update"]["allowed"] for each in heard]
    assert found == [False, False, True]


async def test_callers_of_other_accounts_are_executed_for_themselves(api: Api) -> None:
    api, runs = counted(api)
    other = api.other()
    async with subscribed(engine_of(), api, other) as streams, next_of(api, streams) as answers:
        await fired(other)
        heard = await answers[1]
        await fired(api)
        own = await answers[0]

    assert runs.calls == 2
    assert heard["data"]["fireStatus"][0]["run"] != own["data"]["fireStatus"][0]["run"]
    assert api.actor.account_id == OPEN_ACCOUNT


async def test_the_provider_decides_for_each_principal(ada: Api, bob: Api, provider: ScriptedProvider) -> None:
    # given a provider that shows bob nothing of schedules, and two subscriptions of each
    provider.decide = lambda who, kind, _name, _operation: who["user_id"] == "ada" or kind != "schedule"
    engine = engine_of()
    document = "subscription($after: String) { fireStatus(after: $after) { cursor } }"
    async with (
        subscribed(engine, ada, ada, bob, bob, document=document) as streams,
        next_of(ada, streams) as answers,
    ):
        schedule_id = await ada.schedule(await ada.agent())
        asked = len(provider.of_path(CHECK))

        # when an event comes
        await ada.change("triggerSchedule", {"id": schedule_id})
        heard = await asyncio.gather(*answers[:2])
        await until(lambda: len([each for each in provider.of_path(CHECK)[asked:] if _is_read_by(each, "bob")]) == 1)

        # then ada's are told, bob's are not, and each of the two was asked about once
        assert heard[0] == heard[1]
        assert not any(answer.done() for answer in answers[2:])
        assert len([each for each in provider.of_path(CHECK)[asked:] if _is_read_by(each, "ada")]) == 1


def _is_read_by(asked: Any, who: str) -> bool:
    question = asked.json
    about = question["resource"]["type"], question["operation"]
    return about == ("schedule", "read") and question["principal"]["user_id"] == who


async def test_errors_name_the_request_of_each_subscriber(api: Api) -> None:
    # given subscribers of a field that fails
    api, attempts = counted(api, "attempts_of")
    attempts.error = RuntimeError("secret")
    document = "subscription { fireStatus { run { attempts { outcome } } } }"
    async with subscribed(engine_of(), api, api, document=document) as streams:
        heard: dict[str, Any] = {}

        async def served(scope: Any, _receive: Any, _send: Any) -> None:
            heard[scope["name"]] = await decoded(streams[scope["number"]])

        async def request(number: int) -> None:
            name = f"request-{number}"
            scope = {"type": "http", "headers": [(b"x-request-id", name.encode())], "name": name, "number": number}
            await RequestIdMiddleware(served)(scope, None, None)  # type: ignore[arg-type]

        requests = [asyncio.create_task(request(number)) for number in range(2)]
        await until(lambda: api.services.feed.live == 2)

        # when an event comes
        await fired(api)
        await asyncio.gather(*requests)

    # then it is executed once, and each is given its own id to ask about
    assert attempts.calls == 1
    told = {name: answer["errors"][0]["extensions"]["requestId"] for name, answer in heard.items()}
    assert told == {"request-0": "request-0", "request-1": "request-1"}


async def test_an_outage_ends_each_subscription_with_its_own_error(api: Api) -> None:
    api, runs = counted(api)
    runs.error = Unavailable()
    async with subscribed(engine_of(), api, api) as streams, next_of(api, streams) as answers:
        await fired(api)
        heard = await asyncio.gather(*answers, return_exceptions=True)

    assert runs.calls == 1
    assert heard[0] is not heard[1]
    assert [each.errors[0]["extensions"]["code"] for each in heard if isinstance(each, Refused)] == ["UNAVAILABLE"] * 2


async def test_a_crowd_that_comes_back_shares_its_reading(api: Api) -> None:
    # given what many have missed
    place = {"after": await api.services.feed.cursor()}
    await fired(api)
    api, runs = counted(api)

    # when they come back at once, with the same cursor
    async with subscribed(engine_of(), *[api] * 100, variables=place) as streams:
        heard = await asyncio.gather(*(decoded(stream) for stream in streams))

    # then most of them share what is read and made of it: all but those who came while it was being read
    assert runs.calls < 10
    assert heard == [heard[0]] * 100


async def test_who_leaves_takes_the_execution_from_nobody(api: Api) -> None:
    # given an execution that the first of three has begun
    api, runs = counted(api)
    runs.go_on.clear()
    async with subscribed(engine_of(), api, api, api) as streams, next_of(api, streams) as answers:
        await fired(api)
        await until(lambda: runs.calls == 1)

        # when that one leaves
        answers[0].cancel()
        await asyncio.wait([answers[0]])
        runs.go_on.set()

        # then the others are told all the same
        heard = await asyncio.gather(*answers[1:])
        assert heard[0] == heard[1]
        assert runs.calls == 1


async def test_an_event_that_takes_too_long_ends_the_subscriptions(api: Api) -> None:
    api, runs = counted(api)
    runs.go_on.clear()
    async with subscribed(engine_of(0.05), api) as streams, next_of(api, streams) as answers:
        await fired(api)
        with pytest.raises(Refused) as refused:
            await answers[0]

    assert refused.value.errors[0]["extensions"]["code"] == "TIMEOUT"


async def test_an_audience_ends_with_its_last_subscriber(api: Api) -> None:
    engine = engine_of()
    async with subscribed(engine, api, api):
        assert engine.audiences == 1
    await until(lambda: engine.audiences == 0)


@pytest.mark.fault("F27")
async def test_a_stalled_subscriber_delays_nobody_and_is_told_all_in_the_end(api: Api, database_url: str) -> None:
    # given two subscribers at the tail, with little room to wait in
    await fired(api)
    async with staged(database_url, queue_limit=10) as stage:
        api = api.swapped(feed=stage.feed)
        async with subscribed(engine_of(), api, api) as (quick, stalled), connected(database_url) as connection:
            async with next_of(api, [quick, stalled]) as answers:
                await connection.execute(COPY, 1)
                stage.notifier.poke()
                first = [await answer for answer in answers]

            # when one takes no more, while many events come
            told = [*first[0]["data"]["fireStatus"]]
            for count in (1, 8, 30, 150):
                await connection.execute(COPY, count)
                stage.notifier.poke()
                before = len(told)
                while len(told) < before + count:
                    told += (await decoded(quick))["data"]["fireStatus"]
                assert stage.feed.queued <= 20

            # then it is told the same events in the same order, once it goes on
            late = [*first[1]["data"]["fireStatus"]]
            while len(late) < len(told):
                late += (await decoded(stalled))["data"]["fireStatus"]
            assert late == told
            assert len({event["cursor"] for event in late}) == 190


async def test_a_replay_is_complete_in_order_and_in_batches(api: Api, database_url: str) -> None:
    # given several thousand events since the client was last here, of two kinds
    await fired(api)
    after = await api.services.feed.cursor()
    async with connected(database_url) as connection:
        for _ in range(5):
            await connection.execute(COPY, 700)
        await api.schedule(await api.agent())
        wanted = await connection.fetch("SELECT id FROM events WHERE kind = 'FIRE_STATUS' ORDER BY xid, id OFFSET 1")
    api, runs = counted(api)

    # when it comes back
    ids: list[int] = []
    messages = 0
    async with subscribed(engine_of(), api, variables={"after": after}) as (stream,):
        while len(ids) < 3500:
            events = (await decoded(stream))["data"]["fireStatus"]
            ids += [Cursor.decode(event["cursor"]).id for event in events]
            messages += 1

    # then it is told each once and in order, in few messages, each for one read of the rows: for two, where the machine
    # stood still for so long that what was begun ahead of its turn is not shared any more
    assert ids == [row["id"] for row in wanted]
    assert messages == 35
    assert runs.calls in range(35, 40)
