"""Clients that ask for changes all the time, whatever breaks, and remember what was acknowledged."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from tests.faults.installation import PATIENCE_SECONDS, Api, Installation, Unanswered
from tests.waiting import eventually

CLIENTS = 6
UPDATES = {"update": 1}
EVERYTHING = {"update": 4, "pause": 1, "resume": 4, "trigger": 1}
"""What clients do besides creating, and how often."""


@dataclass
class Load:
    """Each client has a schedule of its own; what it asks for under a key, it asks for until there is an answer."""

    api: Api
    agents: Sequence[UUID]
    deeds: dict[str, int] = field(default_factory=lambda: UPDATES)
    seconds: tuple[int, int] = (3, 9)
    """The shortest and the longest interval of a schedule."""
    pause_seconds: float = 0
    """Between two changes of a client."""
    seed: int = 0
    acknowledged: set[tuple[UUID, int]] = field(default_factory=set)
    """Schedules and their versions."""
    runs: set[UUID] = field(default_factory=set)
    """What was triggered, and acknowledged."""
    keys: set[str] = field(default_factory=set)
    """Of all that was triggered."""
    failures: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        clients = [asyncio.create_task(self._client(random.Random(f"{self.seed}.{n}"))) for n in range(CLIENTS)]
        try:
            yield self
        finally:
            for client in clients:
                client.cancel()
            ended = await asyncio.gather(*clients, return_exceptions=True)
        assert [each for each in ended if not isinstance(each, asyncio.CancelledError)] == []

    async def more(self, count: int = 10) -> None:
        """Return once so many more were acknowledged."""
        wanted = len(self.acknowledged) + count

        async def enough() -> bool | None:
            return True if len(self.acknowledged) >= wanted else None

        await eventually(enough, PATIENCE_SECONDS)

    async def _client(self, chance: random.Random) -> None:
        schedule_id, version = await self._created(chance)
        while True:
            await asyncio.sleep(self.pause_seconds)
            (deed,) = chance.choices([*self.deeds], [*self.deeds.values()])
            if deed == "trigger":
                await self._triggered(schedule_id)
            else:
                version = await self._changed(chance, deed, schedule_id, version)

    async def _created(self, chance: random.Random) -> tuple[UUID, int]:
        wanted: dict[str, Any] = {
            "agent_id": chance.choice(self.agents),
            "cadence": self._cadence(chance),
            "name": f"schedule-{uuid4()}",
            "idempotencyKey": str(uuid4()),
        }
        while True:
            try:
                answer = await self.api.create(**wanted)
            except Unanswered:
                await self._failed()
            else:
                self.acknowledged.add((answer["id"], answer["version"]))
                return answer["id"], answer["version"]

    async def _changed(self, chance: random.Random, deed: str, schedule_id: UUID, version: int) -> int:
        """The version that is known after one more try."""
        try:
            if deed == "update":
                answer = await self.api.update(schedule_id, version, cadence=self._cadence(chance))
            else:
                answer = await self.api.act(deed, schedule_id)
        except Unanswered:
            await self._failed()
            return version
        if answer.get("code") == "VERSION_CONFLICT":
            # The change before was made, though nobody heard of it; or a repair has its own version.
            return version + 1
        known: int = answer["version"]
        self.acknowledged.add((schedule_id, known))
        return known

    async def _triggered(self, schedule_id: UUID) -> None:
        key = str(uuid4())
        self.keys.add(key)
        while True:
            try:
                self.runs.add(await self.api.trigger(schedule_id, idempotencyKey=key))
            except Unanswered:
                await self._failed()
            else:
                return

    def _cadence(self, chance: random.Random) -> dict[str, Any]:
        return {"interval": {"everySeconds": chance.randint(*self.seconds)}}

    async def _failed(self) -> None:
        self.failures += 1
        await asyncio.sleep(0.2)


async def lost(installation: Installation, load: Load) -> set[object]:
    """What was acknowledged and is not in Postgres: versions of schedules, and runs."""
    versions = await installation.rows("SELECT schedule_id, version FROM schedule_revisions")
    runs = await installation.rows("SELECT id FROM runs")
    missing: set[object] = set()
    missing |= load.acknowledged - {(row["schedule_id"], row["version"]) for row in versions}
    missing |= load.runs - {row["id"] for row in runs}
    installation.figures.add("Acknowledged mutations", len(load.acknowledged) + len(load.runs))
    installation.figures.add("Acknowledged mutations lost", len(missing))
    return missing
