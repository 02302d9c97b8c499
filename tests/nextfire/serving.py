"""An ASGI application behind a real uvicorn, in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import uvicorn
from starlette.types import ASGIApp

from nextfire.transport import uvicorn_options
from tests.nextfire.transport.conftest import _Server


@asynccontextmanager
async def port_of(app: ASGIApp) -> AsyncIterator[int]:
    """The port that the application is served on, with the options of `nextfire serve`."""
    options = uvicorn_options(graceful_shutdown=timedelta(seconds=1)) | {"loop": "none"}
    server = _Server(uvicorn.Config(app, host="127.0.0.1", port=0, **options))
    task = asyncio.create_task(server._serve())
    await asyncio.wait_for(server.up.wait(), 30)
    try:
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await task
