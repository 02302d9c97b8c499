"""What one caller may ask of the API, as the settings have it."""

from collections.abc import Mapping

import strawberry

from nextfire.authentication import NotConfigured
from nextfire.settings import AuthMode, Introspection, Settings
from nextfire.transport import Allowances, RateLimit, Store, StoreNotUsable
from nextfire.transport.admission import MayIntrospect
from nextfire.trusted_documents import ManifestNotRight, checked_documents, read_manifest
from resolvers.context import Context
from resolvers.permissions import is_operator
from schema.limits import Limits

COST_PER_MINUTE = 500_000
CONCURRENT_OPERATIONS = 50
SUBSCRIPTIONS = 500
SOCKETS = 50


def limits(settings: Settings) -> Limits:
    return Limits(max_cost=settings.max_cost)


def allowances(settings: Settings) -> Allowances:
    return Allowances(
        operations=_most(settings, settings.max_concurrent_operations, CONCURRENT_OPERATIONS),
        subscriptions=_most(settings, settings.max_subscriptions, SUBSCRIPTIONS),
        sockets=_most(settings, settings.max_sockets, SOCKETS),
    )


def store(settings: Settings) -> Store | None:
    """Where processes count together; None where each does for itself. Raises `NotConfigured` for one of no use."""
    address = settings.rate_limit_store.get_secret_value()
    if address == "memory":
        return None
    from nextfire.transport.redis_store import RedisStore  # noqa: PLC0415 - the library `limits` takes a while to load

    try:
        return RedisStore(address)
    except StoreNotUsable as error:
        raise NotConfigured(
            f"NEXTFIRE_RATE_LIMIT_STORE: {error}\nRedis needs the extra `redis`: pip install 'nextfire[redis]'"
        ) from None


def rate_limit(settings: Settings, store: Store | None = None) -> RateLimit | None:
    cost = _most(settings, settings.rate_limit_cost_per_minute, COST_PER_MINUTE)
    return None if cost is None else RateLimit(cost, store=store)


def may_introspect(settings: Settings) -> MayIntrospect | None:
    if settings.introspection is Introspection.ALL:
        return None
    return is_operator if settings.introspection is Introspection.OPERATORS else _nobody


def trusted_documents(settings: Settings, schema: strawberry.Schema) -> Mapping[str, str] | None:
    """The only documents to run; None for any. Raises `NotConfigured` with the ones that are not right."""
    if settings.trusted_documents is None:
        return None
    try:
        texts = read_manifest(settings.trusted_documents)
        checked_documents(settings.trusted_documents, texts, schema, limits(settings))
    except ManifestNotRight as error:
        raise NotConfigured(f"NEXTFIRE_TRUSTED_DOCUMENTS: {error}") from None
    return texts


def _most(settings: Settings, told: int | None, default: int) -> int | None:
    """None for any number: of 0, and of what nobody set where all callers are one."""
    if told is None:
        return None if settings.auth is AuthMode.OPEN else default
    return told or None


async def _nobody(_: Context) -> bool:
    return False
