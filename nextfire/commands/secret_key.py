"""`nextfire secret-key`."""

import click
from cryptography.fernet import Fernet


@click.command()
def secret_key() -> None:
    """Print a new NEXTFIRE_SECRET_KEY, which seals agents' API keys at rest. Keep it: without it they are lost.

    \b
    Example:
      export NEXTFIRE_SECRET_KEY=$(nextfire secret-key)
    """
    click.echo(Fernet.generate_key().decode())
