"""The values of an agent: a program with an ACP endpoint."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class AgentProtocol(StrEnum):
    SYNC = "SYNC"
    ASYNC = "ASYNC"
    AGENTIC = "AGENTIC"


class AgentStatus(StrEnum):
    ACTIVE = "ACTIVE"
    UNREACHABLE = "UNREACHABLE"
    DELETED = "DELETED"


class DeliveryMethod(StrEnum):
    MESSAGE_SEND = "MESSAGE_SEND"
    EVENT_SEND = "EVENT_SEND"


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered agent. Its API key is not here: it is read only where a request to the agent is made."""

    id: UUID
    account_id: str
    name: str
    description: str | None
    protocol: AgentProtocol
    url: str
    status: AgentStatus
    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None

    @property
    def delivery_method(self) -> DeliveryMethod:
        return delivery_method(self.protocol)


def delivery_method(protocol: AgentProtocol) -> DeliveryMethod:
    """A sync agent takes its input by message/send, every other by event/send."""
    return DeliveryMethod.MESSAGE_SEND if protocol is AgentProtocol.SYNC else DeliveryMethod.EVENT_SEND
