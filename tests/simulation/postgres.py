"""Real Postgres under a loop of virtual time.

A statement is sent and answered in one go, so that one follows the other in the same order each time, and no virtual
time passes meanwhile; the answer reaches the caller a moment of virtual time later. What waits in Postgres for
another's lock is put aside until it has it. Before each statement the connection is told what time it is
(decisions/0013-the-simulation-tells-postgres-the-time.md).
"""

import asyncio
import os
import random
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from datetime import UTC, datetime
from typing import Any

from services.database import IDLE_IN_TRANSACTION_TIMEOUT, STATEMENT_TIMEOUT
from tests.simulation.processes import Process, current

SYNC = b"S\0\0\0\4"
FLUSH = b"H\0\0\0\4"
TERMINATE = b"X\0\0\0\4"
LISTENED, NOTIFIED = (b"C\0\0\0\x0b" + tag for tag in (b"LISTEN\0", b"NOTIFY\0"))
CANCEL = 80_877_102
LATENCY_SECONDS = (0.000_2, 0.002)
SLOW_SECONDS = 0.02
"""Real time after which one asks whether a statement waits for a lock."""
PATIENCE_SECONDS = 60.0
PING = b"Q\0\0\0\x0dSELECT 1\0"
PONG = b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\5"
"""What comes of it, but for its row, which nobody reads, and for the state of the transaction."""
SEQUENCES_AFTER_A_CRASH = """
    SELECT count(setval(format('%I.%I', schemaname, sequencename)::regclass, coalesce(last_value, 0) + 32))
      FROM pg_sequences WHERE schemaname = 'public'
"""
"""As many as Postgres writes into its log ahead."""
REAL_TIME = ("statement_timeout", "idle_in_transaction_session_timeout")
"""What Postgres would measure in real time, and is measured in virtual time here."""

VIRTUAL_NOW = """
    CREATE FUNCTION now() RETURNS timestamptz LANGUAGE sql STABLE AS
    $$ SELECT coalesce(nullif(current_setting('simulation.now', true), '')::timestamptz, pg_catalog.now()) $$;
    CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    $$ SELECT coalesce(
        set_config(
            'simulation.clock',
            (nullif(current_setting('simulation.clock', true), '')::timestamptz + interval '1 microsecond')::text,
            false
        )::timestamptz,
        pg_catalog.clock_timestamp()
    ) $$;
"""
"""In a schema that is searched before Postgres's own; outside of the simulation it tells the real time."""


