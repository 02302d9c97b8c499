"""Reading the credentials out of the headers of a request."""

from collections.abc import Mapping

from services.errors import Unauthenticated


def bearer_token(headers: Mapping[str, str]) -> str:
    """What follows `Bearer` in the header `authorization` (RFC 6750, section 2.1). Raises `Unauthenticated`."""
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("Send the header 'Authorization: Bearer ...'.")
    return token
