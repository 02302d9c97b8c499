"""Ariadne: its ASGI application, as its documentation has it."""

from typing import Any

from ariadne import QueryType, ScalarType, make_executable_schema
from ariadne.asgi import GraphQL
from graphql import GraphQLResolveInfo
from starlette.applications import Starlette
from starlette.routing import Route

from benchmarks.peers.resolving import SDL, one, page, timestamp
from benchmarks.peers.shared import pooled

query = QueryType()


@query.field("schedules")
async def resolve_page(_: Any, info: GraphQLResolveInfo[Any], first: int) -> Any:
    return await page(info.context["request"].app.state.pool, first)


@query.field("schedule")
async def resolve_one(_: Any, info: GraphQLResolveInfo[Any], by: dict[str, str]) -> Any:
    return await one(info.context["request"].app.state.pool, by["id"])


schema = make_executable_schema(SDL, query, ScalarType("DateTime", serializer=timestamp))
app = Starlette(routes=[Route("/graphql", GraphQL(schema, debug=False))], lifespan=pooled)
