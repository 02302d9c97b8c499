"""A real Redis for what several processes count together."""

import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from nextfire.processes import free_port
from nextfire.transport import Store
from nextfire.transport.redis_store import RedisStore
from tests.waiting import PATIENCE, wait_until

REDIS = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(REDIS is None, reason="redis-server is not here: install Debian's redis-server")


@dataclass
class Redis:
    """A Redis of the test's own, which can be stopped and started."""

    port: int
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        assert REDIS is not None
        log = self.directory / "log"
        log.unlink(missing_ok=True)
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.directory)]
        self.process = subprocess.Popen([REDIS, *options, "--logfile", str(log)])
        wait_until(lambda: log.exists() and b"Ready to accept connections" in log.read_bytes())

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None


@pytest.fixture
def redis() -> Iterator[Redis]:
    with tempfile.TemporaryDirectory() as directory:
        server = Redis(free_port(), Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@asynccontextmanager
async def store_at(url: str) -> AsyncIterator[Store]:
    """As one process has it. It waits as long as a busy machine needs, and asks again at once."""
    store = RedisStore(url, timeout=timedelta(seconds=PATIENCE), ask_again_after=timedelta(0))
    try:
        yield store
    finally:
        await store.close()
