"""Ids of another account, and of what a caller may not see, are put into every place of the schema that takes one."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from nextfire.embedded import Temporal
from nextfire.settings import AuthMode
from resolvers.ids import Kind, key_of
from services.principals import Actor, Principal, PrincipalType, Role
from services.provider_authentication import actor_of
from services.tables import attempts, metadata, new_id
from tests.provider.scripted import ScriptedProvider, principal
from tests.schema.api import Api, creation
from tests.schema.walking import Request, listing, requests, root
from tests.stack import Stack, stack

TRIGGERED = "... on ScheduleTriggered { run { id } }"


@dataclass(frozen=True)
class World:
    """What one caller has: something of every kind."""

    ids: dict[Kind, str]
    agent_name: str
    schedule_name: str
    content: str
    user: str

    @property
    def texts(self) -> list[str]:
        """What nobody else may ever be told."""
        return [*self.ids.values(), self.agent_name, self.schedule_name, self.content]


async def world(api: Api, running: Stack) -> World:
    agent_name, schedule_name, content = (f"{each}-{uuid4().hex[:8]}" for each in ("agent", "schedule", "content"))
    agent_id = await api.agent(name=agent_name)
    labels = [{"key": "team", "value": "own"}]
    schedule_id = await api.schedule(agent_id, name=schedule_name, initialInput={"content": content}, labels=labels)
    await api.change("skipFire", {"id": schedule_id, "fireAt": "2099-01-01T00:00:00Z"})
    triggered = await api.change(
        "triggerSchedule",
        {"id": schedule_id, "idempotencyKey": "once"},
        "... on ScheduleTriggered { run { id task { id messages { nodes { id } } } } }",
    )
    run = triggered["run"]
    async with running.base.database.transaction() as connection:
        attempt = {"run_id": key_of(Kind.RUN, run["id"]), "n": 1, "idempotency_key": "k", "body_sha256": "s"}
        await connection.execute(attempts.insert().values(attempt))
    return World(
        {
            Kind.AGENT: agent_id,
            Kind.SCHEDULE: schedule_id,
            Kind.RUN: run["id"],
            Kind.TASK: run["task"]["id"],
            Kind.MESSAGE: run["task"]["messages"]["nodes"][0]["id"],
        },
        agent_name,
        schedule_name,
        content,
        api.actor.key,
    )


@dataclass(frozen=True)
class Two:
    """A caller, and what somebody else has."""

    stack: Stack
    caller: Api
    other: Api
    mine: World
    theirs: World
    asked: Callable[[], list[str]]
    """What the caller's last answer had the provider asked, where one decides."""


Callers = Callable[[Stack, ScriptedProvider], tuple[Api, Api]]


def _open(running: Stack, _provider: ScriptedProvider) -> tuple[Api, Api]:
    return Api(running.services, Actor("mine")), Api(running.services, Actor("theirs"))


def _with_role(role: Role) -> Callers:
    def api(running: Stack, account: str, role: Role) -> Api:
        principal = Principal(PrincipalType.SERVICE_ACCOUNT, None, "bot", account)
        return Api(running.services, Actor(account, principal, role))

    return lambda running, _provider: (api(running, "mine", role), api(running, "theirs", Role.OPERATOR))


def _other_account(running: Stack, _provider: ScriptedProvider) -> tuple[Api, Api]:
    """The provider allows everything, so that it is the account alone that keeps them apart."""
    mine, theirs = (actor_of(principal("ada", account)) for account in ("mine", "theirs"))
    return Api(running.services, mine), Api(running.services, theirs)


MODES: dict[str, tuple[AuthMode, Callers]] = {
    "open": (AuthMode.OPEN, _open),
    "viewer": (AuthMode.KEYS, _with_role(Role.VIEWER)),
    "operator": (AuthMode.JWT, _with_role(Role.OPERATOR)),
    "provider": (AuthMode.PROVIDER, _other_account),
}


