"""What every command begins and ends with: settings from the environment, a Postgres that answers, a clean exit."""

import asyncio
import os
import sys
from typing import NoReturn

import click
from pydantic import ValidationError

from nextfire.postgres import database_of
from nextfire.settings import Settings
from nextfire.telemetry import configure_logging
from services.errors import Unavailable
from services.failpoints import arm, parse


def load_settings() -> Settings:
    """The settings, with logging and failpoints set up by them; ends the program where the environment is not right."""
    try:
        settings = Settings()  # type: ignore[call-arg]  # its values come from the environment
    except ValidationError as error:
        wrong = "\n".join(f"  {_variable(each['loc'])}: {each['msg']}" for each in error.errors())
        raise click.ClickException(f"The environment is not right:\n{wrong}") from None
    configure_logging(settings.log_format, settings.log_level)
    arm(parse(settings.failpoints))
    return settings


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0])
    return name if name.isupper() else f"NEXTFIRE_{name.upper()}"


def require_postgres(settings: Settings) -> None:
    """End the program unless Postgres answers."""

    async def ping() -> None:
        database = database_of(settings, pool_size=1, readers=0)
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


def leave(code: int) -> NoReturn:
    """The Temporal SDK may crash a process that ends by itself right after its last call."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
