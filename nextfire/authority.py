"""Who decides what callers may do, and what is sent in whose name: wired from the settings for API and worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nextfire.settings import Settings
from services.authorization import Authorizer, OpenAuthorizer
from services.creators import Creators, OpenCreators
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
    if settings.provider_url is None:
        yield Authority(OpenAuthorizer(), OpenCreators(), NoRegistrations())
        return
    async with http_client() as http:
        provider = Provider(http, settings.provider_url)
        yield Authority(
            ProviderAuthorizer(provider),
            ProviderCreators(provider, database),
            ProviderRegistrations(database, provider),
            provider,
        )
