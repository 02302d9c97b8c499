"""`nextfire worker`."""

import asyncio
import signal

import click

from nextfire.authentication import NotConfigured, chosen_mode
from nextfire.commands.environment import leave, load_settings, require_postgres
from nextfire.settings import Settings
from nextfire.worker import run_worker


@click.command()
def worker() -> None:
    """Run fires and keep clocks in line with their rows; start any number of these.

    Needs DATABASE_URL, the NEXTFIRE_AUTH of the API, and Temporal by TEMPORAL_*; waits for Temporal where it is away.
    SIGTERM lets it end what is under way.

    \b
    Example:
      DATABASE_URL=postgresql://nextfire@db/nextfire TEMPORAL_ADDRESS=temporal:7233 NEXTFIRE_AUTH=keys \\
        nextfire worker
    """
    settings = load_settings()
    try:
        chosen_mode(settings)
    except NotConfigured as error:
        raise click.ClickException(str(error)) from None
    require_postgres(settings)
    asyncio.run(work(settings))
    leave(0)


async def work(settings: Settings) -> None:
    """Work until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run_worker(settings, stop)
