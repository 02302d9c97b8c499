"""`nextfire serve`."""

import click
import uvicorn

from nextfire.app import create_app
from nextfire.commands.environment import load_settings, require_postgres
from nextfire.transport import uvicorn_options


@click.command()
def serve() -> None:
    """Serve the API: GraphQL at /graphql, the playground at /, /readyz and /healthz.

    Needs DATABASE_URL; reads TEMPORAL_* as every Temporal program does, and NEXTFIRE_HOST, NEXTFIRE_PORT. The schedule
    part of the schema is there with ENABLE_AGENT_RUN_SCHEDULES=true.

    \b
    Example:
      DATABASE_URL=postgresql://nextfire@db/nextfire TEMPORAL_ADDRESS=temporal:7233 \\
        ENABLE_AGENT_RUN_SCHEDULES=true nextfire serve
    """
    settings = load_settings()
    require_postgres(settings)
    options = uvicorn_options(trusted_proxies=settings.trusted_proxies)
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, **options)
