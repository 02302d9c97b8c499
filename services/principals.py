"""Who acts: a user or a service account, with its account. Never a credential."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

OPEN_ACCOUNT = "default"
"""The account of everything in open mode, where nobody is known by name."""


class PrincipalType(StrEnum):
    USER = "USER"
    SERVICE_ACCOUNT = "SERVICE_ACCOUNT"


@dataclass(frozen=True, slots=True)
class Principal:
    type: PrincipalType
    user_id: str | None
    service_account_id: str | None
    account_id: str

    def to_json(self) -> dict[str, Any]:
        """What is stored with a schedule, a revision or a run: the four fields of the authorization contract."""
        return {
            "principal_type": self.type.value.lower(),
            "user_id": self.user_id,
            "service_account_id": self.service_account_id,
            "account_id": self.account_id,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        return cls(
            type=PrincipalType(stored["principal_type"].upper()),
            user_id=stored["user_id"],
            service_account_id=stored["service_account_id"],
            account_id=stored["account_id"],
        )


class Role(StrEnum):
    """What a caller may do in its account: see; change and trigger as well; manage agents as well."""

    VIEWER = "VIEWER"
    EDITOR = "EDITOR"
    OPERATOR = "OPERATOR"

    __hash__ = str.__hash__  # that of an enum is written in Python, and each request looks roles up several times


@dataclass(frozen=True, slots=True)
class Actor:
    """Who a request acts for: always an account, and a principal where the mode knows one."""

    account_id: str
    principal: Principal | None = None
    role: Role | None = None
    """Where the mode knows roles; None where everything is allowed, or an authorization provider decides."""
    presented: Mapping[str, Any] | None = field(default=None, compare=False)
    """The principal as the authorization provider gave it, which goes back to it verbatim and is never stored."""
    key: str = field(init=False, compare=False, repr=False)
    """Keeps idempotency keys of different callers of one account apart; empty where nobody is known by name."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", _key(self.principal))

    def to_json(self) -> dict[str, Any] | None:
        return self.principal.to_json() if self.principal else None


def _key(principal: Principal | None) -> str:
    if principal is None:
        return ""
    return f"{principal.type.value.lower()}:{principal.user_id or principal.service_account_id or ''}"


OPEN_ACTOR = Actor(OPEN_ACCOUNT)
