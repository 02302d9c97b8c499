"""Many at once: clients at one schedule, due times in one second, workers that come and go, rows that are poison."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from services.workflows import ScheduledAgentRun
from tests.agents.scripted import ScriptedAgent
from tests.faults.installation import OFTEN, YEARLY, Api, Installation, Unanswered
from tests.faults.oracle import Oracle
from tests.waiting import each

Answer = TypeVar("Answer")
CLIENTS, TRIES = 100, 5
DUE_AT_ONCE, CREATED_AT_ONCE, SAMPLE = 1_000, 10, 50
FIRES_ALONE = 8
CROWD_SECONDS = 900
"""For a thousand runs on a development server, where some 30 of them a second are many."""
UNATTENDED = timedelta(minutes=10)
POISON = (
    "cron_expression = 'poison', time_zone = 'Moon/Base', interval_seconds = NULL, interval_offset_seconds = NULL",
    "initial_input = '[1, 2]'",
    'labels = \'{"no": "list"}\'',
    "task_params = '\"no object\"'",
    "creator_principal = '7'",
)


@pytest.mark.fault("F29")
@pytest.mark.matrix
async def test_a_hundred_clients_at_one_schedule_lose_no_update(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent
) -> None:
    async with installation.running() as (api, _):
        agent_id = await api.agent(scripted_agent.url)
        schedule_id: UUID = (await api.create(agent_id, YEARLY))["id"]
        # when a hundred clients change it, each by the version that it knows, and anew where that is old
        tried = await asyncio.gather(*(_try(api, schedule_id, number) for number in range(CLIENTS)))
        # then each change that was taken made a version of its own, on top of the one that its client knew
        kept = {version: said for made in tried for version, said in made.items()}
        assert sorted(version for made in tried for version in made) == [*range(2, len(kept) + 2)]
        assert len(kept) >= TRIES
        query = "SELECT version, definition ->> 'description' AS said FROM schedule_revisions WHERE version > 1"
        assert {row["version"]: row["said"] for row in await installation.rows(query)} == kept
        # and a hundred requests with one key make one run
        trigger = partial(api.trigger, schedule_id, idempotencyKey="once")
        runs = await asyncio.gather(*(insisted(trigger) for _ in range(CLIENTS)))
        assert len(set(runs)) == 1
        verdict = await oracle.verdict(api)
        assert [run["id"] for run in verdict.runs] == [runs[0]]
        installation.figures.add("Acknowledged mutations", len(kept))
        installation.figures.add("Acknowledged mutations lost", 0)
        installation.figures.injected("clients at one schedule", CLIENTS)


async def insisted(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer, however often the API says that it is too busy, and has changed nothing."""
    while True:
        try:
            return await ask()
        except Unanswered as error:
            if "UNAVAILABLE" not in str(error):
                raise


async def _try(api: Api, schedule_id: UUID, number: int) -> dict[int, str]:
    """Change the description a few times, each from a known version to the next; what was said in which version."""
    known, made = 1, {}
    for turn in range(TRIES):
        description = f"client {number}, turn {turn}"
        answer = await insisted(partial(api.update, schedule_id, known, description=description))
        if "version" in answer:
            # The answer shows the row as it is by now, which another may have changed since.
            made[known + 1] = description
        else:
            assert answer["code"] == "VERSION_CONFLICT", answer
        node = await insisted(partial(api.ask, "{ schedules(first: 1) { nodes { version } } }"))
        known = node["schedules"]["nodes"][0]["version"]
    return made


