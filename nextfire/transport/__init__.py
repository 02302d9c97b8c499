"""GraphQL over HTTP and WebSocket: what comes in, what goes out, and what neither may hold."""

from nextfire.transport.admission import Allowances
from nextfire.transport.bounds import Bounds
from nextfire.transport.correlation import RequestIdMiddleware, request_id
from nextfire.transport.endpoint import GraphQLEndpoint
from nextfire.transport.perimeter import Perimeter, internal_error
from nextfire.transport.rates import RateLimit, StoreNotUsable
from nextfire.transport.server import uvicorn_options

__all__ = [
    "Allowances",
    "Bounds",
    "GraphQLEndpoint",
    "Perimeter",
    "RateLimit",
    "RequestIdMiddleware",
    "StoreNotUsable",
    "internal_error",
    "request_id",
    "uvicorn_options",
]
