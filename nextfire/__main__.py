"""The command line: `nextfire dev|serve|worker|reconcile|audit|migrate|schema|secret-key|keys|documents`."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import click

COMMANDS = {
    "dev": "dev:dev",
    "serve": "serve:serve",
    "worker": "worker:worker",
    "reconcile": "upkeep:reconcile",
    "audit": "upkeep:audit",
    "migrate": "migrate:migrate",
    "schema": "schema:schema",
    "secret-key": "secret_key:secret_key",
    "keys": "keys:keys",
    "documents": "documents:documents",
}
"""The module of `nextfire.commands` and the command in it."""

DRAW = ("dev", "keys")
"""The commands that draw with rich."""


class Commands(click.Group):
    """Loads a command when it is called: to load them all costs more than most of them take to start."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        with no_collection(), nothing_drawn(unless=cmd_name in DRAW):
            command: click.Command = getattr(import_module(f"nextfire.commands.{module}"), name)
        return command


@contextmanager
def no_collection() -> Iterator[None]:
    """For the block, make things that stay: to look for garbage among them takes a fifth of the start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def nothing_drawn(*, unless: bool) -> Iterator[None]:
    """For the block, rich is not to be had: structlog and httpx would load it, which is as much again as they are
    themselves, for tracebacks and a command line that nobody is shown."""
    if unless or "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # what the import system has for "cannot be imported"
    try:
        yield
    finally:
        del sys.modules["rich"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nextfire")
def main() -> None:
    """A GraphQL API server for agent run schedules.

    Start with `nextfire dev`; in production run `nextfire migrate`, then any number of `nextfire serve` and
    `nextfire worker`.
    """


if __name__ == "__main__":
    main()
