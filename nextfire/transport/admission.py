"""Whether an operation may run now: its cost, what its caller has spent, and what of its caller's runs already.

The application names the caller in `connection.state.caller`; one without a name is known by its address.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from starlette.requests import HTTPConnection

from nextfire.transport.documents import Operation
from nextfire.transport.execution import Engine
from nextfire.transport.leases import Lease, Leases
from nextfire.transport.masking import error_of
from nextfire.transport.rates import RateLimit
from nextfire.transport.refusal import Misfit, Refusal, Refused
from nextfire.transport.requests import GraphQLRequest
from nextfire.transport.store import Store

RATE_LIMITED = "RATE_LIMITED"
INTROSPECTION_DISABLED = "INTROSPECTION_DISABLED"
COST_OF_A_REFUSAL = 100
"""What a document costs that is wrong: to find that out takes more than to run a small one."""
COST_OF_A_GUESS = 500
"""What one that does not fit the schema costs those who may not read that: ten thousand words take many minutes."""

MayIntrospect = Callable[[Any], Awaitable[bool]]
"""Whether the caller of a context may read the schema itself."""


class Kind(StrEnum):
    """What a caller may have several of at a time."""

    OPERATION = "operations"
    SUBSCRIPTION = "subscriptions"
    SOCKET = "sockets"

    __hash__ = str.__hash__  # that of an enum is written in Python, and each operation is counted under its kind


@dataclass(frozen=True)
class Allowances:
    """How many of each one caller may have at a time; None for any number."""

    operations: int | None = None
    subscriptions: int | None = None
    sockets: int | None = None


class RateLimited(Refusal):
    """The caller asks for too much at a time, or within a time. `Retry-After` says when to ask again."""

    def __init__(self, message: str, wait: float = 1.0) -> None:
        seconds = max(1, math.ceil(wait))
        super().__init__(429, RATE_LIMITED, message, headers={"retry-after": str(seconds)})
        self.errors = [error_of(message, RATE_LIMITED, retryAfterSeconds=seconds)]


class Ticket:
    """What one connection or operation holds of its caller's allowances until the end of its block."""

    __slots__ = ("_held", "_lease", "_leases", "_runs")

    def __init__(self, runs: Counter[tuple[str, Kind]], leases: Leases | None) -> None:
        self._runs = runs
        self._leases = leases
        self._held: tuple[str, Kind] | None = None
        self._lease: Lease | None = None

    async def take(self, caller: str, kind: Kind, most: int | None) -> None:
        """Hold one more. Raises `RateLimited` where the caller has the most already, here or in all processes."""
        if most is None:
            return
        what = (caller, kind)
        if self._runs[what] >= most:
            raise _too_many(kind, most)
        self._runs[what] += 1
        self._held = what
        if self._leases is not None:
            self._lease = await self._leases.take(f"{kind}:{caller}", most)
            if self._lease is None:
                raise _too_many(kind, most)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._held is not None:
            self._runs[self._held] -= 1
            if not self._runs[self._held]:
                del self._runs[self._held]
            self._held = None
        if self._leases is not None and self._lease is not None:
            self._leases.give_back(self._lease)
            self._lease = None


class Admission:
    """Lets the operations of one endpoint in, or refuses them."""

    def __init__(
        self,
        engine: Engine,
        allowances: Allowances,
        rate_limit: RateLimit | None,
        may_introspect: MayIntrospect | None,
        store: Store | None,
    ) -> None:
        self._engine = engine
        self._allowances = allowances
        self._most = {
            Kind.OPERATION: allowances.operations,
            Kind.SUBSCRIPTION: allowances.subscriptions,
            Kind.SOCKET: allowances.sockets,
        }
        self._rate_limit = rate_limit
        self._may_introspect = may_introspect
        self._runs: Counter[tuple[str, Kind]] = Counter()
        self._store = store
        self._leases = None if store is None else Leases(store)

    def ticket(self) -> Ticket:
        """For one request, one operation of a socket, or one socket."""
        return Ticket(self._runs, self._leases)

    async def admit(
        self, ticket: Ticket, request: GraphQLRequest, context: Any, connection: HTTPConnection
    ) -> Operation:
        """The operation that the request names. Raises `Refused` with what keeps it from being run."""
        caller = caller_of(connection)
        limit = self._rate_limit
        if limit is not None and (wait := limit.wait(caller)) is not None:
            raise _spent(limit, wait)
        try:
            operation = self._engine.prepare(request)
            cost = self._engine.check_cost(operation, request)
            if operation.introspects and not await self._may_read_schema(context):
                message = "You may not read the schema by __schema and __type here; __typename answers everyone."
                raise Refused(403, [error_of(message, INTROSPECTION_DISABLED)])
        except Refused as refused:
            raise await self.told(refused, context, connection) from None
        kind = Kind.SUBSCRIPTION if operation.subscribes else Kind.OPERATION
        await ticket.take(caller, kind, self._most[kind])
        if limit is not None and (wait := await limit.spend(caller, cost)) is not None:
            raise _spent(limit, wait)
        return operation

    async def told(self, refused: Refused, context: Any, connection: HTTPConnection) -> Refused:
        """What the caller is told of a document or of variables that are wrong, once that is charged."""
        cost = COST_OF_A_REFUSAL
        if isinstance(refused, Misfit) and not await self._may_read_schema(context):
            refused, cost = Refused(refused.status, refused.veiled), COST_OF_A_GUESS
        if self._rate_limit is not None:
            await self._rate_limit.spend(caller_of(connection), cost)
        return refused

    async def admit_socket(self, ticket: Ticket, connection: HTTPConnection) -> None:
        """Raises `RateLimited` for one socket too many."""
        await ticket.take(caller_of(connection), Kind.SOCKET, self._allowances.sockets)

    async def tend(self) -> None:
        """Keep the store that processes share told of what is held here, until cancelled."""
        if self._leases is not None:
            await self._leases.tend()

    async def close(self) -> None:
        """Give back what is held there, and close the connections to it."""
        if self._leases is not None:
            await self._leases.give_back_idle()
        if self._store is not None:
            await self._store.close()

    async def _may_read_schema(self, context: Any) -> bool:
        return self._may_introspect is None or await self._may_introspect(context)


def caller_of(connection: HTTPConnection) -> str:
    """The name that a caller's allowances are counted under."""
    caller = connection.scope.get("state", {}).get("caller")
    if isinstance(caller, str):
        return caller
    return f"address {connection.client.host}" if connection.client else "nobody"


def _too_many(kind: Kind, most: int) -> RateLimited:
    return RateLimited(f"You may have {most} {kind} at a time, and have them: end one, or wait for one to end.")


def _spent(limit: RateLimit, wait: float) -> RateLimited:
    return RateLimited(
        f"Your operations of the last {limit.window.total_seconds():g} s cost more than {limit.cost:,}, which is what "
        f"you may spend in that time. Ask again in {max(1, math.ceil(wait))} s, for less: see extensions.cost.",
        wait,
    )
