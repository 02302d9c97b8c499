"""Who decides what callers may do, and what is sent in whose name: wired from the settings for API and worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nextfire.settings import AuthMode, Settings
from services.api_keys import ApiKeys
from services.authorization import Authorizer, OpenAuthorizer, RoleAuthorizer
from services.creators import Creators, KeyCreators, KnownCreators, OpenCreators
from services.database import Database
from services.provider import Provider, http_client
from services.provider_authorization import ProviderAuthorizer, ProviderCreators
from services.registrations import NoRegistrations, ProviderRegistrations, Registrations


@dataclass(frozen=True)
class Authority:
    authorizer: Authorizer
    creators: Creators
    registrations: Registrations
    provider: Provider | None = None
    """Knows callers by their credentials as well."""


@asynccontextmanager
async def authority_of(settings: Settings, database: Database) -> AsyncIterator[Authority]:
    """The mode's authority, with its connections open for the block."""
    if settings.auth is AuthMode.KEYS:
        yield Authority(RoleAuthorizer(), KeyCreators(ApiKeys(database)), NoRegistrations())
    elif settings.auth is AuthMode.JWT:
        yield Authority(RoleAuthorizer(), KnownCreators(), NoRegistrations())
    elif settings.auth is AuthMode.PROVIDER and settings.provider_url is not None:
        async with provider_authority(settings.provider_url, database) as authority:
            yield authority
    else:
        yield Authority(OpenAuthorizer(), OpenCreators(), NoRegistrations())


@asynccontextmanager
async def provider_authority(url: str, database: Database) -> AsyncIterator[Authority]:
    async with http_client() as http:
        provider = Provider(http, url)
        yield Authority(
            ProviderAuthorizer(provider),
            ProviderCreators(provider, database),
            ProviderRegistrations(database, provider),
            provider,
        )
