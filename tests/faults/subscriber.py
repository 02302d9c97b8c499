"""A client that follows every fire over a WebSocket, and comes back with its cursor however often it is cut off."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from services.feed_event import Cursor
from services.principals import OPEN_ACTOR
from tests.faults.installation import Installation
from tests.waiting import eventually

FIRES = "subscription($after: String) { fireStatus(after: $after) { cursor status run { id } } }"
PROTOCOL = Subprotocol("graphql-transport-ws")
PUBLISHED = """
SELECT xid::text::bigint AS xid, id FROM events WHERE kind = 'FIRE_STATUS' AND account_id = $1 ORDER BY events.xid, id
"""


@dataclass
class Subscriber:
    """What it got, in the order in which it came; `cursors` is one for each event."""

    url: str
    after: str
    cursors: list[str] = field(default_factory=list)
    connections: int = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            with suppress(OSError, WebSocketException, TimeoutError):
                await self._follow()
            await asyncio.sleep(0.1)

    async def _follow(self) -> None:
        address = self.url.replace("http://", "ws://") + "/graphql"
        async with connect(address, subprotocols=[PROTOCOL], open_timeout=5, ping_timeout=5, proxy=None) as socket:
            await socket.send(json.dumps({"type": "connection_init"}))
            await socket.recv()
            asked = {"query": FIRES, "variables": {"after": self.after}}
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": asked}))
            self.connections += 1
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "ping":
                    await socket.send('{"type": "pong"}')
                elif message["type"] != "next":
                    return
                elif (data := message["payload"].get("data")) is not None:
                    for event in data["fireStatus"]:
                        self.cursors.append(event["cursor"])
                        self.after = event["cursor"]

    async def check(self, installation: Installation, start: str) -> None:
        """Wait for the last event of the log, and hold all that came against it. Raises AssertionError."""
        published = await self._published(installation, start)

        async def caught_up() -> bool | None:
            return True if self.cursors and self.cursors[-1] == published[-1] else None

        await eventually(caught_up, 60)
        figures = installation.figures
        figures.add("Events published", len(published))
        figures.add("Events received", len(self.cursors))
        figures.add("Events received twice", len(self.cursors) - len(set(self.cursors)))
        out_of_order = sum(mine != theirs for mine, theirs in zip(self.cursors, published, strict=False))
        figures.add("Events out of order or lost", out_of_order + abs(len(published) - len(self.cursors)))
        assert self.cursors == published, await self._difference(installation, published)

    async def _difference(self, installation: Installation, published: list[str]) -> str:
        """What of the log was not told, and what was told that is not there."""
        lost = [cursor for cursor in published if cursor not in self.cursors]
        strange = [cursor for cursor in self.cursors if cursor not in published]
        ids = [Cursor.decode(cursor).id for cursor in lost]
        rows = await installation.rows("SELECT * FROM events WHERE id = ANY($1) OR id < 10 ORDER BY xid, id", ids)
        told = [published.index(cursor) for cursor in self.cursors if cursor in published]
        return f"{self.connections} connections; lost {lost}, strange {strange}, in the order {told}; {rows}"

    async def _published(self, installation: Installation, start: str) -> list[str]:
        """The cursors of all that it is to be told after the start, in the order of the log.

        A fire that an earlier test has left at Temporal is recorded too, as that of no account: nobody is told of it.
        """
        rows = await installation.rows(PUBLISHED, OPEN_ACTOR.account_id)
        first = Cursor.decode(start)
        cursors = [Cursor(first.epoch, row["xid"], row["id"]) for row in rows]
        return [cursor.encode() for cursor in cursors if cursor > first]


@asynccontextmanager
async def following(url: str, start: str) -> AsyncIterator[Subscriber]:
    """A subscriber from the cursor on, for as long as the block."""
    subscriber = Subscriber(url, start)
    task = asyncio.create_task(subscriber.run())
    try:
        yield subscriber
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
