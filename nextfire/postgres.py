"""Connecting to Postgres as the settings say: all that a command of the command line needs."""

from nextfire.settings import Settings
from services.database import Database


def database_of(settings: Settings, *, pool_size: int, readers: int | None = None) -> Database:
    """The database of the settings, with so many connections; `readers` as `Database` has it."""
    return Database(
        settings.database_url.get_secret_value(),
        pool_size=pool_size,
        readers=readers,
        transaction_pooler=settings.database_pooler == "transaction",
    )
