"""Which answers of Temporal mean that it is away for a while, and which are answers."""

from datetime import timedelta

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from temporalio.api.common.v1 import GrpcStatus
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure, NotFoundFailure, WorkflowNotReadyFailure
from temporalio.service import RPCError, RPCStatusCode

from services.temporal_calls import TemporalAway, call

SOON = timedelta(seconds=5)


def answering(status: RPCStatusCode, *details: Message) -> RPCError:
    packed = []
    for detail in details:
        packed.append(Any())
        packed[-1].Pack(detail)
    return RPCError("as it is", status, GrpcStatus(code=status, details=packed).SerializeToString())


async def ask(error: RPCError) -> None:
    async def request() -> None:
        raise error

    await call(request, SOON)


@pytest.mark.parametrize(
    "error",
    [
        answering(RPCStatusCode.UNAVAILABLE),
        # A key that has run out, or was taken back, is no word about what was asked for.
        answering(RPCStatusCode.UNAUTHENTICATED),
        answering(RPCStatusCode.PERMISSION_DENIED),
        answering(RPCStatusCode.NOT_FOUND, NamespaceNotFoundFailure(namespace="default")),
        # What an overloaded server says of a schedule whose workflow it cannot read.
        answering(RPCStatusCode.FAILED_PRECONDITION, WorkflowNotReadyFailure()),
    ],
    ids=lambda error: error.status.name,
)
async def test_what_may_pass_by_itself_is_being_away(error: RPCError) -> None:
    with pytest.raises(TemporalAway):
        await ask(error)


@pytest.mark.parametrize(
    "error",
    [
        answering(RPCStatusCode.NOT_FOUND, NotFoundFailure()),
        answering(RPCStatusCode.FAILED_PRECONDITION),
        answering(RPCStatusCode.INVALID_ARGUMENT),
    ],
    ids=lambda error: error.status.name,
)
async def test_what_is_an_answer_stays_one(error: RPCError) -> None:
    with pytest.raises(RPCError) as raised:
        await ask(error)
    assert raised.value is error
