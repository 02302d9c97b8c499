"""The settings, all from the environment, and read nowhere else."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.failpoints import parse
from services.outbound import HostList


def _split(value: Any) -> Any:
    return tuple(each.strip() for each in value.split(",") if each.strip()) if isinstance(value, str) else value


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Several values, separated by commas."""


class Settings(BaseSettings):
    """What a process of Nextfire is told. Temporal's own settings are read by `temporalio.envconfig`."""

    model_config = SettingsConfigDict(env_prefix="NEXTFIRE_", populate_by_name=True)

    database_url: SecretStr = Field(validation_alias="DATABASE_URL")
    """Where Postgres is: postgresql://user:password@host:5432/name."""

    schedules_enabled: bool = Field(default=False, validation_alias="ENABLE_AGENT_RUN_SCHEDULES")
    """Off, the schedule part is absent from the schema."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    database_pool_size: int = Field(default=10, ge=1, le=200)
    task_queue: str | None = None
    """The Temporal task queue that workers poll; by default one that is the database's own."""

    temporal_ui_url: str | None = None
    """The address of Temporal's web UI, for links; without one there are no links."""

    secret_key: SecretStr | None = None
    """Seals agents' API keys at rest: 32 bytes, URL-safe base64; `nextfire secret-key` makes one."""

    agent_private_networks: Literal["deny", "allow"] = "deny"
    """Whether agents may be on loopback and in private networks; link-local and reserved addresses stay closed."""

    agent_allow: Listed = ()
    """Where agents may be, and nowhere else: hosts, `*.host` patterns and address ranges, private ones too."""

    agent_deny: Listed = ()
    """Where agents may not be, whatever else is allowed: hosts, `*.host` patterns and address ranges."""

    log_format: str = Field(default="json", pattern="^(json|text)$")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    failpoints: str = ""
    """For fault tests alone: where this process breaks itself on purpose, in the form of `services/failpoints.py`."""

    @field_validator("failpoints")
    @classmethod
    def _failpoints_are_known(cls, text: str) -> str:
        parse(text)
        return text

    @field_validator("agent_allow", "agent_deny")
    @classmethod
    def _is_host_list(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        HostList.of(value)
        return value
