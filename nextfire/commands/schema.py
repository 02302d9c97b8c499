"""`nextfire schema`."""

from pathlib import Path

import click

from schema import sdl

SCHEMA_FILE = Path("schema.graphql")


@click.command()
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
