"""How uvicorn must be set for the endpoint to hold what it promises."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from nextfire.transport.bounds import DEFAULT_BOUNDS, Bounds
from nextfire.transport.protocols import HttpProtocol, SocketProtocol


def uvicorn_options(
    bounds: Bounds = DEFAULT_BOUNDS,
    *,
    graceful_shutdown: timedelta = timedelta(seconds=10),
    trusted_proxies: Sequence[str] = (),
) -> dict[str, Any]:
    """The arguments of `uvicorn.Config` beside the application, host and port.

    Messages are not compressed: each socket would hold two windows of zlib, and compress what all of
    them are sent for itself. Open streams hold a shutdown up until `graceful_shutdown`, and are cancelled then. Without
    `reset_contextvars` a request on a kept connection can start with what the one before it had bound. Only
    `trusted_proxies`, addresses and ranges, are believed when they say by X-Forwarded-* for whom they ask.
    """
    return {
        "loop": "uvloop",
        "http": partial(HttpProtocol, header_seconds=bounds.header_timeout.total_seconds()),
        "ws": partial(SocketProtocol, close_seconds=bounds.close_timeout.total_seconds()),
        "ws_max_size": bounds.max_message_bytes,
        "ws_per_message_deflate": False,
        "ws_ping_interval": 20.0,
        "ws_ping_timeout": 20.0,
        "timeout_graceful_shutdown": int(graceful_shutdown.total_seconds()),
        "lifespan": "on",
        "reset_contextvars": True,
        "server_header": False,
        "proxy_headers": bool(trusted_proxies),
        "forwarded_allow_ips": list(trusted_proxies),
        "log_config": None,
        "access_log": False,
    }
