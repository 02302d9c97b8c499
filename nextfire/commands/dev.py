"""`nextfire dev`."""

import sys
from pathlib import Path

import click

from nextfire import dev as stack


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8000, envvar="NEXTFIRE_PORT", show_default=True)
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".nextfire"), show_default=True)
def dev(port: int, data_dir: Path) -> None:
    """Start everything here: Postgres, Temporal, the API, a worker and two demo agents.

    The data stays in --data-dir. Ctrl-C stops it all.

    \b
    Example:
      nextfire dev --port 8080
    """
    sys.exit(stack.run(data_dir, port))
