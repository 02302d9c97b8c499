"""GraphQL over HTTP and WebSocket: what comes in, what goes out, and what neither may hold."""

from nextfire.transport.admission import Allowances
from nextfire.transport.bounds import Bounds
from nextfire.transport.correlation import RequestIdMiddleware
from nextfire.transport.endpoint import GraphQLEndpoint
from nextfire.transport.perimeter import Perimeter, internal_error
from nextfire.transport.rates import RateLimit
from nextfire.transport.server import uvicorn_options
from nextfire.transport.store import Store, StoreNotUsable

__all__ = [
    "Allowances",
    "Bounds",
    "GraphQLEndpoint",
    "Perimeter",
    "RateLimit",
    "RequestIdMiddleware",
    "Store",
    "StoreNotUsable",
    "internal_error",
    "uvicorn_options",
]
