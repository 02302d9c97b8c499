"""Faults at random, from a seed: which part breaks, in which way, and for how long."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from temporalio.service import RPCError

from services.schedule import clock_id
from tests.agents.scripted import Answer, ScriptedAgent, drop, full, status, stream
from tests.faults.kept import Kept
from tests.faults.lines import Lines
from tests.faults.proxy import FaultProxy
from tests.faults.servers import OwnPostgres, OwnTemporal

ANSWERS: Sequence[Answer] = (
    status(500),
    status(503, "2"),
    status(429, "1"),
    drop(effect=False),
    drop(effect=True),
    drop(effect=True, reset=True),
    stream(full("a part"), ended=False),
)
CALL_SECONDS = 5
"""For a call to Temporal of our own: it may be broken at the time."""

AWAY = (RPCError, RuntimeError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a call of our own says when it is."""

Deed = Callable[[], Awaitable[str | None]]
"""What was done; None where there was nothing to break just then."""


@dataclass
class Chaos:
    """Breaks one to three parts at a time, each in one way, and mends them again. It keeps count of what it did."""

    chance: random.Random
    ways: Lines
    postgres: OwnPostgres
    temporal: OwnTemporal
    api: Kept
    workers: Sequence[Kept]
    agents: Sequence[ScriptedAgent]
    killed: int = 0
    stopped: int = 0

    async def strike(self) -> list[str]:
        """One round of faults, all of them over when it returns; what was done."""
        figures = self.ways.installation.figures
        parts: dict[str, list[Deed]] = {
            "program": [self._kill, self._stop, self._freeze],
            "Postgres": [lambda: self._restart(self.postgres), *self._line(self.ways.postgres), self._slow],
            "Temporal": [
                lambda: self._restart(self.temporal),
                lambda: self._freeze_server(self.temporal),
                *self._line(self.ways.temporal),
            ],
            "agent": [self._answer_badly, self._refuse],
            "clock": [self._touch],
        }
        struck = self.chance.sample([*parts], self.chance.choice((1, 1, 1, 2, 2, 3)))
        deeds = [self.chance.choice(parts[part]) for part in struck]
        said = await asyncio.gather(*(do() for do in deeds))
        done = [f"{part}: {what}" for part, what in zip(struck, said, strict=True) if what]
        for each in done:
            if not each.startswith("program"):  # those count themselves
                figures.injected(each)
        return done

    async def _some_time(self, most: float) -> None:
        await asyncio.sleep(self.chance.uniform(0, most))

    def _any_program(self) -> Kept:
        return self.chance.choice([self.api, *self.workers])

    async def _kill(self) -> str:
        (await self._any_program().program()).kill()
        self.killed += 1
        return "killed"

    async def _stop(self) -> str:
        (await self._any_program().program()).terminate()
        self.stopped += 1
        return "stopped"

    async def _freeze(self) -> str:
        program = await self._any_program().program()
        program.freeze()
        try:
            await self._some_time(15)
        finally:
            program.thaw()
        return "frozen"

    async def _restart(self, server: OwnPostgres | OwnTemporal) -> str:
        await asyncio.to_thread(server.kill)
        await self._some_time(5)
        await asyncio.to_thread(server.start)
        return "killed"

    async def _freeze_server(self, server: OwnPostgres | OwnTemporal) -> str:
        server.freeze()
        try:
            await self._some_time(8)
        finally:
            server.thaw()
        return "frozen"

    def _line(self, line: FaultProxy) -> list[Deed]:
        async def reset() -> str | None:
            return "connections reset" if line.reset_open() else None

        async def dead() -> str | None:
            return "connections half-open" if line.half_open() else None

        return [reset, dead]

    async def _slow(self) -> str:
        line = self.ways.postgres
        line.delay_seconds = self.chance.uniform(0.01, 0.05)
        try:
            await self._some_time(8)
        finally:
            line.delay_seconds = 0
        return "slow"

    async def _answer_badly(self) -> str:
        self.chance.choice(self.agents).script(*self.chance.choices(ANSWERS, k=self.chance.randint(1, 5)))
        return "answers that are none"

    async def _refuse(self) -> str:
        agent = self.chance.choice(self.agents)
        await agent.refuse()
        try:
            await self._some_time(8)
        finally:
            await agent.listen()
        return "refuses connections"

    async def _touch(self) -> str | None:
        """Delete or pause a clock behind the product's back, if Temporal takes it."""
        query = "SELECT id FROM agent_run_schedules WHERE deleted_at IS NULL ORDER BY id"
        with suppress(*AWAY):
            async with asyncio.timeout(CALL_SECONDS):
                ids: list[UUID] = [row["id"] for row in await self.ways.installation.rows(query)]
                clock = (await self.ways.installation.temporal()).get_schedule_handle(clock_id(self.chance.choice(ids)))
                if self.chance.random() < 0.5:
                    await clock.delete()
                    return "deleted"
                await clock.pause(note="an operator was here")
                return "paused"
        return None
