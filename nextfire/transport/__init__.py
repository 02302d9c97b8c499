"""GraphQL over HTTP and WebSocket: what comes in, what goes out, and what neither may hold."""

from nextfire.transport.bounds import Bounds
from nextfire.transport.correlation import RequestIdMiddleware, request_id
from nextfire.transport.endpoint import GraphQLEndpoint
from nextfire.transport.server import uvicorn_options

__all__ = ["Bounds", "GraphQLEndpoint", "RequestIdMiddleware", "request_id", "uvicorn_options"]
