"""`nextfire migrate`."""

import click

import migrations
from nextfire.commands.environment import load_settings, require_postgres


@click.command()
def migrate() -> None:
    """Bring the database up to this version's tables; several at once wait for each other.

    \b
    Example:
      DATABASE_URL=postgresql://nextfire@db/nextfire nextfire migrate
    """
    settings = load_settings()
    require_postgres(settings)
    migrations.upgrade(settings.database_url.get_secret_value())
    click.echo("The database is up to date.")
