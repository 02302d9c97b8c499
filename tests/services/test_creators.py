"""At fire time: whoever a run acts as is asked about before anything is sent, over a real provider and a real agent."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from nextfire.embedded import Temporal
from services.acp import AcpClient, http_client
from services.agent import Agent, AgentProtocol
from services.backfills import Span
from services.cadence import Cadence, Cron
from services.creators import KnownCreators, OpenCreators, Work
from services.deliveries import Delivered, Deliveries
from services.due_fires import DueFires, Missing
from services.keyset import Window
from services.manual_runs import AgentRunRequest
from services.principals import Actor
from services.provider_authentication import actor_of
from services.run import AttemptOutcome, Run, RunStatus, SkipReason
from services.runs import RunFilter
from services.schedule import InitialInput, MissedFirePolicy, OnUnknown, OverlapPolicy, Schedule
from services.schedules import ScheduleChanges
from services.starter import Pending
from services.tables import attempts, new_id, runs
from tests.agents.scripted import Answer, ScriptedAgent, hang, status
from tests.provider.scripted import CHECK, GRANT, REGISTER, ScriptedProvider, answer, everything, principal
from tests.stack import EVERY_SECOND, YEARLY, Stack, definition, provided_by, stack
from tests.waiting import eventually

ADA, BOB = actor_of(principal("ada", secret="planted")), actor_of(principal("bob"))
STORED = {"principal_type": "user", "user_id": "ada", "service_account_id": None, "account_id": "acme"}


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as server:
        yield server


@pytest.fixture
async def running(database_url: str, temporal: Temporal, provider: ScriptedProvider) -> AsyncIterator[Stack]:
    async with stack(database_url, temporal.address, **provided_by(provider.url)) as built:
        yield built


@pytest.fixture
async def quiet(database_url: str, temporal: Temporal, provider: ScriptedProvider) -> AsyncIterator[Stack]:
    """Nothing is sent but by the test."""
    async with stack(database_url, temporal.address, worker=False, **provided_by(provider.url)) as built:
        yield built


async def agent_of(running: Stack, url: str, protocol: AgentProtocol = AgentProtocol.SYNC) -> Agent:
    name = f"agent-{uuid4().hex[:8]}"
    return await running.services.agents.register(
        ADA, name=name, description=None, protocol=protocol, url=url, api_key=None
    )


async def schedule_of(running: Stack, agent: Agent, cadence: Cadence = YEARLY, **values: Any) -> Schedule:
    return await running.services.schedules.create(ADA, agent.id, definition(cadence, **values))


async def triggered(running: Stack, schedule: Schedule, actor: Actor = ADA) -> Run:
    return await running.services.manual_runs.trigger(actor, schedule.id, idempotency_key=None, note=None)


async def all_runs(running: Stack, schedule: Schedule) -> list[Run]:
    filter = RunFilter(schedule_ids=(schedule.id,))  # noqa: A001 - the service's word
    return (await running.services.runs.page(ADA, filter, Window(100))).items


async def reached(running: Stack, run_id: UUID, *wanted: RunStatus) -> Run:
    """The run, once it is in one of these."""

    async def found() -> Run | None:
        run = (await running.services.runs.get_many(ADA, [run_id]))[run_id]
        return run if run.status in wanted else None

    return await eventually(found)


async def ended(running: Stack, run_id: UUID) -> Run:
    async def found() -> Run | None:
        run = (await running.services.runs.get_many(ADA, [run_id]))[run_id]
        return run if run.finished_at is not None else None

    return await eventually(found)


def conversation(run: Run) -> list[str]:
    """What the provider is asked and told about a run, in order."""
    return [
        f"check agent:{run.agent_id} execute",
        "check task:* create",
        f"register task:{run.task_id}",
        f"grant task:{run.task_id} create",
        f"check task:{run.task_id} update",
    ]


@pytest.mark.parametrize("protocol", AgentProtocol)
async def test_the_stored_creator_is_asked_about_before_anything_is_sent(
    protocol: AgentProtocol, running: Stack, provider: ScriptedProvider, scripted_agent: ScriptedAgent
) -> None:
    # given a schedule of ada's, and an agent that notes what the provider was asked until then
    agent = await agent_of(running, scripted_agent.url, protocol)
    schedule = await schedule_of(running, agent)
    provider.asked.clear()
    # when it runs
    run = await ended(running, (await triggered(running, schedule)).id)
    # then the provider was asked about ada by the four fields that are kept, and in this order
    assert run.status is RunStatus.DELIVERED
    assert provider.shorts() == conversation(run)
    assert [asked.json["principal"] for asked in provider.asked] == [STORED] * 5
    assert provider.of_path(REGISTER)[0].json["parent"] == {"type": "agent", "selector": str(agent.id)}
    # and the agent got no credential of any kind
    (*_, sent) = scripted_agent.requests
    assert {name for name in sent.headers if name in ("authorization", "cookie")} == set()
    assert b"planted" not in sent.body


async def test_nothing_is_sent_while_the_provider_has_not_answered(
    running: Stack, provider: ScriptedProvider, scripted_agent: ScriptedAgent
) -> None:
    schedule = await schedule_of(running, await agent_of(running, scripted_agent.url))
    gate = asyncio.Event()
    provider.broken[CHECK] = answer(None).but(gate=gate)
    provider.asked.clear()
    run = await triggered(running, schedule)
    await eventually(partial(_asked, provider, 1))
    assert scripted_agent.requests == []
    assert (await reached(running, run.id, RunStatus.CLAIMED)).attempt_count == 0
    gate.set()
    assert (await ended(running, run.id)).status is RunStatus.DELIVERED


DENIALS = {
    "the agent": ("agent", "execute", 1),
    "a new task": ("task", "create", 2),
    "the task": ("task", "update", 5),
}


@pytest.mark.fault("F22")
@pytest.mark.parametrize("denied", DENIALS)
async def test_each_fire_of_a_revoked_creator_is_one_skipped_run(
    denied: str, running: Stack, provider: ScriptedProvider, scripted_agent: ScriptedAgent
) -> None:
    # given a schedule that is due every second, of someone who may not do one of the three
    kind, operation, asked = DENIALS[denied]
    agent = await agent_of(running, scripted_agent.url, AgentProtocol.ASYNC)
    provider.decide = lambda _who, type_, _name, op: (type_, op) != (kind, operation)
    schedule = await schedule_of(running, agent, EVERY_SECOND, overlap_policy=OverlapPolicy.ALLOW)

    # when some of its fires have come
    async def skipped() -> list[Run] | None:
        found = [run for run in await all_runs(running, schedule) if run.finished_at is not None]
        return found if len(found) >= 3 else None

    found = await eventually(skipped)
    # then each has one run that says why, and the agent has heard nothing
    assert {(run.status, run.skip_reason, run.attempt_count) for run in found} == {
        (RunStatus.SKIPPED, SkipReason.PERMISSION_DENIED, 0)
    }
    assert len({run.fire_at for run in found}) == len(found)
    assert scripted_agent.requests == []
    steps = conversation(found[0])
    assert set(provider.shorts()) & set(steps) == set(steps[:asked])


async def test_a_creator_who_may_own_no_task_is_denied(
    running: Stack, provider: ScriptedProvider, scripted_agent: ScriptedAgent
) -> None:
    schedule = await schedule_of(running, await agent_of(running, scripted_agent.url))
    provider.broken[GRANT] = status(403)
    run = await ended(running, (await triggered(running, schedule)).id)
    assert (run.status, run.skip_reason) == (RunStatus.SKIPPED, SkipReason.PERMISSION_DENIED)
    assert scripted_agent.requests == []


OUTAGES: dict[str, tuple[Answer, str]] = {
    "401": (answer({}, 401), "AUTHORIZATION_UNAUTHENTICATED"),
    "404": (answer({}, 404), "AUTHORIZATION_PROVIDER_MISCONFIGURED"),
    "422": (answer({}, 422), "AUTHORIZATION_PROVIDER_MISCONFIGURED"),
    "429": (status(429), "AUTHORIZATION_UNAVAILABLE"),
    "503": (status(503), "AUTHORIZATION_UNAVAILABLE"),
    "200 without a body": (Answer(), "AUTHORIZATION_UNAVAILABLE"),
    "no answer": (hang(), "AUTHORIZATION_UNAVAILABLE"),
}


@pytest.mark.fault("F22")
@pytest.mark.parametrize("outage", OUTAGES)
async def test_an_outage_of_the_provider_is_retried_and_then_delivered_once(
    outage: str, running: Stack, provider: ScriptedProvider, scripted_agent: ScriptedAgent
) -> None:
    schedule = await schedule_of(running, await agent_of(running, scripted_agent.url))
    # given a provider that does not say yes or no
    provider.broken[CHECK], code = OUTAGES[outage]
    run = await triggered(running, schedule)
    # when the run has been put off
    waiting = await reached(running, run.id, RunStatus.RETRYING)
    assert waiting.error is not None
    assert (waiting.error.code, waiting.error.retryable, waiting.attempt_count) == (code, True, 0)
    assert scripted_agent.requests == []
    # and the provider is back
    provider.broken.clear()
    # then it is sent, once
    run = await ended(running, run.id)
    assert (run.status, run.error, run.attempt_count) == (RunStatus.DELIVERED, None, 1)
    assert len(scripted_agent.requests) == 1


@pytest.mark.fault("F22")
async def test_a_provider_that_refuses_connections_is_waited_for(
    running: Stack, provider: ScriptedProvider, scripted_agent: ScriptedAgent
) -> None:
    schedule = await schedule_of(running, await agent_of(running, scripted_agent.url))
    await provider.refuse()
    run = await triggered(running, schedule)
    await reached(running, run.id, RunStatus.RETRYING)
    await provider.listen()
    assert (await ended(running, run.id)).status is RunStatus.DELIVERED
    assert len(scripted_agent.requests) == 1


@pytest.mark.fault("F22")
async def test_an_outage_that_outlasts_the_horizon_fails_the_run_unsent(
    running: Stack, provider: ScriptedProvider, scripted_agent: ScriptedAgent
) -> None:
    agent = await agent_of(running, scripted_agent.url)
    schedule = await schedule_of(running, agent, retry_horizon=timedelta(seconds=2))
    provider.broken[CHECK] = status(503)
    run = await ended(running, (await triggered(running, schedule)).id)
    assert (run.status, run.attempt_count) == (RunStatus.FAILED, 0)
    assert run.error is not None
    assert run.error.code == "AUTHORIZATION_UNAVAILABLE"
    assert scripted_agent.requests == []
    # when someone lets it go on, its horizon begins anew
    provider.broken.clear()
    await running.services.interventions.retry(BOB, run.id, idempotency_key=None, note=None)
    run = await ended(running, run.id)
    assert run.status is RunStatus.DELIVERED
    # and it still acts as its creator, not as the one who asked
    assert {asked.json["principal"]["user_id"] for asked in provider.of_path(CHECK)} == {"ada"}


@pytest.mark.fault("F22")
async def test_a_creator_who_is_revoked_between_two_attempts_sends_no_second_one(
    running: Stack, provider: ScriptedProvider, scripted_agent: ScriptedAgent
) -> None:
    # given an agent that fails, and a creator who is revoked then
    def fail(_: object) -> bytes:
        provider.decide = lambda *_: False
        return b""

    scripted_agent.always(Answer(status=503, body=fail))
    schedule = await schedule_of(running, await agent_of(running, scripted_agent.url))
    run = await ended(running, (await triggered(running, schedule)).id)
    assert (run.status, run.skip_reason) == (RunStatus.SKIPPED, SkipReason.PERMISSION_DENIED)
    assert len(scripted_agent.requests) == 1
    # and the task was told to the provider once, as the agent and the schedule were
    assert len(provider.of_path(REGISTER)) == 3


@pytest.mark.fault("F22")
@pytest.mark.parametrize("later", [[], [503]], ids=["unknown", "unknown, then refused"])
async def test_what_may_have_arrived_is_not_said_to_be_skipped(
    running: Stack, provider: ScriptedProvider, scripted_agent: ScriptedAgent, later: list[int]
) -> None:
    # given an agent that does the work and breaks off in its answer, and a creator who is revoked after that
    def revoke(_: object) -> bytes:
        provider.decide = lambda *_: False
        return b"an answer"

    *earlier, last = [Answer(body=b"an answer", effect=True, cut=True), *(status(each) for each in later)]
    scripted_agent.script(*earlier, last.but(body=revoke))
    schedule = await schedule_of(running, await agent_of(running, scripted_agent.url))
    run = await ended(running, (await triggered(running, schedule)).id)
    # then nothing more is sent, and the run says that it may have arrived
    assert (run.status, run.skip_reason) == (RunStatus.UNKNOWN, None)
    assert run.error is not None
    assert run.error.code == "PERMISSION_DENIED"
    assert len(scripted_agent.effects) == 1


@pytest.mark.fault("F22")
async def test_nobody_s_earlier_work_is_stopped_for_a_creator_who_is_revoked(
    running: Stack, provider: ScriptedProvider, scripted_agent: ScriptedAgent
) -> None:
    # given a schedule whose runs stop those before them, with one that was delivered
    agent = await agent_of(running, scripted_agent.url, AgentProtocol.ASYNC)
    policy = {"overlap_policy": OverlapPolicy.CANCEL_PREVIOUS, "catch_up_window": timedelta(days=1)}
    schedule = await schedule_of(
        running, agent, Cron("0 * * * *", "UTC"), missed_fire_policy=MissedFirePolicy.RUN_ALL, **policy
    )
    first = await _due(running, schedule, hours_ago=3)
    assert first.status is RunStatus.DELIVERED
    # when its creator is revoked
    provider.decide = lambda *_: False
    second = await _due(running, schedule, hours_ago=2)
    # then the agent hears nothing of the next one, and what it does goes on
    assert (second.status, second.skip_reason) == (RunStatus.SKIPPED, SkipReason.PERMISSION_DENIED)
    assert [each.method for each in scripted_agent.requests] == ["task/create", "event/send"]
    # and with the creator back, the one after stops it
    provider.decide = everything
    third = await _due(running, schedule, hours_ago=1)
    assert third.status is RunStatus.DELIVERED
    assert len(scripted_agent.of("task/cancel")) == 1


async def _due(running: Stack, schedule: Schedule, *, hours_ago: int) -> Run:
    """The run of a due time of the past, taken up as the auditor does it, once it has ended."""
    at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours_ago)
    (run,) = await DueFires(running.base.database).claim(Missing(schedule.id, (at,)))
    await running.base.starter.start_soon(Pending(run.id, run.temporal_workflow_id, run.trigger))
    return await ended(running, run.id)


async def test_what_was_delivered_stays_delivered_though_its_creator_is_revoked(
    quiet: Stack, provider: ScriptedProvider
) -> None:
    # given a run whose worker was lost after the agent had acknowledged it
    schedule = await schedule_of(quiet, await agent_of(quiet, "http://127.0.0.1:9"))
    run = await triggered(quiet, schedule)
    async with quiet.base.database.transaction() as connection:
        await connection.execute(
            attempts.insert().values(
                run_id=run.id, n=1, idempotency_key="k", body_sha256="s", outcome=AttemptOutcome.DELIVERED
            )
        )
        later = datetime.now(UTC) + timedelta(hours=1)
        await connection.execute(update(runs).values(attempt_count=1, deadline_at=later))
    provider.decide = lambda *_: False
    # when another worker takes it over
    base = quiet.base
    async with http_client(base.dialer) as http:
        deliveries = Deliveries(base.database, base.notifier, AcpClient(http), base.secrets, base.authority.creators)
        assert await deliveries.attempt(run.id) == Delivered()


async def test_a_manual_run_and_a_backfill_act_as_the_schedule_s_creator_and_an_agent_s_run_as_its_caller(
    running: Stack, provider: ScriptedProvider, scripted_agent: ScriptedAgent
) -> None:
    agent = await agent_of(running, scripted_agent.url)
    schedule = await schedule_of(running, agent, Cron("0 9 * * *", "UTC"), paused=True)

    def actors() -> set[str]:
        acting = {asked.json["principal"]["user_id"] for asked in provider.of_path(CHECK)}
        provider.asked.clear()
        return acting

    provider.asked.clear()
    await ended(running, (await triggered(running, schedule, BOB)).id)
    assert actors() == {"ada"}
    day = Span(datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 3, 2, tzinfo=UTC))
    await running.services.backfills.start(BOB, schedule.id, day, idempotency_key=None)
    for run in await all_runs(running, schedule):
        await ended(running, run.id)
    assert actors() == {"ada"}
    request = AgentRunRequest(agent.id, InitialInput("Go."), None, None, OnUnknown.RETRY, None)
    await ended(running, (await running.services.manual_runs.run_agent(BOB, request)).id)
    assert actors() == {"bob"}


async def test_who_changes_what_is_sent_becomes_the_creator_and_is_asked_about(
    running: Stack, provider: ScriptedProvider, scripted_agent: ScriptedAgent
) -> None:
    agent = await agent_of(running, scripted_agent.url)
    schedule = await schedule_of(running, agent)
    schedules = running.services.schedules
    # given changes of bob's that touch nothing that is sent
    schedule, changed = await schedules.update(
        BOB, schedule.id, {"description": "bob's", "paused": True}, expected_version=1
    )
    assert schedule.creator == ADA.principal
    # when he changes the input, and then ada the params and bob the metadata
    input = InitialInput("Transfer it.")  # noqa: A001 - the definition's word
    schedule, changed = await schedules.update(BOB, schedule.id, {"initial_input": input}, expected_version=2)
    assert schedule.creator == BOB.principal
    assert [each.field for each in changed] == ["initialInput", "creator"]
    schedule, _ = await schedules.update(ADA, schedule.id, {"task_params": {"a": 1}}, expected_version=3)
    assert schedule.creator == ADA.principal
    schedule, _ = await schedules.update(BOB, schedule.id, {"task_metadata": {"b": 1}}, expected_version=4)
    # then it runs as him, and the history says since when
    provider.decide = lambda who, *_: who["user_id"] != "bob"
    run = await ended(running, (await triggered(running, schedule)).id)
    assert (run.status, run.skip_reason) == (RunStatus.SKIPPED, SkipReason.PERMISSION_DENIED)
    page = await running.services.schedule_queries.revisions(ADA, schedule.id, Window(10))
    of_creator = [
        (revision.version, revision.by, each.before["user_id"], each.after["user_id"])
        for revision in page.items
        for each in revision.changed
        if each.field == "creator"
    ]
    assert of_creator == [
        (3, BOB.principal, "ada", "bob"),
        (4, ADA.principal, "bob", "ada"),
        (5, BOB.principal, "ada", "bob"),
    ]


async def test_what_nobody_made_is_sent_in_open_mode_only(
    running: Stack, provider: ScriptedProvider, scripted_agent: ScriptedAgent
) -> None:
    # given a schedule from the time of open mode
    nobody = Actor("acme")
    agent = await agent_of(running, scripted_agent.url)
    schedule = await schedule_of(running, agent)
    changes: ScheduleChanges = {"initial_input": InitialInput("From open mode.")}
    schedule, _ = await running.services.schedules.update(nobody, schedule.id, changes, expected_version=1)
    assert schedule.creator is None
    run = await ended(running, (await triggered(running, schedule)).id)
    assert (run.status, run.skip_reason) == (RunStatus.SKIPPED, SkipReason.PERMISSION_DENIED)
    assert scripted_agent.requests == []


async def test_where_nobody_can_be_asked_it_is_enough_to_be_known() -> None:
    known, unknown = (Work("acme", creator, new_id(), new_id()) for creator in (ADA.principal, None))
    assert [await KnownCreators().may_send(work) for work in (known, unknown)] == [True, False]
    assert [await OpenCreators().may_send(work) for work in (known, unknown)] == [True, True]


async def _asked(provider: ScriptedProvider, count: int) -> bool | None:
    return len(provider.asked) >= count or None
