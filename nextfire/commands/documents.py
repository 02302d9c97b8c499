"""`nextfire documents check`."""

from pathlib import Path

import click

from nextfire.trusted_documents import ManifestNotRight, checked_documents, read_manifest
from schema import build_schema


@click.group()
def documents() -> None:
    """Look at the documents of NEXTFIRE_TRUSTED_DOCUMENTS, which the API then runs alone.

    \b
    Example:
      nextfire documents check persisted-documents.json
    """


@documents.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--without-schedules", is_flag=True, help="For an API without ENABLE_AGENT_RUN_SCHEDULES.")
def check(file: Path, without_schedules: bool) -> None:
    """Check each document of a manifest as `nextfire serve` does when it starts, and list what they cost.

    FILE is what the frontend's build writes: an object of texts by their SHA-256, or Apollo's manifest. The cost is
    that without what variables add to it.

    \b
    Example:
      nextfire documents check persisted-documents.json
    """
    try:
        found = checked_documents(file, read_manifest(file), build_schema(schedules=not without_schedules))
    except ManifestNotRight as error:
        raise click.ClickException(str(error)) from None
    for document in sorted(found, key=lambda each: -each.least_cost):
        click.echo(f"{document.identifier}  {document.least_cost:>6,}  {document.name}")
    click.echo(f"{len(found)} documents, all of them valid.", err=True)
