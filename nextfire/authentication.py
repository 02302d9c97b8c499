"""How the API knows who is asking: one of the modes, as `NEXTFIRE_AUTH` says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, ip_address

import structlog

from nextfire.settings import AuthMode, Settings
from nextfire.wiring import Foundation
from services.api_keys import ApiKeys
from services.authentication import Authenticator, OpenAuthenticator
from services.key_authentication import KeyAuthenticator
from services.provider_authentication import ProviderAuthenticator

log = structlog.get_logger(__name__)

_CHOICES = """\
Say by NEXTFIRE_AUTH who may use the API:
  keys      holders of API keys, which `nextfire keys create` makes
  jwt       bearers of the tokens of an OIDC issuer, which NEXTFIRE_JWT_ISSUER names
  provider  whoever the authorization provider at NEXTFIRE_PROVIDER_URL knows
  open      everyone who reaches the port, and for everything: for development on one machine"""


class NotConfigured(Exception):
    """The API must not start with these settings; the message says what to change."""


def checked_mode(settings: Settings) -> AuthMode:
    """The mode, with everything set that the API needs for it. Raises `NotConfigured`."""
    mode = chosen_mode(settings)
    if mode is AuthMode.OPEN and not settings.open_to_network and not is_loopback(settings.host):
        raise NotConfigured(
            "NEXTFIRE_AUTH=open lets everyone who reaches the port do everything, and "
            f"NEXTFIRE_HOST={settings.host} may be reached from other machines.\n"
            "Choose another NEXTFIRE_AUTH, or leave NEXTFIRE_HOST at 127.0.0.1. If something else keeps strangers "
            "away from the port, say so by NEXTFIRE_OPEN_TO_NETWORK=true."
        )
    if mode is AuthMode.JWT:
        from nextfire.token_mode import jwt_issues  # noqa: PLC0415 - PyJWT takes a while to load

        if issues := [*jwt_issues(settings)]:
            raise NotConfigured("\n".join(["NEXTFIRE_AUTH=jwt:", *(f"  {issue}" for issue in issues)]))
    return mode


def chosen_mode(settings: Settings) -> AuthMode:
    """The mode, with what the worker needs for it as well. Raises `NotConfigured`."""
    if settings.auth is None:
        raise NotConfigured(_CHOICES)
    if settings.auth is AuthMode.PROVIDER and settings.provider_url is None:
        raise NotConfigured("NEXTFIRE_AUTH=provider: NEXTFIRE_PROVIDER_URL must say where the provider is")
    return settings.auth


def is_loopback(host: str) -> bool:
    """Whether what listens there is reached from this machine only; of names, only `localhost` is known to be so."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


@asynccontextmanager
async def authenticator(settings: Settings, base: Foundation) -> AsyncIterator[Authenticator]:
    """The mode's authenticator, with what it does in the background. Raises `NotConfigured`."""
    mode = checked_mode(settings)
    if mode is AuthMode.OPEN:
        log.warning(
            "NO AUTHENTICATION: everyone who reaches the port may do everything",
            action="open_mode",
            host=settings.host,
            port=settings.port,
        )
        yield OpenAuthenticator()
    elif mode is AuthMode.KEYS:
        yield KeyAuthenticator(ApiKeys(base.database))
    elif base.authority.provider is not None:
        yield ProviderAuthenticator(base.authority.provider)
    else:
        from nextfire.token_mode import token_authenticator  # noqa: PLC0415 - as above

        async with token_authenticator(settings) as known:
            yield known
