"""The settings, all from the environment, and read nowhere else."""

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.failpoints import parse


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

    log_format: str = Field(default="json", pattern="^(json|text)$")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    failpoints: str = ""
    """For fault tests alone: where this process breaks itself on purpose, in the form of `services/failpoints.py`."""

    @field_validator("failpoints")
    @classmethod
    def _failpoints_are_known(cls, text: str) -> str:
        parse(text)
        return text
