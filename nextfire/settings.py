"""The settings, all from the environment, and read nowhere else."""

import re
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.failpoints import parse
from services.outbound import HostList
from services.principals import Role


class AuthMode(StrEnum):
    """How the API knows who is asking."""

    OPEN = "open"
    KEYS = "keys"
    JWT = "jwt"
    PROVIDER = "provider"


class Introspection(StrEnum):
    """Who may read the schema from the API itself."""

    ALL = "all"
    OPERATORS = "operators"
    NONE = "none"


def _split(value: object) -> object:
    return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Several values with commas between them."""


def _upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def _pairs(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [part.rpartition("=") for part in value.split(",") if part.strip()]
    return {name.strip(): role for name, _, role in pairs}


RoleName = Annotated[Role, BeforeValidator(_upper)]
RoleNames = Annotated[dict[str, RoleName], NoDecode, BeforeValidator(_pairs)]
"""Pairs `name=role` with commas between them."""


class Settings(BaseSettings):
    """What a process of Nextfire is told. Temporal's own settings are read by `temporalio.envconfig`."""

    model_config = SettingsConfigDict(env_prefix="NEXTFIRE_", populate_by_name=True)

    database_url: SecretStr = Field(validation_alias="DATABASE_URL")
    """Where Postgres is: postgresql://user:password@host:5432/name."""

    schedules_enabled: bool = Field(default=False, validation_alias="ENABLE_AGENT_RUN_SCHEDULES")
    """Off, the schedule part is absent from the schema."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    cors_origins: Listed = ()
    """The origins of web pages that may use the API beside its own: https://app.example.com; `*` for all."""

    allowed_hosts: Listed = ()
    """The names in Host that the API answers to, beside addresses and localhost; `*` for any."""

    trusted_proxies: Listed = ()
    """The addresses and ranges whose X-Forwarded-For and X-Forwarded-Proto are believed."""

    tls_in_front: bool = False
    """Whether browsers reach the API by TLS only; it then tells them to keep to that."""

    database_pool_size: int = Field(default=10, ge=2, le=200)
    """Connections a process: seven of ten for reads and for changes of schedules and runs. Beside them, the API has
    three of the feed and one that listens.
    """

    database_pooler: Literal["none", "transaction"] = "none"
    """Whether DATABASE_URL leads to a pooler that hands out a server for each transaction, as pgbouncer can."""

    database_listen_url: SecretStr | None = None
    """The way to Postgres itself, for LISTEN, where DATABASE_URL leads to such a pooler."""

    task_queue: str | None = None
    """The Temporal task queue that workers poll; by default one that is the database's own."""

    temporal_read_budget_seconds: float = Field(default=1.3, gt=0, le=8)
    """How long a query waits for live values; without them it says why."""
    temporal_write_budget_seconds: float = Field(default=2, gt=0, le=8)
    """How long a mutation waits for its clock, or for the start of its run, before it leaves that to a worker."""

    temporal_ui_url: str | None = None
    """The address of Temporal's web UI, for links; without one there are no links."""

    auth: AuthMode | None = None
    """Who may use the API, and in whose name a worker may send; neither starts without it."""

    open_to_network: bool = False
    """Lets the mode `open` listen where other machines reach it."""

    socket_headers: Listed = ("authorization",)
    """The headers that the payload of a WebSocket's connection_init may carry."""

    jwt_issuer: str | None = None
    """The OIDC issuer, exactly as its tokens name it."""

    jwt_audience: Listed = ()
    """The audiences that tokens may be for."""

    jwt_jwks_url: str | None = None
    """Where the issuer's keys are; by default its discovery document says."""

    jwt_algorithms: Listed = ("RS256", "ES256", "EdDSA")
    jwt_account_claim: str = "account_id"
    jwt_account: str | None = None
    """The account of every token, instead of a claim."""

    jwt_subject_claim: str = "sub"
    jwt_type_claim: str | None = None
    """The claim that tells service accounts from users; without one, all are users."""

    jwt_service_accounts: Listed = ("service_account",)
    """The values of that claim that mean a service account."""

    jwt_role_claim: str = "role"
    jwt_roles: RoleNames = {}
    """What the values of that claim mean, where they are not viewer, editor and operator: devs=editor,ops=operator."""

    jwt_default_role: RoleName | None = None
    """The role of tokens that name none; without one they are refused."""

    secret_key: SecretStr | None = None
    """Seals agents' API keys at rest: 32 bytes, URL-safe base64; `nextfire secret-key` makes one."""

    agent_private_networks: Literal["deny", "allow"] = "deny"
    """Whether agents may be on loopback and in private networks; link-local and reserved addresses stay closed."""

    agent_allow: Listed = ()
    """Where agents may be, and nowhere else: hosts, `*.host` patterns and address ranges, private ones too."""

    agent_deny: Listed = ()
    """Where agents may not be, whatever else is allowed: hosts, `*.host` patterns and address ranges."""

    provider_url: str | None = Field(default=None, pattern="^https?://[^?#]+$")
    """The authorization provider of the mode `provider`: it knows who asks and decides what they may do."""

    max_cost: int = Field(default=5_000, ge=1)
    """What one operation may cost."""

    rate_limit_cost_per_minute: int | None = Field(default=None, ge=0)
    """What the operations of one caller may cost in a minute; 0 for any number, which is the default of `open`."""

    rate_limit_store: SecretStr = SecretStr("memory")
    """Where that and what runs at a time is counted: `memory`, each process for itself, or redis://, rediss:// for all
    together."""

    max_concurrent_operations: int | None = Field(default=None, ge=0)
    max_subscriptions: int | None = Field(default=None, ge=0)
    max_sockets: int | None = Field(default=None, ge=0)
    """How many of each one caller may have at a time; 0 for any number, the default of `open`."""

    introspection: Introspection = Introspection.OPERATORS
    """Who may read the schema by __schema and __type. In the mode `open` everyone is an operator."""

    trusted_documents: Path | None = None
    """The manifest of the only documents that the API runs; without one it runs any."""

    log_format: str = Field(default="json", pattern="^(json|text)$")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    failpoints: str = ""
    """For fault tests alone: where this process breaks itself on purpose, in the form of `services/failpoints.py`."""

    @field_validator("failpoints")
    @classmethod
    def _failpoints_are_known(cls, text: str) -> str:
        parse(text)
        return text

    @field_validator("rate_limit_store")
    @classmethod
    def _is_a_store(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"memory|rediss?://\S+", value.get_secret_value()):
            raise ValueError("it must be `memory` or the address of a Redis: redis://host:6379/0")
        return value

    @field_validator("agent_allow", "agent_deny", "allowed_hosts")
    @classmethod
    def _holds_hosts(cls, value: tuple[str, ...], checked: ValidationInfo) -> tuple[str, ...]:
        HostList.of(each for each in value if (each, checked.field_name) != ("*", "allowed_hosts"))
        return value

    @field_validator("cors_origins")
    @classmethod
    def _holds_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            return ()
        from strawberry.http.websocket_origin import normalize_allowed_origins  # noqa: PLC0415 - it loads all of GraphQL

        return tuple(sorted(normalize_allowed_origins(value)))

    @field_validator("trusted_proxies")
    @classmethod
    def _holds_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ip_network(each)) for each in value)
