"""At fire time: whether the one who a run acts as may still do so."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from services.api_keys import ApiKeys
from services.authorization import has_role
from services.principals import Principal, Role


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


class KeyCreators:
    """Whoever an API key stands for may, as long as a key by that name works and its role is to run schedules."""

    asks = True

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys

    async def may_send(self, work: Work) -> bool:
        name = work.creator.service_account_id if work.creator is not None else None
        if name is None:
            return False
        return any(has_role(role, Role.EDITOR) for role in await self._keys.roles_of(work.account_id, name))


class KnownCreators:
    """Whoever is known by name may: for callers whose tokens only their issuer can judge, and only while they last.

    Nobody can be asked about them later. A run without a creator comes from open mode, and is not sent in any other.
    """

    asks = True

    async def may_send(self, work: Work) -> bool:
        return work.creator is not None
