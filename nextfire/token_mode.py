"""The mode `jwt`: what the settings must say for it, and the authenticator that they make."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx

from nextfire.settings import Settings
from nextfire.wiring import in_background
from services.issuer_keys import ALGORITHMS, TIMEOUT, IssuerKeys, url_issue
from services.token_authentication import TokenAuthenticator, TokenRules
from services.token_claims import ClaimMapping


def jwt_issues(settings: Settings) -> Iterator[str]:
    """What is wrong or missing."""
    if settings.jwt_issuer is None:
        yield "NEXTFIRE_JWT_ISSUER must name the issuer, as it stands in the claim iss of its tokens"
    elif issue := url_issue(settings.jwt_issuer):
        yield f"NEXTFIRE_JWT_ISSUER {issue}"
    if settings.jwt_jwks_url is not None and (issue := url_issue(settings.jwt_jwks_url)):
        yield f"NEXTFIRE_JWT_JWKS_URL {issue}"
    if not settings.jwt_audience:
        yield "NEXTFIRE_JWT_AUDIENCE must name this API, as it stands in the claim aud of the tokens for it"
    unknown = [each for each in settings.jwt_algorithms if each not in ALGORITHMS]
    if unknown or not settings.jwt_algorithms:
        yield f"NEXTFIRE_JWT_ALGORITHMS must be some of {', '.join(ALGORITHMS)}"


@asynccontextmanager
async def token_authenticator(settings: Settings) -> AsyncIterator[TokenAuthenticator]:
    """With the issuer's keys, which are kept fresh for the block."""
    async with httpx.AsyncClient(timeout=TIMEOUT.total_seconds()) as http:
        keys = issuer_keys(settings, http)
        async with in_background(keys.run()):
            yield TokenAuthenticator(keys, token_rules(settings), claim_mapping(settings))


def issuer_keys(settings: Settings, http: httpx.AsyncClient) -> IssuerKeys:
    return IssuerKeys(
        http, settings.jwt_issuer or "", algorithms=settings.jwt_algorithms, jwks_url=settings.jwt_jwks_url
    )


def token_rules(settings: Settings) -> TokenRules:
    return TokenRules(settings.jwt_issuer or "", settings.jwt_audience, settings.jwt_algorithms)


def claim_mapping(settings: Settings) -> ClaimMapping:
    plain = ClaimMapping()
    return ClaimMapping(
        account=settings.jwt_account_claim,
        fixed_account=settings.jwt_account,
        subject=settings.jwt_subject_claim,
        type=settings.jwt_type_claim,
        service_accounts=settings.jwt_service_accounts,
        role=settings.jwt_role_claim,
        roles=settings.jwt_roles or plain.roles,
        default_role=settings.jwt_default_role,
    )
