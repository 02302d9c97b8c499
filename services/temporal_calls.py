"""One call to Temporal: bounded on our side, and with one error for every way to say "no server"."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeVar

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure, WorkflowNotReadyFailure
from temporalio.service import RPCError, RPCStatusCode

AWAY = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.UNKNOWN,
    RPCStatusCode.ABORTED,
    RPCStatusCode.DATA_LOSS,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.PERMISSION_DENIED,
}
"""What says nothing of what was asked for, and may pass: a key that has run out is replaced. Others are answers."""
SLOW = {RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}

T = TypeVar("T")


class TemporalAway(Exception):
    """Temporal did not answer. `timed_out` tells a server that is mute from one that is not there."""

    def __init__(self, reason: str, *, timed_out: bool) -> None:
        self.timed_out = timed_out
        super().__init__(reason)


async def call(request: Callable[[], Awaitable[T]], timeout: timedelta, *, away: Collection[RPCStatusCode] = AWAY) -> T:
    """One attempt, bounded on our side too: a server that is frozen holds a call beyond its own timeout.

    A server ends each connection after some minutes, and a call that is under way just then comes back as CANCELLED
    long before its time: that one is made once more. Raises `TemporalAway`, and `RPCError` for a real answer.
    """
    async with _away(away):
        async with asyncio.timeout(timeout.total_seconds() + 0.25):
            started = time.monotonic()
            try:
                return await request()
            except RPCError as error:
                early = time.monotonic() - started < timeout.total_seconds() / 2
                if error.status is not RPCStatusCode.CANCELLED or not early:
                    raise
            return await request()


@asynccontextmanager
async def _away(away: Collection[RPCStatusCode]) -> AsyncIterator[None]:
    """Turns every way in which the SDK says "no server" into `TemporalAway`; a real answer stays an RPCError."""
    try:
        yield
    except RPCError as error:
        if error.status in away or _has_no_namespace(error) or _is_not_ready(error):
            raise TemporalAway(error.message, timed_out=error.status in SLOW) from error
        raise
    except TimeoutError as error:
        raise TemporalAway("no answer in time", timed_out=True) from error
    except RuntimeError as error:
        raise TemporalAway("no connection", timed_out=False) from error


def _has_no_namespace(error: RPCError) -> bool:
    """A server that has lost our namespace says NOT_FOUND to everything: no clock is missing, all of them are away."""
    if error.status is not RPCStatusCode.NOT_FOUND:
        return False
    return any(detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details)


def _is_not_ready(error: RPCError) -> bool:
    """A server that is overloaded cannot read the workflow behind a schedule for a while."""
    if error.status is not RPCStatusCode.FAILED_PRECONDITION:
        return False
    return any(detail.Is(WorkflowNotReadyFailure.DESCRIPTOR) for detail in error.grpc_status.details)
