"""At fire time: whether the one who a run acts as may still do so."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from services.principals import Principal


@dataclass(frozen=True, slots=True)
class Work:
    """What is about to be sent, and as whom."""

    account_id: str
    creator: Principal | None
    agent_id: UUID
    task_id: UUID


class Creators(Protocol):
    """Asked before each attempt of a run."""

    @property
    def asks(self) -> bool:
        """Whether there is anything to find out."""
        ...

    async def may_send(self, work: Work) -> bool:
        """Whether the input may be sent as its creator. Raises `NextfireError` where that cannot be found out now."""
        ...


class OpenCreators:
    """Everyone may, also nobody: for development."""

    asks = False

    async def may_send(self, work: Work) -> bool:
        return True


class KnownCreators:
    """Whoever is known by name may: for callers whose tokens only their issuer can judge, and only while they last.

    Nobody can be asked about them later. A run without a creator comes from open mode, and is not sent in any other.
    """

    asks = True

    async def may_send(self, work: Work) -> bool:
        return work.creator is not None
