"""Who is at the other end of a connection, and for how long."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from starlette.requests import HTTPConnection

from nextfire.transport.headers import joined_headers_of
from services.authentication import Authenticated, Authenticator
from services.errors import Unauthenticated, Unavailable

ASK_AGAIN_EVERY = timedelta(seconds=5)
"""How often the credentials of an open socket or stream are looked at again."""
OUTAGE_BORNE = timedelta(seconds=30)
"""How long a socket or stream stays open while nobody can say whether its credentials still hold."""
_VALUE = re.compile(r"[\x20-\x7e]{1,20000}")


class Callers:
    """Takes the credentials from connections, and asks the mode's authenticator about them.

    A browser cannot set headers on a WebSocket, so the payload of connection_init may carry those in
    `socket_headers`, at its top or under `headers`. No others: a header that a proxy vouches for could be forged there
    behind its back.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        socket_headers: frozenset[str],
        *,
        ask_again_every: timedelta = ASK_AGAIN_EVERY,
        outage_borne: timedelta = OUTAGE_BORNE,
    ) -> None:
        self._authenticator = authenticator
        self._socket_headers = socket_headers
        self._ask_again_every = ask_again_every
        self._outage_borne = outage_borne

    async def identify(self, connection: HTTPConnection) -> Authenticated:
        """Raises `Unauthenticated`, and `Unavailable` where that cannot be found out now."""
        known = await self._authenticator.authenticate(self._headers(connection))
        _check_expiry(known)
        return known

    async def stay(self, connection: HTTPConnection) -> NoReturn:
        """Look at the credentials again and again, and at the moment they expire; raises as `identify` does.

        An outage is borne for a while, but no longer than the credentials say themselves.
        """
        clock = asyncio.get_running_loop().time
        first = known = await self.identify(connection)
        seen_at = clock()
        while True:
            await asyncio.sleep(self._until_next_look(known))
            try:
                known = await self.identify(connection)
            except Unavailable:
                _check_expiry(known)
                if clock() - seen_at > self._outage_borne.total_seconds():
                    raise
                continue
            seen_at = clock()
            if known.actor != first.actor:
                raise Unauthenticated("They are someone else's by now: connect again.")

    def _until_next_look(self, known: Authenticated) -> float:
        most = self._ask_again_every.total_seconds()
        if known.expires_at is None:
            return most
        return min(most, max(0.0, (known.expires_at - datetime.now(UTC)).total_seconds()))

    def _headers(self, connection: HTTPConnection) -> Mapping[str, str]:
        headers = joined_headers_of(connection.scope)
        given = connection.scope.get("state", {}).get("connection_params")
        if not given:
            return headers
        return {**headers, **{name: value for name, value in _texts(given) if name in self._socket_headers}}


def _texts(given: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The entries that could be headers, names in lower case."""
    nested = given.get("headers")
    for entries in (nested if isinstance(nested, dict) else {}, given):
        for name, value in entries.items():
            if isinstance(value, str) and _VALUE.fullmatch(value):
                yield name.lower(), value


def _check_expiry(known: Authenticated) -> None:
    if known.expires_at is not None and known.expires_at <= datetime.now(UTC):
        raise Unauthenticated("They have expired.")
