"""Wake-ups among processes: "something was committed", by NOTIFY on one channel, with no payload.

A wake-up only shortens a wait. NOTIFY reaches nobody who is away, and a frozen connection hides it without an
error, so whoever waits here polls as well. NOTIFY takes a cluster-wide lock up to the commit (measured: 2,900
transactions a second became 350), so it is never part of a writing transaction, and each process sends at
most one in `NOTIFY_GAP`.
"""

import asyncio
import contextlib
from datetime import timedelta
from weakref import WeakSet

import asyncpg
import structlog
from sqlalchemy import text

from services.database import CONNECT_TIMEOUT, Database, plain_url
from services.outages import is_outage
from services.statements import Statement

CHANNEL = "nextfire"
NOTIFY_GAP = timedelta(milliseconds=50)
NOTIFY_TIMEOUT = timedelta(seconds=2)
HEALTH_INTERVAL = timedelta(seconds=3)
HEALTH_TIMEOUT = timedelta(seconds=1)
FIRST_RETRY = timedelta(milliseconds=100)
LAST_RETRY = timedelta(seconds=5)
_NOTIFY = Statement(text(f"NOTIFY {CHANNEL}"))
"""It may be sent twice, as a statement that only reads may."""

log = structlog.get_logger()


class Waker:
    """One consumer's view of the wake-ups: none is lost between two waits, and several in between count as
    one."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def wait(self, at_most: timedelta) -> bool:
        """Return True at the first wake-up since the last wait, False when there is none within `at_most`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most.total_seconds()):
                await self._woken.wait()
        woken = self._woken.is_set()
        self._woken.clear()
        return woken


class Listener:
    """Hears the wake-ups of every process, on a connection of its own, and passes each on to all consumers in
    this one.

    `run` keeps the connection up until it is cancelled. It raises nothing when Postgres is away: consumers
    poll then, and are woken once it is back.
    """

    def __init__(self, url: str, *, health_interval: timedelta = HEALTH_INTERVAL) -> None:
        self.connected = False
        self._url = plain_url(url)
        self._health_interval = health_interval.total_seconds()
        self._retry = FIRST_RETRY
        self._wakers: WeakSet[Waker] = WeakSet()

    def waker(self) -> Waker:
        """A view for one more consumer, who holds it for as long as it wants to be woken."""
        waker = Waker()
        self._wakers.add(waker)
        return waker

    def wake(self) -> None:
        """Wake every consumer in this process."""
        for waker in self._wakers:
            waker.wake()

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except Exception as error:
                if not is_outage(error):
                    log.exception("the listener failed", action="wakeup.failed")
                else:
                    log.warning("the listener is disconnected", action="wakeup.disconnected", error=repr(error))
            await asyncio.sleep(self._retry.total_seconds())
            self._retry = min(self._retry * 2, LAST_RETRY)

    async def _listen(self) -> None:
        """Connect, and raise once the connection is lost or frozen."""
        connection = await asyncpg.connect(
            self._url,
            timeout=CONNECT_TIMEOUT.total_seconds(),
            server_settings={"application_name": "nextfire listener"},
        )
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            async with asyncio.timeout(HEALTH_TIMEOUT.total_seconds()):
                await connection.add_listener(CHANNEL, lambda *_: self.wake())
            self._on_connected()
            while not await self._is_set(lost):
                async with asyncio.timeout(HEALTH_TIMEOUT.total_seconds()):
                    await connection.execute("SELECT 1")
            raise ConnectionResetError("the connection was closed")
        finally:
            self.connected = False
            connection.terminate()

    async def _is_set(self, lost: asyncio.Event) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._health_interval):
                return await lost.wait()
        return False

    def _on_connected(self) -> None:
        self.connected = True
        self._retry = FIRST_RETRY
        log.info("the listener is connected", action="wakeup.connected")
        self.wake()  # for what was sent while nobody listened


class Notifier:
    """Wakes the consumers of every process, after a commit.

    `poke` may be called for each commit; `run`, until it is cancelled, turns the pokes into few NOTIFYs. One
    that Postgres does not take is given up: the others find out by polling.
    """

    def __init__(self, database: Database, listener: Listener | None = None) -> None:
        self._database = database
        self._listener = listener
        self._poked = asyncio.Event()

    def poke(self) -> None:
        """Say that something was committed: at once to this process, where it has a listener, and soon to the
        others."""
        self._poked.set()
        if self._listener is not None:
            self._listener.wake()

    async def run(self) -> None:
        """Send the pokes until cancelled."""
        while True:
            await self._poked.wait()
            self._poked.clear()
            try:
                await self._notify()
            except Exception as error:
                log.warning("a wake-up was not sent", action="wakeup.not_sent", error=repr(error))
            await asyncio.sleep(NOTIFY_GAP.total_seconds())

    async def _notify(self) -> None:
        async with asyncio.timeout(NOTIFY_TIMEOUT.total_seconds()):
            await self._database.reads.rows(_NOTIFY, {})
