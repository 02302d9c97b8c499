"""Who a token says that its bearer is: which claim means what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.errors import Unauthenticated
from services.fields import check_text
from services.principals import Actor, Principal, PrincipalType, Role

MAX_LENGTH = 255

Claims = Mapping[str, Any]


@dataclass(frozen=True)
class ClaimMapping:
    """The names of the claims. One that no claim has is taken for a path with dots between its steps."""

    account: str = "account_id"
    fixed_account: str | None = None
    """The account of every token; the claim is not read then."""
    subject: str = "sub"
    type: str | None = None
    """The claim that tells service accounts from users; without one, all are users."""
    service_accounts: tuple[str, ...] = ("service_account",)
    """The values of that claim that mean a service account; any other, or none, means a user."""
    role: str = "role"
    roles: Mapping[str, Role] = field(default_factory=lambda: {role.value.lower(): role for role in Role})
    """What the values of the role's claim mean; of several the highest counts."""
    default_role: Role | None = None
    """The role where the claim names none; without one, such a token is refused."""

    def actor(self, claims: Claims) -> Actor:
        """Raises `Unauthenticated`."""
        account_id = self.fixed_account or _text(claims, self.account)
        subject = _text(claims, self.subject)
        if self.type is not None and _values(claims, self.type) & {*self.service_accounts}:
            principal = Principal(PrincipalType.SERVICE_ACCOUNT, None, subject, account_id)
        else:
            principal = Principal(PrincipalType.USER, subject, None, account_id)
        return Actor(account_id, principal, self._role(claims))

    def _role(self, claims: Claims) -> Role:
        named = {self.roles[value] for value in _values(claims, self.role) if value in self.roles}
        for role in reversed(Role):
            if role in named:
                return role
        if self.default_role is None:
            raise Unauthenticated(f"The token's claim {self.role!r} names no role that is known here.")
        return self.default_role


def _text(claims: Claims, name: str) -> str:
    value = _claim(claims, name)
    if not isinstance(value, str) or not value.strip():
        raise Unauthenticated(f"The token needs the claim {name!r}, as a text.")
    if check_text(value, MAX_LENGTH, name):
        raise Unauthenticated(f"The token's claim {name!r} is too long, or cannot be stored.")
    return value


def _values(claims: Claims, name: str) -> set[str]:
    """The claim as a set of texts: one, a list, or texts with spaces between them, as OAuth's scope has them."""
    value = _claim(claims, name)
    if isinstance(value, str):
        return {value, *value.split()}
    return {each for each in value if isinstance(each, str)} if isinstance(value, list) else set()


def _claim(claims: Claims, name: str) -> Any:
    if name in claims:
        return claims[name]
    value: Any = claims
    for step in name.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value
