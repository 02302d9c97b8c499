"""A way to a server that breaks on command: refused, reset, mute, cut after so many bytes, or slow.

It counts what it broke, so that a test can assert that the fault has happened.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto

CHUNK = 65_536


class Mode(Enum):
    PASS = auto()
    RESET = auto()
    """Every connection is reset: those that are open at once, new ones as soon as they are there."""
    BLACKHOLE = auto()
    """Bytes vanish both ways, and nobody is told."""


class Link:
    """One connection through the proxy."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.writers = writers
        self.is_dead = False
        self.to_server = 0

    def reset(self) -> None:
        for writer in self.writers:
            with suppress(OSError):
                ends = writer.get_extra_info("socket")
                ends.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class FaultProxy:
    """Between clients and one server on 127.0.0.1, in mode PASS until something is broken."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.connections = 0
        self.resets = 0
        self.swallowed_bytes = 0
        self.delayed_chunks = 0
        self.delay_seconds = 0.0
        self.reset_after_bytes: int | None = None
        """Each connection is reset once so many bytes went to the server."""
        self._mode = Mode.PASS
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def set(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.RESET:
            self.reset_open()

    def reset_open(self) -> int:
        """Reset the connections that are open, and pass new ones; how many there were."""
        links = list(self._links)
        for link in links:
            self._reset(link)
        return len(links)

    def half_open(self) -> int:
        """Let the connections that are open lead nowhere for good, and pass new ones; how many there were."""
        for link in self._links:
            link.is_dead = True
        return len(self._links)

    async def refuse(self) -> None:
        """Refuse new connections and reset the open ones, until `listen`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset_open()

    async def listen(self) -> None:
        """Take connections, on the same port as before where there was one."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FaultProxy"]:
        await self.listen()
        try:
            yield self
        finally:
            await self.refuse()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _reset(self, link: Link) -> None:
        self.resets += 1
        self._links.discard(link)
        link.reset()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        link = Link(writer)
        self._links.add(link)
        try:
            if self._mode is Mode.RESET:
                self._reset(link)
                return
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            link.writers = (writer, server_writer)
            both = [
                asyncio.ensure_future(self._pipe(link, reader, server_writer, to_server=True)),
                asyncio.ensure_future(self._pipe(link, server_reader, writer, to_server=False)),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in both:
                    each.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            # The server is away, or the proxy ends; asyncio logs a cancelled handler as an error.
            pass
        finally:
            for each_writer in link.writers:
                each_writer.close()
            self._links.discard(link)
            self._tasks.discard(task)

    async def _pipe(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_server: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if link.is_dead or self._mode is Mode.BLACKHOLE:
                    # What came between is lost for this connection for good, as in a network that forgot it.
                    link.is_dead = True
                    self.swallowed_bytes += len(data)
                    continue
                if self.delay_seconds:
                    self.delayed_chunks += 1
                    await asyncio.sleep(self.delay_seconds)
                writer.write(data)
                await writer.drain()
                if to_server:
                    link.to_server += len(data)
                    if self.reset_after_bytes is not None and link.to_server >= self.reset_after_bytes:
                        self._reset(link)
                        return
        if link.is_dead:
            # A peer that closes is not heard of on the other side either.
            await asyncio.Event().wait()