@pytest.mark.fault("F30")
@pytest.mark.fault("F33")
@pytest.mark.matrix
async def test_a_thousand_due_in_the_same_second_are_all_recorded_though_a_worker_is_stopped(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent
) -> None:
    async with installation.running() as (api, _):
        agent_id = await api.agent(scripted_agent.url)
        # given one schedule that fires alone
        alone = await api.create(agent_id, OFTEN)
        await installation.ran(alone["id"], FIRES_ALONE)
        await api.act("pause", alone["id"])
        # and many that are due at the same time, once, with many workers
        async with installation.worker(), installation.worker() as stopping:
            due = await _a_time_to_come(api, agent_id)
            cron = {"cron": {"expression": f"{due:%-S %-M %-H %-d %-m * %Y}"}}
            made = await each(lambda _: _created(api, agent_id, cron), range(DUE_AT_ONCE), CREATED_AT_ONCE)
            crowd = {schedule["id"] for schedule in made}
            await installation.in_sync()
            assert datetime.now(UTC) < due, "the machine has become much slower meanwhile"
            # when one of them is stopped in the middle of it
            delivered = "SELECT 1 FROM runs WHERE fire_at = $1 AND status = 'DELIVERED' OFFSET $2"
            await asyncio.sleep((due - datetime.now(UTC)).total_seconds())
            await installation.until(delivered, due, DUE_AT_ONCE // 10, seconds=CROWD_SECONDS)
            stopping.terminate()
            assert await stopping.ended() == 0
            done = await installation.rows("SELECT 1 FROM runs WHERE fire_at = $1 AND status = 'DELIVERED'", due)
            assert len(done) < DUE_AT_ONCE, "it was stopped when all was over"
            await installation.until(delivered, due, DUE_AT_ONCE - 1, seconds=CROWD_SECONDS)
            verdict = await oracle.verdict(api)
    # then each has its one run, sent once, and the lag is what it is
    together = [run for run in verdict.runs if run["schedule_id"] in crowd]
    assert [run["fire_at"] for run in together] == [due] * DUE_AT_ONCE
    assert {run["schedule_id"] for run in together} == crowd
    assert Counter(run["attempt_count"] for run in together) == {1: DUE_AT_ONCE}
    installation.figures.injected("due times in the same second", DUE_AT_ONCE)
    for name, runs in (("idle", verdict.of(alone["id"])), (f"{DUE_AT_ONCE:,} at once", together)):
        for run in runs:
            if run["status"] == "DELIVERED":
                installation.figures.took(f"Fire lag, {name}", (run["delivered_at"] - run["fire_at"]).total_seconds())


async def _created(api: Api, agent_id: UUID, cadence: Any) -> dict[str, Any]:
    """A new schedule, asked for under one key until there is an answer."""
    ask = partial(api.create, agent_id, cadence, name=f"schedule-{uuid4()}", idempotencyKey=str(uuid4()))
    while True:
        with suppress(Unanswered):
            return await ask()


async def _a_time_to_come(api: Api, agent_id: UUID) -> datetime:
    """A second by which as many schedules as are wanted will be there, by the pace of the first few."""
    begun = time.monotonic()
    await each(lambda _: _created(api, agent_id, YEARLY), range(SAMPLE), CREATED_AT_ONCE)
    pace = timedelta(seconds=time.monotonic() - begun) / SAMPLE
    return (datetime.now(UTC) + 2 * DUE_AT_ONCE * pace + timedelta(seconds=20)).replace(microsecond=0)


@pytest.mark.fault("F31")
@pytest.mark.matrix
async def test_workers_are_replaced_one_by_one_and_every_history_replays(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent
) -> None:
    async with installation.running() as (api, first):
        schedule = await api.create(await api.agent(scripted_agent.url), OFTEN)
        await installation.ran(schedule["id"], 2)
        # when a new worker comes beside the old one, and the old one goes
        async with installation.worker() as second:
            await installation.ran(schedule["id"], 4)
            first.terminate()
            assert await first.ended() == 0
            async with installation.worker():
                await installation.ran(schedule["id"], 6)
                second.terminate()
                assert await second.ended() == 0
                verdict = await oracle.verdict(api)
        assert verdict.statuses(schedule["id"]).keys() == {"DELIVERED"}
        assert {run["attempt_count"] for run in verdict.of(schedule["id"]) if run["status"] == "DELIVERED"} == {1}
        # then every history is what the code would do again
        client, queue = await installation.temporal(), await installation.task_queue()
        replayer = Replayer(workflows=[ScheduledAgentRun], workflow_runner=UnsandboxedWorkflowRunner())
        histories = client.list_workflows(f"TaskQueue = '{queue}'").map_histories()
        replayed = await replayer.replay_workflows(histories, raise_on_replay_failure=False)
        assert replayed.replay_failures == {}
        installation.figures.add("Workflow histories replayed", len(verdict.runs))


@pytest.mark.fault("F13")
@pytest.mark.matrix
async def test_nobody_was_at_work_for_ten_minutes(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent
) -> None:
    async with installation.api() as api:
        agent_id = await api.agent(scripted_agent.url)
        # given fires that wait in Temporal for a worker, and ten minutes in which there was not even a clock
        waiting = await api.create(agent_id, OFTEN)
        unseen = await api.create(agent_id, {"interval": {"everySeconds": 10}})
        await installation.in_sync()
        await _predate(installation, unseen["id"])
        await asyncio.sleep(20)
        # The API makes the run of a time that was due while it made the clock, but sends nothing.
        assert await installation.rows("SELECT * FROM attempts") == []
        installation.figures.injected("no worker")
        # when a worker comes
        came = time.monotonic()
        async with installation.worker():
            verdict = await oracle.verdict(api)
            installation.figures.took("Recovery after no worker", time.monotonic() - came)
    # then all of it is delivered, since their policy is to run every fire
    assert len(verdict.of(waiting["id"])) >= 6
    assert len(verdict.of(unseen["id"])) >= 60
    for schedule in (waiting, unseen):
        assert verdict.statuses(schedule["id"]).keys() == {"DELIVERED"}


async def _predate(installation: Installation, schedule_id: UUID) -> None:
    for table, column, key in (
        ("agent_run_schedules", "created_at", "id"),
        ("schedule_revisions", "at", "schedule_id"),
    ):
        statement = f"UPDATE {table} SET {column} = {column} - $2::interval WHERE {key} = $1"
        await installation.rows(statement, schedule_id, UNATTENDED)


@pytest.mark.fault("F25")
@pytest.mark.matrix
async def test_poison_in_rows_and_inputs_harms_nobody_else(
    installation: Installation, oracle: Oracle, scripted_agent: ScriptedAgent
) -> None:
    async with installation.running() as (api, worker):
        agent_id = await api.agent(scripted_agent.url)
        healthy = await api.create(agent_id, OFTEN)
        # given rows that someone has broken by hand
        broken = [(await api.create(agent_id, OFTEN))["id"] for _ in POISON]
        for schedule_id, poison in zip(broken, POISON, strict=True):
            await installation.rows(f"UPDATE agent_run_schedules SET {poison} WHERE id = $1", schedule_id)
            installation.figures.injected("poisoned rows")
        # and inputs that a client may send
        odd = {"emoji": "🦥 — ok", "large": "x" * 60_000}
        made = [await api.create(agent_id, YEARLY, initialInput={"content": content}) for content in odd.values()]
        asked = [await api.trigger(schedule["id"]) for schedule in made]
        for poison, words in (("a\x00b", "NUL character"), ("x" * 1_000_000, "larger than")):
            with pytest.raises(Unanswered, match=words):
                await api.create(agent_id, YEARLY, initialInput={"content": poison})
            installation.figures.injected("poisoned inputs")
        # then the healthy one goes on
        before = len(await installation.rows("SELECT 1 FROM runs WHERE schedule_id = $1", healthy["id"]))
        await installation.ran(healthy["id"], before + 3)
        for run_id in asked:
            await installation.until("SELECT 1 FROM runs WHERE id = $1 AND status = 'DELIVERED'", run_id)
        assert worker.exit_code is None
        # and new ones are made, changed and read
        fresh = await api.create(agent_id, YEARLY)
        changed = await api.update(fresh["id"], 1, description="words")
        assert changed["version"] == 2
        await installation.until("SELECT 1 FROM agent_run_schedules WHERE id = $1 AND applied_version = 2", fresh["id"])
        # and everything holds once the poison is gone
        await _remove(installation, broken)
        verdict = await oracle.verdict(api)
    assert verdict.statuses(healthy["id"]).keys() == {"DELIVERED"}


async def _remove(installation: Installation, broken: Sequence[UUID]) -> None:
    whole: Any = await installation.row(
        "SELECT initial_input, labels, interval_seconds FROM agent_run_schedules WHERE id <> ALL($1)", broken
    )
    await installation.rows(
        """
        UPDATE agent_run_schedules SET cron_expression = NULL, time_zone = NULL, interval_seconds = 1,
            interval_offset_seconds = 0, initial_input = $2, labels = $3, task_params = NULL, creator_principal = NULL
        WHERE id = ANY($1)
        """,
        broken,
        whole["initial_input"],
        whole["labels"],
    )
