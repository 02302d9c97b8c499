"""`nextfire keys create|list|revoke`."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import click
from rich.console import Console
from rich.table import Column, Table

from nextfire.commands.environment import load_settings, require_postgres
from nextfire.postgres import database_of
from services.api_key import ApiKey, KeyText
from services.api_keys import ApiKeys
from services.errors import NextfireError
from services.principals import OPEN_ACCOUNT, Role

Answer = TypeVar("Answer")
PIPED_WIDTH = 250
_ROLES = [role.value.lower() for role in Role]


@click.group()
def keys() -> None:
    """Make, list and revoke the API keys of NEXTFIRE_AUTH=keys. Needs DATABASE_URL.

    \b
    Example:
      nextfire keys create --name deploy --role editor
    """


@keys.command()
@click.option("--account", default=OPEN_ACCOUNT, show_default=True, help="The account whose data it is for.")
@click.option("--name", required=True, help="The service account that its holder acts as; a-z, 0-9 and -.")
@click.option(
    "--role",
    type=click.Choice(_ROLES),
    required=True,
    help="viewer: see. editor: change and trigger schedules as well. operator: manage agents as well.",
)
@click.option("--expires-in-days", type=click.FloatRange(min=0, min_open=True, max=36_500), help="Default: never.")
def create(account: str, name: str, role: str, expires_in_days: float | None) -> None:
    """Make a key and print it, this once: only a digest of it is kept.

    To replace a key without a gap, make another one of the same name, bring it to where the old one is used, and
    revoke that.

    \b
    Example:
      nextfire keys create --account acme --name deploy --role editor --expires-in-days 90
    """
    expires_at = datetime.now(UTC) + timedelta(days=expires_in_days) if expires_in_days else None

    def make(api_keys: ApiKeys) -> Awaitable[tuple[ApiKey, KeyText]]:
        return api_keys.create(account_id=account, name=name, role=Role(role.upper()), expires_at=expires_at)

    key, text = _with_keys(make)
    until = f"until {_shown(key.expires_at)}" if key.expires_at else "until it is revoked"
    click.echo(f"The key {key.id} of {key.name} in {key.account_id}, {role}, {until}. It is shown this once:", err=True)
    click.echo(text.text)


@keys.command(name="list")
@click.option("--account", help="Only those of this account.")
@click.option("--all", "ended", is_flag=True, help="Revoked and expired ones as well.")
def list_keys(account: str | None, ended: bool) -> None:
    """List the keys that work, without their secrets.

    \b
    Example:
      nextfire keys list --account acme
    """
    rest = ("account", "name", "role", "created", "last used", "expires", "revoked")
    table = Table(Column("id", no_wrap=True), *rest, box=None)
    for key in _with_keys(lambda api_keys: api_keys.all(account, ended=ended)):
        instants = (key.created_at, key.last_used_at, key.expires_at, key.revoked_at)
        table.add_row(key.id, key.account_id, key.name, key.role.lower(), *map(_shown, instants))
    Console(markup=False, width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)


@keys.command()
@click.argument("key", metavar="ID")
def revoke(key: str) -> None:
    """End a key for good, within seconds, on open sockets too. Takes its id, or the whole key.

    \b
    Example:
      nextfire keys revoke 4fJq0Xw9ZkPa
    """
    revoked = _with_keys(lambda api_keys: api_keys.revoke(key))
    click.echo(f"The key {revoked.id} of {revoked.name} in {revoked.account_id} is revoked.")


def _shown(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z" if at else "-"


def _with_keys(act: Callable[[ApiKeys], Awaitable[Answer]]) -> Answer:
    settings = load_settings()
    require_postgres(settings)

    async def run() -> Answer:
        database = database_of(settings, pool_size=1, readers=0)
        try:
            return await act(ApiKeys(database))
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except NextfireError as error:
        raise click.ClickException(error.message) from None
