"""Whether the invariants of docs/faults.md hold, once a fault is over: asked of Postgres, Temporal and the agent.

What was due is worked out by the auditor's own code, from the revisions. The oracle starts nothing and repairs nothing:
it pauses the schedules, waits for the installation to come to rest by itself, and then looks.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import asyncpg
from temporalio.api.workflowservice.v1 import DescribeScheduleRequest, ListSchedulesRequest
from temporalio.client import Client
from temporalio.service import RPCError

from services.clock import Clock, Described, TemporalAway
from services.clock_spec import DesiredClock
from services.database import Database
from services.due import expected_fires
from services.histories import Histories, History
from services.principals import OPEN_ACTOR, Actor
from services.schedule import CLOCK_PREFIX, Schedule, ScheduleState
from services.schedule_queries import ScheduleQueries
from tests.agents.scripted import Received
from tests.faults.figures import Figures
from tests.faults.installation import Unanswered
from tests.waiting import each, eventually

INPUT_METHODS = ("message/send", "event/send")
REST_SECONDS = 400.0
"""The auditor's grace and its period, a lost worker's time limits, and as much again for a busy machine."""
BY_TIME = ("SCHEDULED", "BACKFILL")
NOT_RUN = ("SKIPPED", "MISSED")
OPEN_ENDS = ("UNKNOWN", "FAILED", "CANCELLED")
"""Ends of a run whose request may have reached the agent all the same."""


class Agent(Protocol):
    """An agent with a record of what it got and did."""

    dedupe: bool
    requests: list[Received]
    acknowledged: list[tuple[str, str]]

    def effects_of(self, method: str) -> list[str]: ...


class Api(Protocol):
    async def act(self, action: str, schedule_id: UUID) -> dict[str, Any]: ...


class Installation(Protocol):
    """Real processes, or simulated ones."""

    figures: Figures

    @property
    def direct_database(self) -> str: ...
    async def rows(self, query: str) -> list[Any]: ...
    async def in_sync(self) -> None: ...
    async def temporal(self) -> Client: ...
    async def task_queue(self) -> str: ...


@dataclass(frozen=True)
class Verdict:
    """What the oracle has found; the numbers behind it, for tests that want more than that all is well."""

    due: dict[UUID, list[datetime]]
    runs: list[dict[str, Any]]
    attempts: list[dict[str, Any]]

    def of(self, schedule_id: UUID) -> list[dict[str, Any]]:
        """The runs of a schedule, in the order of their times."""
        return [run for run in self.runs if run["schedule_id"] == schedule_id]

    def statuses(self, schedule_id: UUID) -> Counter[str]:
        """What became of a schedule's runs, but for those that the oracle's own pause came before."""
        return Counter(run["status"] for run in self.of(schedule_id) if run["skip_reason"] != "SCHEDULE_PAUSED")


class Oracle:
    def __init__(
        self,
        installation: Installation,
        *agents: Agent,
        actor: Actor = OPEN_ACTOR,
        look_every: float | None = None,
    ) -> None:
        self._installation = installation
        self._agents = agents
        self._actor = actor
        self._look_every = look_every

    async def verdict(self, api: Api, *, seconds: float = REST_SECONDS) -> Verdict:
        """Let it come to rest, and hold everything against the invariants. Raises AssertionError."""
        database = Database(self._installation.direct_database, pool_size=2)
        try:
            await self._catch_up(database, seconds)
            await self._pause(api, database)
            await self._installation.in_sync()
            histories = await self._histories(database)
            due = {history.schedule_id: _due(history) for history in histories}
            await eventually(lambda: self._at_rest(due), seconds, self._look_every)
            verdict = Verdict(due, await self._all("runs", "fire_at"), await self._all("attempts", "run_id, n"))
            self._check_due(verdict, histories)
            self._check_requests(verdict)
            self._check_ends(verdict)
            await self._check_versions()
            await self._check_clocks(database, seconds)
        finally:
            await database.close()
        self._count(verdict)
        return verdict

    async def _pause(self, api: Api, database: Database) -> None:
        """A pause is the last moment at which anything is due."""
        query = "SELECT id FROM agent_run_schedules WHERE deleted_at IS NULL AND NOT paused"
        ids = [row["id"] for row in await self._installation.rows(query)]
        known = await ScheduleQueries(database).get_many(self._actor, ids)
        now = datetime.now(UTC)

        async def pause(schedule_id: UUID) -> bool | None:
            try:
                answer = await api.act("pause", schedule_id)
            except Unanswered:  # by a connection that the fault has left behind
                return None
            assert "version" in answer, answer
            return True

        await each(
            lambda key: eventually(partial(pause, key)),
            [key for key in ids if known[key].state(now) is not ScheduleState.FINISHED],
        )

    async def _histories(self, database: Database) -> list[History]:
        since = datetime(2000, 1, 1, tzinfo=UTC)
        return [history async for page in Histories(database).pages(since) for history in page]

    async def _catch_up(self, database: Database, seconds: float) -> None:
        """Wait for the runs of what is due by now: one that a pause comes before is skipped, and shows little."""
        due = {history.schedule_id: _due(history) for history in await self._histories(database)}

        async def has_runs() -> bool | None:
            return None if await self._missing(due) else True

        await eventually(has_runs, seconds, self._look_every)

    async def _missing(self, due: dict[UUID, list[datetime]]) -> list[tuple[UUID, datetime]]:
        rows = await self._installation.rows("SELECT schedule_id, fire_at FROM runs")
        found = {(row["schedule_id"], row["fire_at"]) for row in rows}
        return [(key, fire) for key, fires in due.items() for fire in fires if (key, fire) not in found]

    async def _at_rest(self, due: dict[UUID, list[datetime]]) -> bool | None:
        """Every due time has its run, and every run has ended."""
        unfinished = await self._installation.rows("SELECT id FROM runs WHERE finished_at IS NULL")
        return None if unfinished or await self._missing(due) else True

    async def _all(self, table: str, order: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await self._installation.rows(f"SELECT * FROM {table} ORDER BY {order}")]

    def _check_due(self, verdict: Verdict, histories: Sequence[History]) -> None:
        """I3, I4, I5, I8: one run for each due time, and none delivered that a pause or a delete stood before."""
        scheduled = [run for run in verdict.runs if run["trigger"] in BY_TIME]
        times = Counter((run["schedule_id"], run["fire_at"]) for run in scheduled)
        assert [key for key, count in times.items() if count > 1] == []
        lacking = {key: [at for at in fires if (key, at) not in times] for key, fires in verdict.due.items()}
        assert {key: fires for key, fires in lacking.items() if fires} == {}
        regimes = {history.schedule_id: history.regimes for history in histories}
        for run in scheduled:
            if run["trigger"] == "SCHEDULED" and run["status"] not in NOT_RUN:
                in_force = [regime for regime in regimes[run["schedule_id"]] if regime.since <= run["claimed_at"]]
                assert in_force, f"claimed before its schedule was there: {run}"
                assert in_force[-1].active, f"claimed though paused or deleted: {run}"

    def _check_requests(self, verdict: Verdict) -> None:
        """I6, I7: a request is an attempt's, with its key and bytes; a delivery was acknowledged, and worked once."""
        attempts = {(str(row["run_id"]), row["n"]): row for row in verdict.attempts}
        bodies: dict[str, set[bytes]] = {}
        for received in self._requests():
            run_id, number, part = received.request_id.split(".")
            attempt = attempts[run_id, int(number)]
            assert part == "input"
            assert received.key == run_id == attempt["idempotency_key"]
            assert hashlib.sha256(received.body).hexdigest() == attempt["body_sha256"]
            bodies.setdefault(run_id, set()).add(received.body)
        assert {key: len(copies) for key, copies in bodies.items() if len(copies) > 1} == {}
        delivered = {str(run["id"]) for run in verdict.runs if run["status"] == "DELIVERED"}
        acknowledged = {key for agent in self._agents for method, key in agent.acknowledged if method in INPUT_METHODS}
        by_hand = {str(run["id"]) for run in verdict.runs if run["interventions"] not in ("[]", [])}
        assert delivered - acknowledged - by_hand == set()
        for agent in self._agents:
            effects = [key for method in INPUT_METHODS for key in agent.effects_of(method)]
            assert not agent.dedupe or len(effects) == len(set(effects))
        worked = {key for agent in self._agents for method in INPUT_METHODS for key in agent.effects_of(method)}
        open_ends = {str(run["id"]) for run in verdict.runs if run["status"] in OPEN_ENDS}
        assert delivered - by_hand - worked == set()
        unsaid = [run for run in verdict.runs if str(run["id"]) in worked - open_ends - by_hand - delivered]
        assert not unsaid, f"the agent did the work of these: {unsaid}"

    def _check_ends(self, verdict: Verdict) -> None:
        """I10: every run has ended within its horizon, and no attempt is open."""
        assert [run["id"] for run in verdict.runs if run["finished_at"] is None] == []
        assert [(row["run_id"], row["n"]) for row in verdict.attempts if row["outcome"] == "IN_FLIGHT"] == []
        for run in verdict.runs:
            numbers = [row["n"] for row in verdict.attempts if row["run_id"] == run["id"]]
            assert numbers == [*range(1, run["attempt_count"] + 1)]

    async def _check_versions(self) -> None:
        """I9: versions are 1 to n, and each has its revision."""
        query = """
            SELECT s.id, s.version, array_agg(r.version ORDER BY r.version) AS revisions
            FROM agent_run_schedules s LEFT JOIN schedule_revisions r ON r.schedule_id = s.id GROUP BY s.id
        """
        for row in await self._installation.rows(query):
            assert row["revisions"] == [*range(1, row["version"] + 1)], row

    async def _check_clocks(self, database: Database, seconds: float) -> None:
        """I2, I3: each live row has the clock that it wants, by a strong read, and nothing else of ours is there."""
        client, queue = await self._installation.temporal(), await self._installation.task_queue()
        clock = Clock(client, task_queue=queue)
        rows = await self._installation.rows("SELECT id, deleted_at FROM agent_run_schedules")
        known = await ScheduleQueries(database).get_many(self._actor, [row["id"] for row in rows])

        async def look(schedule_id: UUID) -> tuple[Described | None] | None:
            try:
                return (await clock.describe(schedule_id),)
            except TemporalAway:  # a development server that has a thousand clocks to run may be late with an answer
                return None

        async def check(row: asyncpg.Record) -> None:
            (described,) = await eventually(partial(look, row["id"]), seconds, self._look_every)
            if row["deleted_at"] is not None:
                assert described is None, f"a zombie: {row['id']}"
            else:
                assert described is not None, f"no clock: {row['id']}"
                assert described.form == await clock.desired_form(_desired(known[row["id"]])), row["id"]

        await each(check, rows)
        live = {row["id"] for row in rows if row["deleted_at"] is None}

        async def no_strays() -> bool | None:
            try:
                return True if await our_clocks(client, queue) <= live else None
            except RPCError:  # late, as above
                return None

        await eventually(no_strays, seconds, self._look_every)  # visibility is a moment behind

    def _requests(self) -> list[Any]:
        return [received for agent in self._agents for received in agent.requests if received.method in INPUT_METHODS]

    def _count(self, verdict: Verdict) -> None:
        figures, requests = self._installation.figures, self._requests()
        due = [(key, at) for key, fires in verdict.due.items() for at in fires]
        found = Counter((run["schedule_id"], run["fire_at"]) for run in verdict.runs if run["trigger"] in BY_TIME)
        figures.add("Due times expected", len(due))
        figures.add("Due times with a run", sum(each in found for each in due))
        figures.add("Due times with two runs", sum(count > 1 for count in found.values()))
        figures.add("Requests at agents", len(requests))
        figures.add("Requests at agents: distinct keys", len({received.key for received in requests}))
        for agent in self._agents:
            keys = [key for method in INPUT_METHODS for key in agent.effects_of(method)]
            if agent.dedupe:
                figures.add("Effects at agents that dedupe", len(keys))
                figures.add("Effects at agents that dedupe: twice", len(keys) - len(set(keys)))


async def our_clocks(client: Client, queue: str) -> set[UUID]:
    """The ids of the clocks in the namespace that start workflows in this queue."""
    request = ListSchedulesRequest(
        namespace=client.namespace, maximum_page_size=1000, query=f"ScheduleId STARTS_WITH '{CLOCK_PREFIX}'"
    )
    found: set[UUID] = set()

    async def look(schedule_id: str) -> None:
        asked = DescribeScheduleRequest(namespace=client.namespace, schedule_id=schedule_id)
        with suppress(RPCError):  # it went while we looked
            described = await client.workflow_service.describe_schedule(asked)
            if described.schedule.action.start_workflow.task_queue.name == queue:
                found.add(UUID(schedule_id.removeprefix(CLOCK_PREFIX)))

    while True:
        listed = await client.workflow_service.list_schedules(request)
        await each(look, [entry.schedule_id for entry in listed.schedules])
        if not listed.next_page_token:
            return found
        request.next_page_token = listed.next_page_token


def _desired(schedule: Schedule) -> DesiredClock:
    return DesiredClock(schedule.id, schedule.version, schedule.definition)


def _due(history: History) -> list[datetime]:
    return list(expected_fires(history.regimes, history.after, datetime.now(UTC) - timedelta(seconds=1)))