@pytest.fixture(params=MODES)
async def two(
    request: pytest.FixtureRequest, database_url: str, temporal: Temporal, provider: ScriptedProvider
) -> AsyncIterator[Two]:
    """Two callers who have each a world of their own."""
    mode, callers = MODES[request.param]
    async with stack(database_url, temporal.address, worker=False, auth=mode, provider_url=provider.url) as running:
        caller, other = callers(running, provider)
        theirs = await world(other, running)
        mine = await world(_operator(caller), running)

        def asked() -> list[str]:
            questions = [f"{each.path} {each.json.get('operation')}" for each in provider.asked]
            provider.asked.clear()
            return sorted(questions)

        yield Two(running, caller, other, mine, theirs, asked)


def _operator(api: Api) -> Api:
    """The same caller, who may do more where roles decide."""
    return Api(api.services, replace(api.actor, role=Role.OPERATOR)) if api.actor.role else api


def test_the_walk_goes_everywhere() -> None:
    """What takes an id in the schema of today; a new one is walked as well, and is added here."""
    assert {str(each) for each in requests("query")} >= {
        "node(id)",
        "nodes(ids)",
        "agent(by.id)",
        "schedule(by.id)",
        "schedule(by.named.agentId)",
        "run(id)",
        "schedules(filter.agentIds)",
        "runs(filter.scheduleIds)",
        "runs(filter.agentIds)",
        "agents.nodes.schedules(filter.agentIds)",
        "schedules.nodes.runs(filter.scheduleIds)",
    }
    assert {each.field for each in requests("mutation")} == set(root("mutation").fields) - {"registerAgent"}
    assert {each.field for each in requests("subscription")} == set(root("subscription").fields)


async def test_nothing_of_another_s_is_found_or_touched(two: Two) -> None:
    before = await _everything(two)
    await _ids_are_answered_as_ids_of_nothing(two)
    await _names_are_answered_as_names_of_nothing(two)
    await _lists_hold_nothing_of_another_s(two)
    assert await _everything(two) == before
    await _subscribers_hear_nothing_of_another_s(two)
    if two.caller.actor.role is not Role.VIEWER:
        await _one_idempotency_key_is_another_request_of_each_caller(two)


async def _ids_are_answered_as_ids_of_nothing(two: Two) -> None:
    told = []
    for request in [*requests("query"), *requests("mutation")]:
        for kind in Kind:
            theirs = await _answer(two, request, two.theirs.ids[kind])
            absent = await _answer(two, request, f"{kind}:{new_id()}")
            if theirs != absent or any(text in theirs[0] for text in two.theirs.texts):
                told.append((str(request), kind, theirs, absent))
    assert told == []


async def _names_are_answered_as_names_of_nothing(two: Two) -> None:
    names = requests("query", "String", named="name")
    assert {str(each) for each in names} == {"agent(by.name)", "schedule(by.named.name)"}
    for request in names:
        for name in (two.theirs.agent_name, two.theirs.schedule_name):
            other = two.theirs.ids[Kind.AGENT]
            found = await _answer(two, request, name, other)
            assert found == await _answer(two, request, f"absent-{uuid4().hex[:8]}", other)


async def _lists_hold_nothing_of_another_s(two: Two) -> None:
    cursors = {}
    for name, field, document in listing():
        if "after" in field.args:
            page = await two.other.ask(f"{{ {name} {{ pageInfo {{ endCursor }} }} }}")
            cursors[name] = page[name]["pageInfo"]["endCursor"]
        await two.other.ask(document)
        _assert_nothing_of(two.theirs, await two.caller.answer(document))
    # also from places of another's lists, and by whatever else can be searched for
    assert set(cursors) == {"agents", "schedules", "runs"}
    for name, cursor in cursors.items():
        for place in ("first: 100, after", "last: 100, before"):
            document = f"query($cursor: String) {{ {name}({place}: $cursor) {{ totalCount nodes {{ id }} }} }}"
            found = await two.caller.ask(document, cursor=cursor)
            assert found[name]["totalCount"] == 1
            _assert_nothing_of(two.theirs, found)
    searches = [
        ("schedules", {"search": two.theirs.schedule_name}),
        ("schedules", {"createdBy": two.theirs.user.partition(":")[2]}),
        ("schedules", {"labels": [{"key": "team", "value": "own"}], "includeDeleted": True}),
        ("agents", {"search": two.theirs.agent_name, "includeDeleted": True}),
    ]
    for name, wanted in searches:
        type_name = {"schedules": "ScheduleFilter", "agents": "AgentFilter"}[name]
        document = f"query($filter: {type_name}) {{ {name}(filter: $filter) {{ totalCount nodes {{ id }} }} }}"
        _assert_nothing_of(two.theirs, await two.caller.ask(document, filter=wanted))


