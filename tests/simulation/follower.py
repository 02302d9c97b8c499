"""A client that follows every fire, is cut off at random, and comes back with its cursor."""

import asyncio
import random
from contextlib import aclosing

from services.errors import Unavailable
from services.feed import Feed
from services.feed_event import Cursor, Event, EventKind
from tests.simulation.installation import ACTOR, Installation
from tests.simulation.processes import Process
from tests.waiting import eventually

LOOK_EVERY_SECONDS = 1.0
CUT_OFF = 0.03
"""The share of looks at which the connection is cut."""
PATIENCE_SECONDS = 120.0
IN_LOG = """
    SELECT xid::text::bigint AS xid, id FROM events
     WHERE kind = 'FIRE_STATUS' AND account_id = $1 ORDER BY events.xid, id
"""


class Follower:
    """What it was told, in the order in which it came."""

    def __init__(self, installation: Installation, rng: random.Random) -> None:
        self.told: list[Cursor] = []
        self._installation = installation
        self._rng = rng
        self._connection = 0
        """The number of the connection that it reads: what comes over an earlier one is heard by nobody."""
        self._first = self._after = Cursor(0, 0, 0)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Follow from here on, until the simulation ends."""
        self._first = Cursor.decode(await self._installation.ask(lambda services: services.feed.cursor()))
        self._after = self._first
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def check(self) -> None:
        """I12: wait for the end of the log, and hold all that came against it. Raises AssertionError."""
        following = self._task
        assert following is not None
        rows = await self._installation.rows(IN_LOG, ACTOR.account_id)
        in_log = [Cursor(self._first.epoch, row["xid"], row["id"]) for row in rows]
        published = [cursor for cursor in in_log if cursor > self._first]

        async def caught_up() -> bool | None:
            if following.done():
                following.result()
            return True if self.told[-1:] == published[-1:] else None

        await eventually(caught_up, PATIENCE_SECONDS, LOOK_EVERY_SECONDS)
        assert self.told == published
        figures = self._installation.figures
        figures.add("Events published", len(published))
        figures.add("Events received", len(self.told))
        figures.add("Connections of subscribers", self._connection)

    async def _run(self) -> None:
        while True:
            api, services = self._installation.processes["api"], self._installation.services
            if services is None or api.is_dead:
                await asyncio.sleep(LOOK_EVERY_SECONDS)
                continue
            self._connection += 1
            following = api.start(self._follow(services.feed, self._connection))
            await self._listen(following, api)
            following.cancel()
            if following.done() and not following.cancelled():
                error = following.exception()
                if not isinstance(error, Unavailable):
                    raise AssertionError("a subscription has ended by itself") from error
                await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def _listen(self, following: "asyncio.Task[None]", api: Process) -> None:
        """Until it ends, its process dies, or it is cut."""
        while not (following.done() or api.is_dead or self._rng.random() < CUT_OFF):
            await asyncio.wait({following}, timeout=LOOK_EVERY_SECONDS)

    async def _follow(self, feed: Feed, connection: int) -> None:
        subscribed = feed.subscribe(
            account_id=ACTOR.account_id, kind=EventKind.FIRE_STATUS, matches=_all, after=self._after.encode()
        )
        async with aclosing(subscribed) as batches:
            async for batch in batches:
                for event in batch.events:
                    if connection == self._connection:
                        self._after = event.cursor
                        self.told.append(event.cursor)


def _all(_: Event) -> bool:
    return True