class Links:
    """Every connection of the simulation to its Postgres."""

    def __init__(self, rng: random.Random) -> None:
        self.away: Exception | None = None
        """What a new connection comes to while there is no server for it."""
        self.loses_notifications = False
        self.breaks: dict[Process, bool] = {}
        """The next statement of this process breaks its connection: True for after it was done, False for before."""
        self.broken = 0
        self.notifications_lost = 0
        self.statements = 0
        self.open: list[Link] = []
        self._rng = rng
        self._waiting: list[Link] = []
        self._dropped: list[Link] = []
        self._observer: Link | None = None

    def connect(self, factory: Callable[[], asyncio.Protocol], host: str, port: int) -> "tuple[Link, asyncio.Protocol]":
        if self.away is not None:
            raise self.away
        protocol = factory()
        link = Link(self, (host, port), protocol, current.get())
        self.open.append(link)
        protocol.connection_made(link)
        return link, protocol

    def observe(self) -> None:
        """Keep the newest connection for questions of our own."""
        self._observer = self.open.pop()

    def close(self) -> None:
        for link in [*self.open]:
            link.abort()
        for link in self._dropped:
            link.hear_of_end(None)

    def drop(self, process: Process) -> None:
        """The connections of a dead process end, and it hears nothing of that."""
        with self.in_turn():
            for link in self._those_that_wait_first():
                if link.process is process:
                    link.hang_up()
                    self._dropped.append(link)

    def cut(self) -> None:
        """All connections break."""
        for link in self._those_that_wait_first():
            if link.process is not None:
                link.lose(ConnectionResetError("The connection was cut."))

    def _those_that_wait_first(self) -> list["Link"]:
        """In the order in which connections that end together have to: none gets the lock of another."""
        return sorted(self.open, key=lambda link: link not in self._waiting)

    def kill(self) -> None:
        """All connections break, and what a server forgets that is killed is forgotten."""
        self.cut()
        if self._observer is not None:
            self._observer.ask(SEQUENCES_AFTER_A_CRASH)

    def latency(self) -> float:
        return self._rng.uniform(*LATENCY_SECONDS)

    def is_blocked(self, link: "Link") -> bool:
        question = f"SELECT cardinality(pg_blocking_pids({link.pid})) > 0"
        return self._observer is not None and self._observer.ask(question) == b"t"

    def wait(self, link: "Link") -> None:
        self._waiting.append(link)
        if link.too_late is None:
            seconds = STATEMENT_TIMEOUT.total_seconds()
            link.too_late = asyncio.get_running_loop().call_later(seconds, self._cancel, link, context=Context())

    def _cancel(self, link: "Link") -> None:
        """End a statement that has waited for too long."""
        if link in self._waiting and self._observer is not None:
            self._waiting.remove(link)
            self._observer.ask(f"SELECT pg_cancel_backend({link.pid})")
            link.receive(may_wait=False)

    def unblock(self, link: "Link") -> None:
        """One that waits for a lock would not hear that it is to end."""
        if link in self._waiting and self._observer is not None:
            self._waiting.remove(link)
            self._observer.ask(f"SELECT pg_terminate_backend({link.pid})")
            with suppress(ProcessLookupError):  # it did not stand still, and is through
                os.kill(link.pid, signal.SIGCONT)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """While a transaction ends in the block, those that wait for its locks are woken one by one, as they came.

        Several that Postgres wakes at once go for a new version of the row together, and the quickest has it.
        """
        asleep = self._waiting if len(self._waiting) > 1 else []
        for link in asleep:
            os.kill(link.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            self.poll()

    def poll(self) -> bool:
        """See whether those that wait for locks have them; whether any has been answered."""
        waiting, self._waiting = self._waiting, []
        for link in waiting:
            if not link.closed:
                os.kill(link.pid, signal.SIGCONT)
                link.go_on()
        return len(self._waiting) < len(waiting)

    def notified(self) -> None:
        """A NOTIFY is committed: bring it to each who listens, or lose it."""
        for link in [each for each in self.open if each.listens]:
            data = link.notification()
            if self.loses_notifications:
                self.notifications_lost += 1
            else:
                link.deliver(data)


class Link(asyncio.Transport):
    """One connection, as asyncpg's protocol sees its transport."""

    def __init__(self, links: Links, address: tuple[str, int], protocol: Any, process: Process | None) -> None:
        super().__init__()
        self.process = process
        self.closed = False
        self.listens = False
        self.pid = 0
        self._links = links
        self._protocol = protocol
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._outbox = b""
        self._inbox = bytearray()
        self._status = b""
        self._unheard = 0
        """How many answers are to come that the protocol did not ask for."""
        self._is_synced = False
        """Whether the server waits for a new statement; else it is in the middle of one."""
        self._flushes = False
        self._breaks_after = False
        self._is_timeless = False
        """Whether Postgres has been told to measure no time itself."""
        self._idle: asyncio.TimerHandle | None = None
        self.too_late: asyncio.TimerHandle | None = None
        """When its statement has waited for too long for a lock."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket if name == "socket" else default

    def is_closing(self) -> bool:
        return self.closed

    def get_protocol(self) -> Any:
        return self._protocol

    def close(self) -> None:
        self.lose(None)

    def abort(self) -> None:
        self.lose(None)

    def write(self, data: Any) -> None:
        self._outbox += bytes(data)
        if self.closed or (self.process is not None and self.process.is_dead):
            return
        if self._outbox.endswith(TERMINATE) and not self._outbox.endswith(b"S" + TERMINATE):
            self.lose(None)
        elif not self._status and self._code() == CANCEL:
            # What is to be cancelled is either answered already, or ends with its connection.
            self.lose(None)
        elif self._asks():
            self._exchange()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(map(bytes, list_of_data)))

    def _code(self) -> int:
        return int(struct.unpack("!i", self._outbox[4:8])[0])

    def _asks(self) -> bool:
        """Whether the server answers to what is in the outbox."""
        if not self._status:
            return True
        return self._outbox[:1] == b"Q" or self._outbox.endswith((SYNC, FLUSH))

    def _exchange(self) -> None:
        links = self._links
        links.statements += 1
        if self._outbox == PING and self._is_synced:
            # Every third statement; and a connection that is lost here knows it.
            self._outbox = b""
            self.deliver(PONG + self._status)
            return
        breaks = links.breaks.pop(self.process, None) if self.process is not None and self._status else None
        if breaks is False:
            links.broken += 1
            self.lose(ConnectionResetError("The connection broke."))
            return
        self._breaks_after = bool(breaks)
        if self._idle is not None:
            self._idle.cancel()
        if self._is_synced:
            self._outbox = self._time() + self._outbox
            self._unheard = 1
        self._is_synced = False
        self._flushes = self._outbox.endswith(FLUSH)
        outbox, self._outbox = self._outbox, b""
        with links.in_turn():
            self._socket.sendall(outbox)
            self.receive()

    def _time(self) -> bytes:
        """The statement that tells the connection the time; `now()` stays as it is within a transaction."""
        now = datetime.now(UTC).isoformat()
        settings = [f"simulation.{name} = '{now}'" for name in ("clock", "now")[: 1 + (self._status == b"I")]]
        if not self._is_timeless:
            settings += [f"{name} = 0" for name in REAL_TIME]
            self._is_timeless = True
        return query("; ".join(f"SET {each}" for each in settings))

    def go_on(self) -> None:
        """See whether it has the lock that it waits for."""
        if self._links.is_blocked(self):
            self._links.wait(self)
        else:
            self.receive()

    def receive(self, *, may_wait: bool = True) -> None:
        """Take the answer and deliver it, unless the statement waits for a lock."""
        data = self._read(SLOW_SECONDS)
        waited = 0.0
        while data is None:
            if may_wait and self._links.is_blocked(self):
                self._links.wait(self)
                return
            waited += SLOW_SECONDS
            if waited > PATIENCE_SECONDS:
                raise AssertionError("Postgres does not answer.")
            data = self._read(SLOW_SECONDS)
        if self.too_late is not None:
            self.too_late.cancel()
            self.too_late = None
        if self._breaks_after:
            self._links.broken += 1
            self.lose(ConnectionResetError("The connection broke."))
        else:
            self.deliver(data)
            if self._status in (b"T", b"E"):
                self._idle = asyncio.get_running_loop().call_later(
                    IDLE_IN_TRANSACTION_TIMEOUT.total_seconds(),
                    lambda: self.lose(ConnectionResetError("Postgres has ended an idle transaction.")),
                    context=Context(),
                )
        self.listens |= LISTENED in data
        if NOTIFIED in data:
            self._links.notified()

    def deliver(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        context = self.process.context.copy() if self.process is not None else None
        loop.call_later(self._links.latency(), self._hear, data, context=context)

    def _hear(self, data: bytes) -> None:
        if not self.closed:
            self._protocol.data_received(data)

    def _read(self, seconds: float) -> bytes | None:
        """The whole answer, or None where it is not there in time."""
        self._socket.settimeout(seconds)
        while (end := self._end()) is None:
            try:
                chunk = self._socket.recv(65536)
            except TimeoutError:
                return None
            if not chunk:
                raise AssertionError("Postgres has closed a connection by itself.")
            self._inbox += chunk
        data = bytes(self._inbox[:end])
        del self._inbox[:end]
        return data

    def _end(self) -> int | None:
        """Where the answer ends that is in the inbox, what nobody asked for taken out of it."""
        place = 0
        while place + 5 <= len(self._inbox):
            kind, length = self._inbox[place : place + 1], int(struct.unpack_from("!i", self._inbox, place + 1)[0])
            following = place + 1 + length
            if following > len(self._inbox):
                return None
            if kind == b"K":
                self.pid = struct.unpack_from("!i", self._inbox, place + 5)[0]
            if kind == b"R" and struct.unpack_from("!i", self._inbox, place + 5)[0] not in (0, 12):
                return following
            if kind == b"Z":
                self._status = bytes(self._inbox[place + 5 : place + 6])
                if not self._unheard:
                    self._is_synced = True
                    return following
                self._unheard -= 1
                del self._inbox[:following]
                following = 0
            elif self._flushes and not self._unheard and kind in b"TnE":
                return following
            place = following
        return None

    def notification(self) -> bytes:
        self._socket.settimeout(PATIENCE_SECONDS)
        while len(self._inbox) < 5 or len(self._inbox) < 1 + struct.unpack_from("!i", self._inbox, 1)[0]:
            chunk = self._socket.recv(65536)
            assert chunk, "Postgres has closed a connection by itself."
            self._inbox += chunk
        data = bytes(self._inbox)
        self._inbox.clear()
        return data

    def ask(self, statement: str) -> bytes:
        """The first field of the first row, asked behind the protocol's back."""
        self._socket.sendall(query(statement))
        data = None
        while data is None:
            data = self._read(PATIENCE_SECONDS)
        at = _row(data)
        (length,) = struct.unpack_from("!i", data, at + 7)
        return data[at + 11 : at + 11 + length]

    def lose(self, error: Exception | None) -> None:
        """It ends, and the protocol hears of it."""
        if self.closed:
            return
        with self._links.in_turn():
            self.hang_up()
        self.hear_of_end(error)

    def hear_of_end(self, error: Exception | None) -> None:
        context = self.process.context.copy() if self.process is not None else None
        asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error, context=context)

    def hang_up(self) -> None:
        """It ends, and so does its transaction: Postgres is through with it when this returns."""
        if self.closed:
            return
        self.closed = True
        if self._idle is not None:
            self._idle.cancel()
        if self in self._links.open:
            self._links.open.remove(self)
        self._links.unblock(self)
        with suppress(OSError):
            self._socket.settimeout(PATIENCE_SECONDS)
            self._socket.sendall(TERMINATE)
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(65536):
                pass
        self._socket.close()


def query(statement: str) -> bytes:
    """A simple query, as the protocol writes it."""
    text = statement.encode() + b"\0"
    return b"Q" + struct.pack("!i", len(text) + 4) + text


def _row(data: bytes) -> int:
    """Where the first row begins."""
    place = 0
    while data[place : place + 1] != b"D":
        place += 1 + struct.unpack_from("!i", data, place + 1)[0]
    return place
