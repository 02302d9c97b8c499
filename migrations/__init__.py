"""The migrations, by Alembic, and the two calls that the rest of the product makes of them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from services.database import asyncpg_url


def upgrade(database_url: str, revision: str = "head") -> None:
    """Bring the database up to `revision`; safe to call by several processes at once (one waits for the other)."""
    _run(database_url, lambda config: command.upgrade(config, revision))


def downgrade(database_url: str, revision: str) -> None:
    _run(database_url, lambda config: command.downgrade(config, revision))


def check(database_url: str) -> None:
    """Raise alembic's CommandError if the tables in code and the migrations have drifted apart."""
    _run(database_url, command.check)


def _run(database_url: str, act: Callable[[Config], None]) -> None:
    config = Config(attributes={})
    config.set_main_option("script_location", str(Path(__file__).parent))

    def act_on(connection: Connection) -> None:
        config.attributes["connection"] = connection
        act(config)

    async def connect() -> None:
        engine = create_async_engine(asyncpg_url(database_url), poolclass=NullPool)
        async with engine.begin() as connection:
            await connection.run_sync(act_on)
        await engine.dispose()

    # A thread of its own: Alembic is synchronous, and the caller may have a running event loop.
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, connect()).result()
