"""Logs: one event a line on standard error, JSON in production, with an `action` and ids as fields."""

import logging
import sys
from typing import Any

import orjson
import structlog

from nextfire.request_ids import with_request_id


def configure_logging(log_format: str, level: str) -> None:
    """Send our logs and those of libraries the same way."""
    shared: list[Any] = [
        with_request_id,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render: Any = (
        structlog.processors.JSONRenderer(serializer=_dumps)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # These name addresses with their queries, headers and whole frames, which may hold credentials.
    for noisy in ("httpx", "httpcore", "uvicorn.access", "uvicorn.error", "websockets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _dumps(value: Any, **_: Any) -> str:
    return orjson.dumps(value, default=str).decode()
