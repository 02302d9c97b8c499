"""`nextfire serve`."""

import gc

import click
import uvicorn

from nextfire.app import create_app
from nextfire.authentication import NotConfigured
from nextfire.commands.environment import load_settings, require_postgres
from nextfire.transport import uvicorn_options

GARBAGE_SOUGHT_EVERY = 50_000
"""After how many new objects: one event to a thousand subscribers makes many times Python's 700, and none of
them is garbage that has to be sought (measured: half of its CPU went there)."""


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
    gc.collect()
    gc.freeze()  # the schema, and all else that has been made so far, stays
    gc.set_threshold(GARBAGE_SOUGHT_EVERY)
    options = uvicorn_options(trusted_proxies=settings.trusted_proxies)
    uvicorn.run(app, host=settings.host, port=settings.port, **options)
