"""graphql-core alone: the schema from its SDL, resolvers for the two fields, `graphql()` for each request."""

from typing import Any

import orjson
from graphql import GraphQLResolveInfo, GraphQLScalarType, build_schema, graphql
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.peers.resolving import SDL, one, page, timestamp
from benchmarks.peers.shared import pooled

schema = build_schema(SDL)
moment = schema.type_map["DateTime"]
assert isinstance(moment, GraphQLScalarType)
moment.coerce_output_value = timestamp


async def resolve_page(_: Any, info: GraphQLResolveInfo[Any], first: int) -> Any:
    return await page(info.context, first)


async def resolve_one(_: Any, info: GraphQLResolveInfo[Any], by: dict[str, str]) -> Any:
    return await one(info.context, by["id"])


assert schema.query_type is not None
schema.query_type.fields["schedules"].resolve = resolve_page
schema.query_type.fields["schedule"].resolve = resolve_one


async def answer(request: Request) -> Response:
    asked = orjson.loads(await request.body())
    pool = request.app.state.pool
    result = await graphql(schema, asked["query"], context_value=pool, variable_values=asked["variables"])
    return Response(orjson.dumps(result.formatted), media_type="application/graphql-response+json")


app = Starlette(routes=[Route("/graphql", answer, methods=["POST"])], lifespan=pooled)