async def _subscribers_hear_nothing_of_another_s(two: Two) -> None:
    # given changes and runs of the other's, and then of their own
    cursor = (await two.caller.ask("{ eventCursor }"))["eventCursor"]
    ids: dict[str, set[str]] = {}
    for api, own in ((two.other, two.theirs), (_operator(two.caller), two.mine)):
        assert (await api.change("pauseSchedule", {"id": own.ids[Kind.SCHEDULE]}))["__typename"] == "SchedulePaused"
        triggered = await api.change("triggerSchedule", {"id": own.ids[Kind.SCHEDULE]}, TRIGGERED)
        ids[own.schedule_name] = {*own.ids.values(), triggered["run"]["id"]}
    # when they subscribe to both, then the first that they hear of is their own
    for request in requests("subscription"):
        kind = Kind.AGENT if request.place[-1] == "agentIds" else Kind.SCHEDULE
        variables = request.variables("", "")
        variables["filter"][request.place[-1]] = [two.theirs.ids[kind], two.mine.ids[kind]]
        document = request.document.replace("(filter: $filter)", "(filter: $filter, after: $after)")
        document = document.replace("W(", "W($after: String, ")
        async with two.caller.events(document, after=cursor, **variables) as events:
            found = json.dumps(await events.next())
        assert any(each in found for each in ids[two.mine.schedule_name])
        assert not any(each in found for each in ids[two.theirs.schedule_name])


async def _one_idempotency_key_is_another_request_of_each_caller(two: Two) -> None:
    made = [
        await api.change(
            "createSchedule",
            creation(own.ids[Kind.AGENT], name="same", idempotencyKey="same"),
            "... on ScheduleCreated { schedule { id } }",
        )
        for api, own in ((two.caller, two.mine), (two.other, two.theirs))
    ]
    assert [each["__typename"] for each in made] == ["ScheduleCreated", "ScheduleCreated"]
    assert made[0]["schedule"]["id"] != made[1]["schedule"]["id"]


async def _answer(two: Two, request: Request, value: str, other: str | None = None) -> tuple[str, list[str]]:
    """What the caller is told, without the value itself, and what that had the provider asked."""
    two.asked()
    data, errors = await two.caller.answer(
        request.document, **request.variables(value, other or f"{Kind.AGENT}:{new_id()}")
    )
    told = json.dumps([data, [(error.message, error.path, error.extensions) for error in errors]], sort_keys=True)
    return told.replace(value, "..."), two.asked()


def _assert_nothing_of(theirs: World, found: object) -> None:
    told = json.dumps(found, default=str)
    assert [text for text in theirs.texts if text in told] == []


async def _everything(two: Two) -> dict[str, list[Any]]:
    """Every row of the database, but for what is still to be told to the provider and what the clocks are."""
    found = {}
    database = two.stack.base.database
    async with database.read() as connection:
        for table in metadata.sorted_tables:
            columns = [
                column for column in table.c if not column.name.startswith(("lease", "checked", "clock", "applied"))
            ]
            rows = (await connection.execute(select(*columns))).all()
            found[table.name] = sorted(repr(row) for row in rows)
    return found
