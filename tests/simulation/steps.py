"""What may happen to a simulated installation: what people ask of it, and what goes wrong."""

import asyncio
import dataclasses
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from resolvers.context import Services
from services.agent import Agent, AgentProtocol
from services.backfills import Span
from services.cadence import Cadence, Cron, Interval
from services.cadence import compile as compile_cadence
from services.calendar import fires
from services.errors import Unavailable, UserError
from services.failpoints import Deed, Failpoint, Trap, arm
from services.schedule import Definition, MissedFirePolicy, OnUnknown, OverlapPolicy, Schedule
from tests.simulation.agents import Mood
from tests.simulation.installation import ACTOR, Installation, Unanswered
from tests.simulation.temporal import Engine
from tests.stack import definition

WORKERS = ("worker-1", "worker-2")
MOST_SCHEDULES = 4
Answer = TypeVar("Answer")
Step = Callable[[], Awaitable[str | None]]


class Steps:
    """Draws one step after the other from the seed, and takes it. Each says in words what it did."""

    def __init__(self, installation: Installation, rng: random.Random) -> None:
        self.acknowledged: list[tuple[UUID, int]] = []
        """Versions that a caller was told of."""
        self.answers: dict[str, set[Any]] = {}
        """What was answered under each idempotency key."""
        self._installation = installation
        self._rng = rng
        self._schedules: list[UUID] = []
        self._agents: list[Agent] = []
        self._places = [*zip(installation.network.urls(), (AgentProtocol.SYNC, AgentProtocol.ASYNC), strict=True)]
        """Where agents are, and what each speaks."""
        self._under_way: set[asyncio.Task[None]] = set()
        self._number = 0
        self._asked: list[tuple[Step, int]] = [
            (self._create, 6),
            (self._update, 10),
            (self._pause, 5),
            (self._resume, 8),
            (self._skip, 6),
            (self._unskip, 2),
            (self._trigger, 8),
            (self._backfill, 4),
            (self._retry, 5),
            (self._delete, 2),
            (self._delete_agent, 1),
            (self._register, 4),
            (self._nothing, 12),
        ]
        self._faults: list[tuple[Step, int]] = [
            (self._temporal_down, 3),
            (self._temporal_empty, 1),
            (self._temporal_slow, 3),
            (self._signals_late, 2),
            (self._clock_edited, 4),
            (self._failpoint, 10),
            (self._killed, 4),
            (self._frozen, 3),
            (self._notifications_lost, 2),
            (self._connection_broken, 6),
            (self._postgres_away, 1),
            (self._postgres_killed, 1),
            (self._agent_moody, 8),
            (self._creator_revoked, 2),
        ]

    async def begin(self) -> None:
        """Two agents, and a first schedule."""
        for place in self._places:
            self._agents.append(await self._installation.ask(self._registering(*place)))
        await self._create()

    async def take(self) -> str:
        """The next step, in words."""
        steps = self._asked if self._rng.random() < 0.65 else self._faults
        (step,) = self._rng.choices([step for step, _ in steps], [weight for _, weight in steps])
        said = await step() or f"{step.__name__.removeprefix('_')}: not now"
        pause = self._rng.choices([0.0, self._rng.uniform(0, 4), self._rng.uniform(4, 25)], [6, 12, 1])[0]
        await asyncio.sleep(pause)
        return f"{said}, then {pause:.1f} s"

    async def end(self) -> None:
        """Nothing goes wrong any more, and who was asked has answered."""
        installation = self._installation
        arm({})
        installation.links.away, installation.links.loses_notifications = None, False
        installation.links.breaks.clear()
        installation.weather.latency_seconds, installation.weather.loses = (0.001, 0.02), 0.0
        installation.temporal_server.signal_delay = timedelta(milliseconds=15)
        if not installation.temporal_server.schedules.running:
            installation.temporal_server.start()
        for agent in installation.agents:
            agent.mood = Mood.WELL
        await installation.revoke(revoked=False)
        for name, process in [*installation.processes.items()]:
            process.thaw()
            if process.is_dead:
                installation.start(name)
        if self._under_way:
            await asyncio.wait(self._under_way)
            for task in self._under_way:
                task.result()

    # What people ask.

    async def _create(self) -> str | None:
        if len(self._schedules) >= MOST_SCHEDULES:
            return None
        self._number += 1
        wanted = definition(self._cadence(), name=f"schedule-{self._number}", **self._terms())
        agent, key = self._rng.choice(self._agents), f"create-{self._number}"

        async def create(services: Services) -> Schedule:
            return await services.schedules.create(ACTOR, agent.id, wanted, idempotency_key=key)

        def created(schedule: Schedule) -> None:
            self._told(schedule)
            self._answered(key, schedule.id)
            if schedule.id not in self._schedules:
                self._schedules.append(schedule.id)

        return await self._ask(f"create {wanted.name} {wanted.cadence} {wanted.overlap_policy}", create, created)

    async def _update(self) -> str | None:
        changes: list[dict[str, Any]] = [
            {"cadence": self._cadence()},
            {"initial_input": dataclasses.replace(definition().initial_input, content=f"Text {self._rng.random()}")},
            {"catch_up_window": timedelta(seconds=self._rng.choice([60, 600]))},
            self._terms(),
        ]
        change, is_stale = self._rng.choice(changes), self._rng.random() < 0.1

        async def update(services: Services, schedule_id: UUID) -> Schedule:
            known = (await services.schedule_queries.get_many(ACTOR, [schedule_id]))[schedule_id]
            expected = known.version - is_stale
            changed, _ = await services.schedules.update(ACTOR, schedule_id, change, expected_version=expected)  # type: ignore[arg-type]
            assert not is_stale, "a change was taken over a newer one"
            return changed

        return await self._change(f"update {sorted(change)}", update)

    async def _pause(self) -> str | None:
        return await self._change(
            "pause",
            lambda services, known: services.schedules.pause(ACTOR, known, expected_version=None, note=None),
        )

    async def _resume(self) -> str | None:
        return await self._change(
            "resume",
            lambda services, known: services.schedules.resume(ACTOR, known, expected_version=None, note=None),
        )

    async def _delete(self) -> str | None:
        if len(self._schedules) < 2:
            return None
        return await self._change(
            "delete",
            lambda services, known: services.schedules.delete(ACTOR, known, expected_version=None, note=None),
            gone=True,
        )

    async def _delete_agent(self) -> str | None:
        """Its schedules stay, and what they start ends as skipped."""
        if len(self._agents) < len(self._places):
            return None
        agent = self._agents.pop(self._rng.randrange(len(self._agents)))
        return await self._ask(
            f"delete {agent.name}", lambda services: services.agents.delete(ACTOR, agent.id, expected_version=None)
        )

    async def _register(self) -> str | None:
        """An agent of another name, in the place of the one that was deleted."""
        taken = {agent.url for agent in self._agents}
        place = next((place for place in self._places if place[0] not in taken), None)
        if place is None:
            return None
        return await self._ask("register an agent", self._registering(*place), self._agents.append)

    def _registering(self, url: str, protocol: AgentProtocol) -> Callable[[Services], Awaitable[Agent]]:
        self._number += 1
        name = f"agent-{self._number}"

        async def register(services: Services) -> Agent:
            return await services.agents.register(
                ACTOR, name=name, description=None, protocol=protocol, url=url, api_key=None
            )

        return register

    async def _skip(self) -> str | None:
        return await self._of_next_fire("skip", lambda skips: skips.skip)

    async def _unskip(self) -> str | None:
        return await self._of_next_fire("unskip", lambda skips: skips.unskip)

    async def _of_next_fire(self, name: str, do: Callable[[Any], Callable[..., Awaitable[datetime]]]) -> str | None:
        if not self._schedules:
            return None
        schedule_id, count = self._rng.choice(self._schedules), self._rng.randint(1, 3)

        async def change(services: Services) -> datetime:
            known = (await services.schedule_queries.get_many(ACTOR, [schedule_id]))[schedule_id]
            at = nth_fire(known.definition, count)
            return await do(services.skips)(ACTOR, schedule_id, at, note=None)

        return await self._ask(f"{name} fire {count} of {self._name(schedule_id)}", change)

    async def _trigger(self) -> str | None:
        if not self._schedules:
            return None
        self._number += 1
        schedule_id, key, skips = self._rng.choice(self._schedules), f"trigger-{self._number}", self._rng.random() < 0.3

        async def trigger(services: Services) -> UUID:
            run = await services.manual_runs.trigger(
                ACTOR, schedule_id, idempotency_key=key, note=None, skip_next_fire=skips
            )
            return run.id

        return await self._ask(
            f"trigger {self._name(schedule_id)}{' instead of the next' if skips else ''}",
            trigger,
            lambda run_id: self._answered(key, run_id),
        )

    async def _backfill(self) -> str | None:
        if not self._schedules:
            return None
        self._number += 1
        schedule_id, key = self._rng.choice(self._schedules), f"backfill-{self._number}"
        now = datetime.now(UTC)
        span = Span(now - timedelta(seconds=self._rng.uniform(60, 240)), now - timedelta(seconds=1))

        async def backfill(services: Services) -> tuple[datetime, ...]:
            return await services.backfills.start(ACTOR, schedule_id, span, idempotency_key=key)

        return await self._ask(
            f"backfill {self._name(schedule_id)}", backfill, lambda fires: self._answered(key, fires)
        )

    async def _retry(self) -> str | None:
        query = "SELECT id FROM runs WHERE status IN ('FAILED', 'UNKNOWN', 'MISSED') ORDER BY fire_at, fire_key"
        if not (rows := await self._installation.rows(query)):
            return None
        self._number += 1
        run_id, key = self._rng.choice(rows)["id"], f"retry-{self._number}"

        async def retry(services: Services) -> UUID:
            return (await services.interventions.retry(ACTOR, run_id, idempotency_key=key, note=None)).id

        return await self._ask("retry a run", retry, lambda answer: self._answered(key, answer))

    async def _nothing(self) -> str:
        return "nothing"

    async def _change(
        self, name: str, do: Callable[[Services, UUID], Awaitable[Schedule]], *, gone: bool = False
    ) -> str | None:
        if not self._schedules:
            return None
        schedule_id = self._rng.choice(self._schedules)
        said = f"{name} {self._name(schedule_id)}"
        if gone:
            self._schedules.remove(schedule_id)
        return await self._ask(said, lambda services: do(services, schedule_id), self._told)

    async def _ask(
        self,
        name: str,
        do: Callable[[Services], Awaitable[Answer]],
        then: Callable[[Answer], None] = lambda _: None,
    ) -> str:
        """Now, or beside the steps that follow; a second time where no answer came, as a client does."""

        async def asking() -> None:
            for _ in range(2):
                with suppress(UserError):
                    try:
                        then(await self._installation.ask(do))
                    except (Unanswered, Unavailable):
                        self._installation.figures.add("Requests to the API without an answer")
                        continue
                if self._rng.random() > 0.1:
                    break

        task = asyncio.create_task(asking())
        self._under_way.add(task)
        if self._rng.random() < 0.4:
            return f"{name}, beside"
        await asyncio.wait({task})
        return name

    def _told(self, schedule: Schedule) -> None:
        self.acknowledged.append((schedule.id, schedule.version))

    def _answered(self, key: str, answer: Any) -> None:
        self.answers.setdefault(key, set()).add(answer)

    def _name(self, schedule_id: UUID) -> str:
        return f"the {self._schedules.index(schedule_id) + 1}."

    def _cadence(self) -> Cadence:
        if self._rng.random() < 0.6:
            seconds = self._rng.choice([10, 15, 20, 30, 45])
            return Interval(timedelta(seconds=seconds), timedelta(seconds=self._rng.randrange(seconds)))
        return Cron(self._rng.choice(["* * * * *", "*/2 8-20 * * *", "10,40 * * * * *"]), "Asia/Tokyo")

    def _terms(self) -> dict[str, Any]:
        return {
            "overlap_policy": self._rng.choice([*OverlapPolicy]),
            "missed_fire_policy": self._rng.choice([*MissedFirePolicy]),
            "on_unknown": self._rng.choice([*OnUnknown]),
            "retry_horizon": timedelta(seconds=self._rng.choice([30, 60, 120])),
            "pause_after_failures": self._rng.choice([None, None, 2, 4]),
        }

    # What goes wrong.

    async def _temporal_down(self) -> str | None:
        server = self._installation.temporal_server
        if not server.schedules.running:
            return None
        server.stop()
        seconds = self._rng.uniform(2, 40)
        self._later(seconds, self._temporal_up)
        return self._injected("Temporal: down", f"for {seconds:.0f} s")

    async def _temporal_empty(self) -> str | None:
        server = self._installation.temporal_server
        if not server.schedules.running:
            return None
        server.stop()
        server.wipe()
        self._later(self._rng.uniform(0, 5), self._temporal_up)
        return self._injected("Temporal: came back empty")

    def _temporal_up(self) -> None:
        if not self._installation.temporal_server.schedules.running:
            self._installation.temporal_server.start()

    async def _temporal_slow(self) -> str:
        weather = self._installation.weather
        weather.latency_seconds = (0.0, self._rng.choice([0.5, 2.0, 6.0]))
        weather.loses = self._rng.choice([0.0, 0.2])
        self._later(self._rng.uniform(3, 25), self._temporal_prompt)
        return self._injected("Temporal: slow, or calls lost", f"{weather.latency_seconds[1]} s, {weather.loses}")

    def _temporal_prompt(self) -> None:
        self._installation.weather.latency_seconds, self._installation.weather.loses = (0.001, 0.02), 0.0

    async def _signals_late(self) -> str | None:
        server = self._installation.temporal_server
        if server.schedules.engine is not Engine.V1:
            return None
        server.signal_delay = timedelta(seconds=self._rng.choice([0.015, 0.4, 3.0]))
        return self._injected("Temporal: writes taken late", f"{server.signal_delay.total_seconds()} s")

    async def _clock_edited(self) -> str | None:
        schedules = self._installation.temporal_server.schedules
        if not schedules.running or not schedules.entries:
            return None
        entry = self._rng.choice([*schedules.entries.values()])
        deed = self._rng.choice(["deleted", "paused", "edited", "triggered"])
        if deed == "deleted":
            schedules.remove(entry.id)
        elif deed == "triggered":
            schedules.trigger(entry)
        else:
            if deed == "paused":
                entry.message.state.paused = True
            else:
                del entry.message.spec.structured_calendar[:]
                entry.message.spec.ClearField("interval")
                entry.message.spec.interval.add().interval.FromSeconds(self._rng.choice([7, 60]))
            schedules.changed(entry)
        return self._injected(f"clock: {deed} behind our back")

    async def _failpoint(self) -> str:
        point = self._rng.choice([*Failpoint])
        deed = self._rng.choice([Deed.KILL, Deed.KILL, Deed.RAISE, Deed.WAIT, Deed.FREEZE])
        seconds = self._rng.choice([1.0, 8.0, 45.0]) if deed is Deed.WAIT else 0.0
        hit, noticed_after = self._rng.randint(1, 3), self._rng.uniform(0.5, 60)

        def strike(number: signal.Signals) -> None:
            self._installation.strike(number)
            self._later(noticed_after, self._look_after)

        arm({point: Trap(deed, seconds, hit, hit)}, strike)
        return self._injected("failpoints armed", f"{point}: {deed}")

    async def _killed(self) -> str | None:
        name = self._rng.choice(["api", *WORKERS])
        process = self._installation.processes[name]
        if process.is_dead:
            return None
        self._installation.kill(process)
        self._later(self._rng.uniform(0.5, 15), self._look_after)
        return f"{name} killed"

    async def _frozen(self) -> str | None:
        name = self._rng.choice(["api", *WORKERS])
        process = self._installation.processes[name]
        if process.stands_still:
            return None
        process.freeze()
        seconds = self._rng.choice([3.0, 14.0, 45.0])
        self._later(seconds, process.thaw)
        return self._injected(f"{name}: frozen", f"for {seconds:.0f} s")

    def _look_after(self) -> None:
        """What a supervisor does: start what has died, and let go on what was stopped."""
        for name, process in [*self._installation.processes.items()]:
            process.thaw()
            if process.is_dead:
                self._installation.start(name)

    async def _notifications_lost(self) -> str:
        self._installation.links.loses_notifications = True
        self._later(self._rng.uniform(5, 30), self._notifications_heard)
        return self._injected("Postgres: notifications lost")

    def _notifications_heard(self) -> None:
        self._installation.links.loses_notifications = False

    async def _connection_broken(self) -> str:
        process = self._installation.processes[self._rng.choice(["api", *WORKERS])]
        after = self._rng.random() < 0.6
        self._later(self._rng.uniform(0, 3), lambda: self._installation.links.breaks.update({process: after}))
        when = "after" if after else "before"
        return self._injected("Postgres: connection broken", f"of {process.name}, {when} a statement was done")

    async def _postgres_away(self) -> str | None:
        links = self._installation.links
        if links.away is not None:
            return None
        links.away = ConnectionRefusedError("Postgres is away.")
        links.cut()
        seconds = self._rng.uniform(1, 8)
        self._later(seconds, self._postgres_back)
        return self._injected("Postgres: away", f"for {seconds:.0f} s")

    async def _postgres_killed(self) -> str | None:
        links = self._installation.links
        if links.away is not None:
            return None
        links.away = ConnectionRefusedError("Postgres is dead.")
        links.kill()
        dead, starting = self._rng.uniform(0.1, 3), self._rng.uniform(0.1, 3)
        self._later(dead, self._postgres_starting)
        self._later(dead + starting, self._postgres_back)
        return self._injected("Postgres: killed", f"for {dead:.1f} s, and {starting:.1f} s to start")

    def _postgres_starting(self) -> None:
        if self._installation.links.away is not None:
            self._installation.links.away = asyncpg.CannotConnectNowError("the database system is starting up")

    def _postgres_back(self) -> None:
        self._installation.links.away = None

    async def _agent_moody(self) -> str:
        agent, mood = self._rng.choice(self._installation.agents), self._rng.choice([*Mood][1:])
        agent.mood = mood
        self._later(self._rng.uniform(3, 60), lambda: setattr(agent, "mood", Mood.WELL))
        return self._injected(f"agent: {mood}")

    async def _creator_revoked(self) -> str:
        await self._installation.revoke(revoked=True)
        seconds = self._rng.uniform(2, 20)
        self._later(seconds, self._creator_back)
        return self._injected("creator: revoked", f"for {seconds:.0f} s")

    def _creator_back(self) -> None:
        self._under_way.add(asyncio.create_task(self._installation.revoke(revoked=False)))

    def _later(self, seconds: float, do: Callable[[], Any]) -> None:
        """What the world around does: work of no process, whoever caused it."""
        asyncio.get_running_loop().call_later(seconds, do, context=Context())

    def _injected(self, kind: str, how: str = "") -> str:
        self._installation.figures.injected(kind)
        return f"{kind} {how}".strip()


def nth_fire(wanted: Definition, count: int) -> datetime:
    """The time of its fire after so many more."""
    times = fires(compile_cadence(wanted.cadence), datetime.now(UTC), start=wanted.start_at, end=wanted.end_at)
    return next(islice(times, count - 1, None))
