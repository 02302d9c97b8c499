"""Who is asking: each mode answers it in its own way."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.principals import OPEN_ACTOR, Actor


@dataclass(frozen=True, slots=True)
class Authenticated:
    actor: Actor
    expires_at: datetime | None = None
    """When the credential expires; a socket is closed then. None: it does not say."""


class Authenticator(Protocol):
    async def authenticate(self, headers: Mapping[str, str]) -> Authenticated:
        """Who sends these headers, whose names are in lower case.

        Raises `Unauthenticated`, and `Unavailable` where that cannot be found out now.
        """
        ...


class OpenAuthenticator:
    """The mode `open`: everyone is the same caller, who may do everything."""

    async def authenticate(self, _headers: Mapping[str, str]) -> Authenticated:
        return Authenticated(OPEN_ACTOR)
