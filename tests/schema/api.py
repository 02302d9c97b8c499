"""Asking the schema as a client would, without a transport."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import uuid4

from graphql import GraphQLError
from strawberry.extensions import ParserCache, ValidationCache

from resolvers.context import Context, Services
from schema import build_schema
from services.errors import NextfireError
from services.principals import OPEN_ACTOR, Actor

SECONDS = 120
"""How long anything here may take before the test fails."""

SCHEMA = build_schema(schedules=True)
# Tests ask with the same few documents again and again; to parse and validate a large one costs more than to run it.
SCHEMA.extensions = (ParserCache, ValidationCache)
MUTATIONS: dict[str, Any] = dict(SCHEMA._schema.mutation_type.fields) if SCHEMA._schema.mutation_type else {}

DETAILS = {"InvalidInput": "issues { path message }", "NameTaken": "suggestion", "FireNotFound": "nearest"}
"""What is asked of a failure beyond its code, message and path."""


class Api:
    """One caller of the schema."""

    def __init__(self, services: Services, actor: Actor = OPEN_ACTOR) -> None:
        self.services = services
        self.actor = actor

    def other(self) -> "Api":
        """A caller of another account."""
        return Api(self.services, Actor(f"account-{uuid4().hex[:8]}"))

    def swapped(self, **parts: Any) -> "Api":
        """The same caller of a product with other parts."""
        return Api(dataclasses.replace(self.services, **parts), self.actor)

    def context(self) -> Context:
        return Context(self.actor, self.services)

    async def answer(self, document: str, **variables: Any) -> tuple[dict[str, Any] | None, list[GraphQLError]]:
        """The data, and the errors."""
        async with asyncio.timeout(SECONDS):
            result = await SCHEMA.execute(document, variable_values=variables, context_value=self.context())
        assert not isinstance(result, AsyncGenerator)
        return result.data, result.errors or []

    async def ask(self, document: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        data, errors = await self.answer(document, **variables)
        assert errors == []
        assert data is not None
        return data

    async def refusal(self, document: str, **variables: Any) -> NextfireError:
        """The one error that the document is answered with."""
        _, errors = await self.answer(document, **variables)
        (error,) = errors
        assert isinstance(error.original_error, NextfireError)
        return error.original_error

    async def change(self, mutation: str, input: dict[str, Any], fields: str = "") -> dict[str, Any]:
        """What a mutation answers: a member of its union."""
        fields = f"{failures(mutation)} {fields}"
        document = f"mutation($input: {input_type(mutation)}!) {{ {mutation}(input: $input) {{ {fields} }} }}"
        answer: dict[str, Any] = (await self.ask(document, input=input))[mutation]
        return answer

    async def agent(self, **values: Any) -> str:
        """The id of a new agent."""
        wanted = {"name": f"agent-{uuid4().hex[:8]}", "protocol": "SYNC", "url": "http://agent.test", **values}
        answer = await self.change("registerAgent", wanted, "... on AgentRegistered { agent { id } }")
        return str(answer["agent"]["id"])

    async def schedule(self, agent_id: str, **values: Any) -> str:
        """The id of a new schedule."""
        answer = await self.change("createSchedule", creation(agent_id, **values), SCHEDULE)
        return str(answer["schedule"]["id"])

    @asynccontextmanager
    async def events(self, document: str, **variables: Any) -> AsyncGenerator["Events", None]:
        """A subscription, closed at the end of the block."""
        stream = await SCHEMA.subscribe(document, variable_values=variables, context_value=self.context())
        assert isinstance(stream, AsyncGenerator)
        async with aclosing(stream):
            yield Events(stream)


class Events:
    """The events of a subscription with one field, one by one."""

    def __init__(self, stream: AsyncGenerator[Any, None]) -> None:
        self._stream = stream
        self._batch: list[dict[str, Any]] = []

    async def next(self) -> dict[str, Any]:
        while not self._batch:
            async with asyncio.timeout(SECONDS):
                result = await anext(self._stream)
            assert result.errors is None
            (self._batch,) = result.data.values()
        return self._batch.pop(0)

    async def refusal(self) -> NextfireError:
        """The one error that the subscription ends with."""
        async with asyncio.timeout(SECONDS):
            result = await anext(self._stream)
        (error,) = result.errors
        assert isinstance(error.original_error, NextfireError)
        assert [each async for each in self._stream] == []
        return error.original_error

    async def take(self, count: int) -> list[dict[str, Any]]:
        return [await self.next() for _ in range(count)]


SCHEDULE = "... on ScheduleCreated { schedule { id version } }"


def failures(mutation: str) -> str:
    """The selection of every failure that the mutation's union holds."""
    members = {member.name for member in MUTATIONS[mutation].type.of_type.types}
    details = " ".join(f"... on {name} {{ {DETAILS[name]} }}" for name in DETAILS if name in members)
    return f"__typename ... on UserError {{ code message path }} {details}"


def input_type(mutation: str) -> str:
    """The name of the type of its input."""
    if mutation in ("pauseSchedule", "resumeSchedule", "deleteSchedule"):
        return "ScheduleActionInput"
    if mutation == "unskipFire":
        return "SkipFireInput"
    return f"{mutation[0].upper()}{mutation[1:]}Input"


def creation(agent_id: str, **values: Any) -> dict[str, Any]:
    """The input of a schedule that does not fire while a test runs."""
    return {
        "agentId": agent_id,
        "name": f"schedule-{uuid4().hex[:8]}",
        "cadence": {"cron": {"expression": "0 0 1 1 *"}},
        "initialInput": {"content": "Write the report."},
        **values,
    }
