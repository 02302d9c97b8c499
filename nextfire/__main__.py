"""The command line: `nextfire dev|serve|worker|migrate|schema|secret-key`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import click
import uvicorn
from cryptography.fernet import Fernet
from pydantic import ValidationError

import migrations
from nextfire import dev as dev_stack
from nextfire.app import create_app
from nextfire.settings import Settings
from nextfire.telemetry import configure_logging
from nextfire.transport import uvicorn_options
from nextfire.worker import run_worker
from schema import sdl
from services.database import Database
from services.errors import Unavailable

SCHEMA_FILE = Path("schema.graphql")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nextfire")
def main() -> None:
    """A GraphQL API server for agent run schedules.

    Start with `nextfire dev`; in production run `nextfire migrate`, then any number of `nextfire serve` and
    `nextfire worker`.
    """


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8000, envvar="NEXTFIRE_PORT", show_default=True)
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".nextfire"), show_default=True)
def dev(port: int, data_dir: Path) -> None:
    """Start everything here: Postgres, Temporal, the API, a worker and two demo agents.

    The data stays in --data-dir. Ctrl-C stops it all.

    \b
    Example:
      nextfire dev --port 8080
    """
    sys.exit(dev_stack.run(data_dir, port))


@main.command()
def serve() -> None:
    """Serve the API: GraphQL at /graphql, the playground at /, /readyz and /healthz.

    Needs DATABASE_URL; reads TEMPORAL_* as every Temporal program does, and NEXTFIRE_HOST, NEXTFIRE_PORT. The schedule
    part of the schema is there with ENABLE_AGENT_RUN_SCHEDULES=true.

    \b
    Example:
      DATABASE_URL=postgresql://nextfire@db/nextfire TEMPORAL_ADDRESS=temporal:7233 \\
        ENABLE_AGENT_RUN_SCHEDULES=true nextfire serve
    """
    settings = _settings()
    _require_postgres(settings)
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, **uvicorn_options())


@main.command()
def worker() -> None:
    """Run fires and keep clocks in line with their rows; start any number of these.

    Needs DATABASE_URL, and Temporal by TEMPORAL_*; waits for Temporal where it is away. SIGTERM lets it end what is
    under way.

    \b
    Example:
      DATABASE_URL=postgresql://nextfire@db/nextfire TEMPORAL_ADDRESS=temporal:7233 nextfire worker
    """
    settings = _settings()
    _require_postgres(settings)
    asyncio.run(_work(settings))
    # The Temporal SDK may crash a process that ends by itself right after its last call.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@main.command()
def migrate() -> None:
    """Bring the database up to this version's tables; several at once wait for each other.

    \b
    Example:
      DATABASE_URL=postgresql://nextfire@db/nextfire nextfire migrate
    """
    settings = _settings()
    _require_postgres(settings)
    migrations.upgrade(settings.database_url.get_secret_value())
    click.echo("The database is up to date.")


@main.command()
@click.option("--check", is_flag=True, help="Write nothing; fail if the file differs from the code.")
def schema(check: bool) -> None:
    """Write schema.graphql, complete and sorted, from the code.

    \b
    Example:
      nextfire schema --check
    """
    printed = sdl()
    if not check:
        SCHEMA_FILE.write_text(printed)
        click.echo(f"Wrote {SCHEMA_FILE}.")
    elif not SCHEMA_FILE.exists() or SCHEMA_FILE.read_text() != printed:
        raise click.ClickException(f"{SCHEMA_FILE} is not what the code says: run `make schema` and commit it.")


@main.command()
def secret_key() -> None:
    """Print a new NEXTFIRE_SECRET_KEY, which seals agents' API keys at rest. Keep it: without it they are lost.

    \b
    Example:
      export NEXTFIRE_SECRET_KEY=$(nextfire secret-key)
    """
    click.echo(Fernet.generate_key().decode())


def _settings() -> Settings:
    try:
        settings = Settings()  # type: ignore[call-arg]  # its values come from the environment
    except ValidationError as error:
        wrong = "\n".join(f"  {_variable(each['loc'])}: {each['msg']}" for each in error.errors())
        raise click.ClickException(f"The environment is not right:\n{wrong}") from None
    configure_logging(settings.log_format, settings.log_level)
    return settings


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0])
    return name if name.isupper() else f"NEXTFIRE_{name.upper()}"


def _require_postgres(settings: Settings) -> None:
    async def ping() -> None:
        database = Database(settings.database_url.get_secret_value(), pool_size=1)
        try:
            await database.ping()
        finally:
            await database.close()

    try:
        asyncio.run(ping())
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    except Unavailable:
        raise click.ClickException(
            "Postgres does not answer at DATABASE_URL: start it, or correct the variable."
        ) from None


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run_worker(settings, stop)


if __name__ == "__main__":
    main()
