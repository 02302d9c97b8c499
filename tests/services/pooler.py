"""A real pgbouncer in front of a test's database, in the mode in which each transaction may get another server."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import make_url

from nextfire.processes import free_port

SERVERS = 3
"""Connections that it shares out among all its clients."""


def pgbouncer() -> str | None:
    """The program; Debian's package puts it where only root's PATH leads."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@asynccontextmanager
async def transaction_pooler(database_url: str, directory: Path) -> AsyncIterator[str]:
    """The URL of the same database through a pooler, which ends with the block."""
    program = pgbouncer()
    assert program is not None
    url, port = make_url(database_url), free_port()
    config = directory / "pgbouncer.ini"
    config.write_text(
        f"""
        [databases]
        {url.database} = host={url.host} port={url.port} user={url.username} password={url.password}
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = {port}
        unix_socket_dir =
        auth_type = any
        pool_mode = transaction
        default_pool_size = {SERVERS}
        server_round_robin = 1
        {"user = nobody" if os.geteuid() == 0 else ""}
        """.replace("        ", "")
    )
    with (directory / "pgbouncer.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(program, str(config), stdout=log, stderr=log)
    try:
        async with asyncio.timeout(30):
            while not await _listens(port):
                assert process.returncode is None, (directory / "pgbouncer.log").read_text()
                await asyncio.sleep(0.05)
        yield url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        process.terminate()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
