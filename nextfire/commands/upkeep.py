"""`nextfire reconcile` and `nextfire audit`."""

import asyncio
import math
from collections.abc import Coroutine
from typing import Any

import click

from nextfire import upkeep
from nextfire.commands.environment import leave, load_settings, require_postgres
from services.clock import TemporalAway
from services.errors import Unavailable

MOST_HOURS = 10 * 366 * 24
"""Ten years: nothing is older than that, and a calendar has an end."""


def _a_number(_ctx: click.Context, _param: click.Parameter, hours: float | None) -> float | None:
    if hours is not None and math.isnan(hours):
        raise click.BadParameter("it is not a number.")
    return hours


@click.command()
@click.option("--dry-run", is_flag=True, help="Only print what would be changed; fail if that is anything.")
def reconcile(dry_run: bool) -> None:
    """Compare every clock in Temporal with its schedule, and put right what differs.

    The worker does this by itself every 24 s. What Temporal's list of clocks leaves out, it looks at for a hundred of
    them each time; this looks at all of it, which takes minutes for thousands of clocks. Needs DATABASE_URL, and
    Temporal by TEMPORAL_*.

    \b
    Example:
      DATABASE_URL=postgresql://nextfire@db/nextfire TEMPORAL_ADDRESS=temporal:7233 nextfire reconcile --dry-run
    """
    settings = load_settings()
    require_postgres(settings)
    leave(_done(upkeep.reconcile(settings, click.echo, dry_run=dry_run)))


@click.command()
@click.option(
    "--hours",
    type=click.FloatRange(min=0, max=MOST_HOURS, min_open=True),
    callback=_a_number,
    help="Look back this far, instead of to where the last audit ended.",
)
def audit(hours: float | None) -> None:
    """Hold every due time against its run: start what may still run, record the rest, and print a summary.

    The worker does this by itself every minute. Needs DATABASE_URL, and Temporal by TEMPORAL_* to start runs.

    \b
    Example:
      DATABASE_URL=postgresql://nextfire@db/nextfire TEMPORAL_ADDRESS=temporal:7233 nextfire audit --hours 24
    """
    settings = load_settings()
    require_postgres(settings)
    leave(_done(upkeep.audit(settings, click.echo, hours=hours)))


def _done(work: Coroutine[Any, Any, bool]) -> int:
    """The exit code: 0 where all is well, 1 where something is left."""
    try:
        return 0 if asyncio.run(work) else 1
    except TemporalAway as error:
        away = "Temporal does not answer at TEMPORAL_ADDRESS: start it, or correct the variable"
        click.echo(f"Error: {away} ({error}).", err=True)
    except Unavailable:
        click.echo("Error: Postgres stopped answering; what was done until then stays.", err=True)
    return 1
