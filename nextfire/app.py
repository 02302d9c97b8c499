"""The API: the GraphQL endpoint, the playground, liveness and readiness, as one ASGI application."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute

import nextfire
from nextfire.allowances import allowances, limits, may_introspect, rate_limit, store, trusted_documents
from nextfire.authentication import authenticator, checked_mode
from nextfire.callers import Callers
from nextfire.playground_routes import playground_routes
from nextfire.postgres import database_of
from nextfire.settings import AuthMode, Settings
from nextfire.temporal import temporal_client
from nextfire.transport import GraphQLEndpoint, Perimeter, internal_error
from nextfire.transport.shortcut import Shortcut
from nextfire.wiring import Foundation, closing, foundation, in_background
from resolvers.context import Context, ServerFacts, Services
from schema import build_schema
from services.agents import Agents
from services.backfills import Backfills
from services.errors import Unavailable
from services.feed import Feed
from services.interventions import Interventions
from services.manual_runs import ManualRuns
from services.outbound import HostList
from services.principals import Actor
from services.runs import Runs
from services.schedule_queries import ScheduleQueries
from services.schedules import Schedules
from services.skips import Skips

log = structlog.get_logger(__name__)

FEED_POOL_SIZE = 3
GRAPHQL = "/graphql"


def create_app(settings: Settings) -> Starlette:
    """Build the application. It may be called more than once; nothing is connected before its lifespan starts.

    Raises `NotConfigured` where the settings do not say who may use it.
    """
    watched = checked_mode(settings) is not AuthMode.OPEN

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        temporal = await temporal_client(lazy=True)
        async with foundation(settings, temporal) as base, api_services(base) as services, closing(endpoint.admission):
            app.state.base, app.state.services = base, services
            log.info(
                "The API starts", action="api_starting", host=settings.host, port=settings.port, auth=settings.auth
            )
            async with authenticator(settings, base) as known, in_background(endpoint.admission.tend()):
                app.state.callers = Callers(known, frozenset(name.lower() for name in settings.socket_headers))
                yield

    schema = build_schema(schedules=settings.schedules_enabled)
    shared = store(settings)
    endpoint = GraphQLEndpoint(
        schema,
        context,
        connect=connect,
        refresh=Context.fresh,
        watch=watch if watched else None,
        limits=limits(settings),
        allowances=allowances(settings),
        rate_limit=rate_limit(settings, shared),
        store=shared,
        may_introspect=may_introspect(settings),
        trusted=trusted_documents(settings, schema),
        reports_cost=True,
        allowed_origins=settings.cors_origins,
    )
    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            *endpoint_routes(endpoint),
            *playground_routes(),
        ],
        lifespan=lifespan,
        middleware=[*perimeter(settings).middleware(), Middleware(Shortcut, path=GRAPHQL, endpoint=endpoint)],
        exception_handlers={Exception: internal_error},
    )


def perimeter(settings: Settings) -> Perimeter:
    """Who may ask, as the settings have it."""
    return Perimeter(answered_hosts(settings), settings.cors_origins, settings.tls_in_front)


def answered_hosts(settings: Settings) -> HostList | None:
    """The names that the API answers to, or None for any.

    Without a list: any, unless everyone who reaches it may do everything. A page could reach it then by a name of its
    own that it lets lead here, and would count as one of the API's own.
    """
    if settings.allowed_hosts:
        return None if "*" in settings.allowed_hosts else HostList.of(settings.allowed_hosts)
    return HostList() if settings.auth is AuthMode.OPEN else None


def endpoint_routes(endpoint: GraphQLEndpoint) -> list[BaseRoute]:
    """HTTP of every method, so that the endpoint itself says which it takes, and WebSocket."""
    return [Route(GRAPHQL, endpoint, methods=None), WebSocketRoute(GRAPHQL, endpoint)]


async def context(connection: HTTPConnection) -> Context:
    """The context of one operation: its credentials are looked at each time, on a socket too."""
    services: Services = connection.app.state.services
    known = await _callers(connection).identify(connection)
    _name_caller(connection, known.actor)
    return Context(known.actor, services)


async def connect(connection: HTTPConnection, _params: Mapping[str, Any]) -> None:
    """Let a socket in whose caller is known."""
    known = await _callers(connection).identify(connection)
    _name_caller(connection, known.actor)


async def watch(connection: HTTPConnection) -> NoReturn:
    """Raise when the credentials of an open socket or stream no longer hold."""
    await _callers(connection).stay(connection)


def _name_caller(connection: HTTPConnection, actor: Actor) -> None:
    """What the caller's allowances are counted under; where nobody is known by name, that is the address."""
    if actor.principal is not None:
        connection.state.caller = f"{actor.account_id} {actor.key}"


def _callers(connection: HTTPConnection) -> Callers:
    callers: Callers = connection.app.state.callers
    return callers


async def readyz(request: Request) -> JSONResponse:
    """Ready while Postgres answers; Temporal's absence is told, and stops no reads and no writes."""
    base: Foundation = request.app.state.base
    try:
        await base.database.ping()
    except Unavailable as error:
        return _status(503, postgres="unavailable", message=error.message)
    temporal = "reachable" if await base.temporal_reachable() else "unavailable"
    return _status(200, postgres="reachable", temporal=temporal)


async def healthz(_: Request) -> JSONResponse:
    """The process is alive, whatever it depends on."""
    return JSONResponse({"status": "alive"}, headers={"cache-control": "no-store"})


def _status(code: int, **facts: str) -> JSONResponse:
    status = "ready" if code == 200 else "unavailable"
    return JSONResponse({"status": status, **facts}, status_code=code, headers={"cache-control": "no-store"})


@asynccontextmanager
async def api_services(base: Foundation) -> AsyncIterator[Services]:
    """What the resolvers call, with the tailer of the event log running."""
    database, notifier, registrations = base.database, base.notifier, base.authority.registrations
    # Its own pool: mutations that wait for a lock must not hold up subscribers, nor these the mutations.
    feed_database = database_of(base.settings, pool_size=FEED_POOL_SIZE, readers=FEED_POOL_SIZE)
    feed = Feed(feed_database, base.listener)
    async with closing(feed_database), in_background(feed.run()):
        yield Services(
            authorizer=base.authority.authorizer,
            agents=Agents(database, base.secrets, base.dialer, registrations),
            schedules=Schedules(database, notifier, base.reconciler, registrations),
            schedule_queries=ScheduleQueries(database),
            runs=Runs(database),
            skips=Skips(database, notifier, base.reconciler),
            backfills=Backfills(database, notifier, base.starter),
            manual_runs=ManualRuns(database, notifier, base.starter, base.reconciler),
            interventions=Interventions(database, notifier, base.starter),
            live=base.live,
            feed=feed,
            server=ServerFacts(
                version=nextfire.__version__,
                schedules_enabled=base.settings.schedules_enabled,
                temporal_namespace=base.temporal.namespace,
                temporal_ui_url=base.settings.temporal_ui_url,
                temporal_reachable=base.temporal_reachable,
            ),
        )
