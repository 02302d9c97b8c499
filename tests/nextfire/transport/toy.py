"""A schema with one field for each thing that the transport must carry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NewType

import strawberry
from graphql import GraphQLError
from starlette.requests import Request
from starlette.websockets import WebSocket
from strawberry.schema.config import StrawberryConfig

from schema.fields import resolved
from services.errors import CursorExpired, InvalidInput, Issue, NextfireError, Unavailable

SECRET = "postgres://user:hunter2@db/secret"


class Unauthenticated(NextfireError):
    code = "UNAUTHENTICATED"

    def __init__(self) -> None:
        super().__init__("Sign in first.")


@dataclass
class ToyContext:
    """What the toy's resolvers share with the tests."""

    calls: list[str] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    generation: int = 0


Even = NewType("Even", int)
Clean = NewType("Clean", str)


def _even(value: Any) -> Even:
    if len(value) % 2:  # a TypeError for a number: "object of type 'int' has no len()"
        raise ValueError(SECRET)
    return Even(value)


def _clean(value: Any) -> Clean:
    if value != "clean":
        raise GraphQLError("This is not clean.")
    return Clean(value)


@strawberry.input
class Patch:
    note: strawberry.Maybe[str]
    size: int = 1


@strawberry.enum
class Colour(Enum):
    RED = "red"
    GREEN = "green"


@strawberry.input(one_of=True)
class Choice:
    left: strawberry.Maybe[int]
    right: strawberry.Maybe[int]


async def _held_together(info: strawberry.Info[ToyContext, None], leaves: list[Leaf]) -> list[str]:
    released = await _released(info.context)
    return [f"{released} {leaf.name}" for leaf in leaves]


async def _broken_together(info: strawberry.Info[ToyContext, None], leaves: list[Leaf]) -> list[str]:
    info.context.calls.append(f"{len(leaves)} together")
    raise RuntimeError(SECRET)


async def _released(context: ToyContext) -> str:
    context.begun.set()
    try:
        await context.release.wait()
    finally:
        context.closed.set()
    return "released"


@strawberry.type
class Leaf:
    name: str

    @strawberry.field
    async def slow(self) -> str:
        await asyncio.sleep(0)
        return f"slow {self.name}"

    @strawberry.field
    async def broken(self) -> str | None:
        await asyncio.sleep(0)
        raise RuntimeError(SECRET)

    @strawberry.field
    async def broken_hard(self) -> str:
        await asyncio.sleep(0)
        raise RuntimeError(SECRET)

    @strawberry.field
    async def stuck(self) -> str:
        await asyncio.Event().wait()
        return "never"

    @strawberry.field
    async def held(self, info: strawberry.Info[ToyContext, None]) -> str:
        return await _released(info.context)

    @resolved("Read for all leaves at once.", together=_held_together)
    async def held_together(self, info: strawberry.Info[ToyContext, None]) -> str:
        return (await _held_together(info, [self]))[0]

    @resolved("Not to be read for all at once, and of the second not at all.", together=_broken_together)
    async def broken_together(self) -> str:
        if self.name == "1":
            raise RuntimeError(SECRET)
        return f"read {self.name}"

    @strawberry.field
    def leaf(self) -> Leaf:
        return Leaf(name=f"{self.name}.leaf")


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "world") -> str:
        return f"hello {name}"

    @strawberry.field
    def leaf(self) -> Leaf:
        return Leaf(name="leaf")

    @strawberry.field
    def leaves(self, count: int = 2) -> list[Leaf]:
        return [Leaf(name=str(n)) for n in range(count)]

    @strawberry.field
    def even(self, value: Even) -> str:
        return str(value)

    @strawberry.field
    def clean(self, value: Clean) -> str:
        return value

    @strawberry.field
    def patched(self, patch: Patch) -> str:
        return repr(patch.note)

    @strawberry.field
    def painted(self, colour: Colour) -> str:
        return colour.value

    @strawberry.field
    def chosen(self, choice: Choice) -> str:
        return repr(choice)

    @strawberry.field
    def big(self) -> strawberry.scalars.JSON:
        return strawberry.scalars.JSON({"number": 2**70})

    @strawberry.field
    def unwritable(self) -> strawberry.scalars.JSON:
        return strawberry.scalars.JSON({"object": object()})

    @strawberry.field
    def broken(self) -> str | None:
        raise RuntimeError(SECRET)

    @strawberry.field
    def not_null(self) -> str:
        return None  # type: ignore[return-value]

    @strawberry.field
    def invalid(self) -> str | None:
        raise InvalidInput((Issue(("input", "name"), "is blank"), Issue(("input", "cron"), "is no cron")))

    @strawberry.field
    def unavailable(self) -> str | None:
        raise Unavailable

    @strawberry.field
    async def generation(self, info: strawberry.Info[ToyContext, None]) -> int:
        return info.context.generation

    @strawberry.field
    async def stuck(self) -> str:
        await asyncio.Event().wait()
        return "never"


@strawberry.type
class Mutation:
    @strawberry.mutation
    def record(self, info: strawberry.Info[ToyContext, None], call: str) -> str:
        info.context.calls.append(call)
        return call


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int = 3) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number

    @strawberry.subscription
    async def forever(self, info: strawberry.Info[ToyContext, None]) -> AsyncGenerator[str, None]:
        try:
            yield "started"
            await info.context.release.wait()
            yield "released"
            await asyncio.Event().wait()
        finally:
            info.context.closed.set()

    @strawberry.subscription
    async def leaves(self, info: strawberry.Info[ToyContext, None]) -> AsyncGenerator[Leaf, None]:
        yield Leaf(name="a")
        yield Leaf(name="b")

    @strawberry.subscription
    async def generations(self) -> AsyncGenerator[Generation, None]:
        yield Generation()
        yield Generation()

    @strawberry.subscription
    async def expired(self) -> AsyncGenerator[int, None]:
        yield 1
        raise CursorExpired

    @strawberry.subscription
    async def broken(self) -> AsyncGenerator[int, None]:
        yield 1
        raise RuntimeError(SECRET)


@strawberry.type
class Generation:
    @strawberry.field
    async def number(self, info: strawberry.Info[ToyContext, None]) -> int:
        return info.context.generation


def toy_schema() -> strawberry.Schema:
    """The toy, with @defer."""
    config = StrawberryConfig(
        enable_experimental_incremental_execution=True,
        scalar_map={
            Even: strawberry.scalar(name="Even", parse_value=_even, serialize=str),
            Clean: strawberry.scalar(name="Clean", parse_value=_clean, serialize=str),
        },
    )
    return strawberry.Schema(query=Query, mutation=Mutation, subscription=Subscription, config=config)


class Toy:
    """The context factory, and what it was called with."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.context = ToyContext()
        self.made = 0

    async def make(self, request: Request | WebSocket) -> ToyContext:
        self.made += 1
        params = getattr(request.state, "connection_params", {})
        who = request.headers.get("authorization") or params.get("authorization")
        if who == "nobody":
            raise Unauthenticated
        if who:
            request.state.caller = who
        if who == "slow":
            await asyncio.Event().wait()
        if who == "crash":
            raise RuntimeError(SECRET)
        return self.context

    @staticmethod
    def refresh(context: ToyContext) -> ToyContext:
        return ToyContext(generation=context.generation + 1)
