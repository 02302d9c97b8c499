"""The way to the simulated server: the SDK's client, with every call handed to the server's own functions."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from temporalio.api.common.v1 import GrpcStatus
from temporalio.client import Client
from temporalio.service import ConnectConfig, RPCError, RPCStatusCode, ServiceClient

NAMESPACE = "simulated"

Answer = TypeVar("Answer")
Handle = Callable[[str, Message], Message]


class Refusal(RPCError):
    """An answer of the server's that is an error, as the SDK raises it."""

    def __init__(self, status: RPCStatusCode, message: str, *details: Message) -> None:
        packed = []
        for detail in details:
            packed.append(AnyMessage())
            packed[-1].Pack(detail)
        raw = GrpcStatus(code=status.value, message=message, details=packed).SerializeToString()
        super().__init__(message, status, raw)


class Network:
    """One that loses and delays nothing. A subclass may do as it likes with a call and its answer."""

    async def carry(self, rpc: str, timeout: timedelta | None, answer: Callable[[], Answer]) -> Answer:
        """Make the call happen at the server by calling `answer`, and bring what it returns or raises."""
        return answer()


class SimulatedService(ServiceClient):
    """What the SDK's client makes its calls through."""

    def __init__(self, handle: Handle, network: Network) -> None:
        super().__init__(ConnectConfig(target_host="simulated:0", identity="simulation"))
        self._handle = handle
        self._network = network

    async def _rpc_call(
        self,
        rpc: str,
        req: Message,
        resp_type: type[Any],
        *,
        service: str,
        retry: bool,
        metadata: Mapping[str, str | bytes],
        timeout: timedelta | None,
    ) -> Any:
        """The request is copied, as a wire would: nobody changes what the other holds."""
        sent = type(req)()
        sent.CopyFrom(req)
        return await self._network.carry(rpc, timeout, lambda: self._handle(rpc, sent))

    @property
    def worker_service_client(self) -> NoReturn:
        raise NotImplementedError("The simulated server runs its workflows itself.")

    def update_rpc_metadata(self, metadata: Mapping[str, str | bytes]) -> None:
        raise NotImplementedError

    def update_api_key(self, api_key: str | None) -> None:
        raise NotImplementedError


def client(handle: Handle, network: Network) -> Client:
    """The SDK's client, whose calls are answered by `handle`."""
    return Client(SimulatedService(handle, network), namespace=NAMESPACE)
