"""`nextfire serve`."""

import gc

import click
import uvicorn

from nextfire.app import create_app
from nextfire.authentication import NotConfigured
from nextfire.commands.environment import load_settings, require_postgres
from nextfire.transport import uvicorn_options

OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""A large page, and one event to a thousand subscribers, make many times Python's own 700, and hardly any garbage that
has to be sought."""


@click.command()
def serve() -> None:
    """Serve the API: GraphQL at /graphql, the playground at /, /readyz and /healthz.

    Needs DATABASE_URL and NEXTFIRE_AUTH; reads TEMPORAL_* as every Temporal program does, and NEXTFIRE_HOST,
    NEXTFIRE_PORT. The schedule part of the schema is there with ENABLE_AGENT_RUN_SCHEDULES=true.

    \b
    Example:
      DATABASE_URL=postgresql://nextfire@db/nextfire TEMPORAL_ADDRESS=temporal:7233 \\
        NEXTFIRE_AUTH=keys ENABLE_AGENT_RUN_SCHEDULES=true nextfire serve
    """
    settings = load_settings()
    try:
        app = create_app(settings)
    except NotConfigured as error:
        raise click.ClickException(str(error)) from None
    require_postgres(settings)
    spare_the_collector()
    options = uvicorn_options(trusted_proxies=settings.trusted_proxies)
    uvicorn.run(app, host=settings.host, port=settings.port, **options)


def spare_the_collector() -> None:
    """Pass over the schema and the modules, which stay, and look for cycles less often: answers hardly hold any."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, 20, 20)
