"""The tables, as SQLAlchemy Core sees them.

The database says every rule that it can: what a CHECK or a UNIQUE here refuses, no code above can store.
Enumerations are text with a CHECK, so that a value can be added without rewriting a table.
"""

from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.types import UserDefinedType
from uuid_utils.compat import uuid7

from services.agent import AgentProtocol, AgentStatus
from services.authorization import ResourceType
from services.feed_event import EventKind
from services.principals import Role
from services.run import AttemptOutcome, RunStatus, RunTrigger, SkipReason
from services.schedule import ChangeKind, MissedFirePolicy, OnUnknown, OverlapPolicy

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    }
)


class Xid8(UserDefinedType[int]):
    """Postgres's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


def new_id() -> UUID:
    """A UUIDv7: rows made later sort later, so an index on it grows at its end."""
    return uuid7()


def instant(name: str, *, nullable: bool = False, now: bool = False) -> Column[object]:
    return Column(
        name,
        TIMESTAMP(timezone=True),
        nullable=nullable,
        server_default=func.now() if now else None,
    )


def document(name: str, *, nullable: bool = True) -> Column[object]:
    """A JSON value; None is SQL NULL, never the JSON null."""
    return Column(name, JSONB(none_as_null=True), nullable=nullable)


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    quoted = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({quoted})", name=column)


agents = Table(
    "agents",
    metadata,
    Column("id", Uuid, primary_key=True, default=new_id),
    Column("account_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("protocol", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("api_key", LargeBinary, comment="encrypted; never returned"),
    Column("status", Text, nullable=False, server_default="ACTIVE"),
    Column("version", Integer, nullable=False, server_default="1"),
    instant("created_at", now=True),
    instant("updated_at", now=True),
    instant("deleted_at", nullable=True),
    one_of("protocol", AgentProtocol),
    one_of("status", AgentStatus),
    CheckConstraint("name ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'", name="name"),
    CheckConstraint("(status = 'DELETED') = (deleted_at IS NOT NULL)", name="deleted"),
    CheckConstraint("version >= 1", name="version"),
    Index(
        "agents_account_id_name_key",
        "account_id",
        "name",
        unique=True,
        postgresql_where=text("deleted_at IS NULL"),
    ),
    Index("agents_account_id_id_idx", "account_id", "id"),
)

schedules = Table(
    "agent_run_schedules",
    metadata,
    Column("id", Uuid, primary_key=True, default=new_id),
    Column("agent_id", Uuid, ForeignKey("agents.id"), nullable=False),
    Column("account_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("cron_expression", Text),
    Column("time_zone", Text),
    Column("interval_seconds", BigInteger),
    Column("interval_offset_seconds", BigInteger),
    instant("start_at", nullable=True),
    instant("end_at", nullable=True),
    instant("finishes_at", nullable=True),
    Column("jitter_seconds", Integer, nullable=False, server_default="0"),
    Column("overlap_policy", Text, nullable=False),
    Column("missed_fire_policy", Text, nullable=False),
    Column("catch_up_window_seconds", Integer, nullable=False),
    Column("on_unknown", Text, nullable=False),
    Column("retry_horizon_seconds", Integer, nullable=False),
    Column("pause_after_failures", Integer),
    Column("consecutive_failures", Integer, nullable=False, server_default="0"),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("pause_note", Text),
    document("creator_principal"),
    document("task_params"),
    document("task_metadata"),
    document("initial_input", nullable=False),
    document("labels", nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("applied_version", Integer),
    instant("applied_at", nullable=True),
    Column("clock_version", Integer, comment="the RowVersion that the clock was last seen with"),
    Column("observed_hash", Text),
    instant("checked_at", nullable=True),
    Column("clock_status", Text, nullable=False, server_default="PENDING"),
    Column("clock_error", Text),
    Column("clock_error_version", Integer),
    Column("lease_id", Uuid),
    instant("lease_until", nullable=True),
    instant("settled_until", nullable=True),
    instant("created_at", now=True),
    instant("updated_at", now=True),
    instant("deleted_at", nullable=True),
    CheckConstraint(
        "(cron_expression IS NULL) = (interval_seconds IS NOT NULL)"
        " AND (cron_expression IS NULL) = (time_zone IS NULL)"
        " AND (interval_seconds IS NULL) = (interval_offset_seconds IS NULL)",
        name="one_cadence",
    ),
    CheckConstraint(
        "interval_seconds >= 1 AND interval_offset_seconds >= 0 AND interval_offset_seconds < interval_seconds",
        name="interval",
    ),
    CheckConstraint("end_at IS NULL OR start_at IS NULL OR start_at <= end_at", name="window"),
    CheckConstraint("name ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'", name="name"),
    CheckConstraint("jitter_seconds >= 0", name="jitter_seconds"),
    CheckConstraint("catch_up_window_seconds >= 10", name="catch_up_window_seconds"),
    CheckConstraint("retry_horizon_seconds >= 1", name="retry_horizon_seconds"),
    CheckConstraint("pause_after_failures >= 1", name="pause_after_failures"),
    CheckConstraint("version >= 1 AND applied_version <= version", name="version"),
    CheckConstraint("clock_status IN ('IN_SYNC', 'PENDING', 'DRIFTED', 'MISSING', 'UNKNOWN')", name="clock_status"),
    one_of("overlap_policy", OverlapPolicy),
    one_of("missed_fire_policy", MissedFirePolicy),
    one_of("on_unknown", OnUnknown),
    Index(
        "agent_run_schedules_agent_id_name_key",
        "agent_id",
        "name",
        unique=True,
        postgresql_where=text("deleted_at IS NULL"),
    ),
    Index("agent_run_schedules_account_id_created_at_id_idx", "account_id", "created_at", "id"),
    Index("agent_run_schedules_account_id_updated_at_id_idx", "account_id", "updated_at", "id"),
    Index("agent_run_schedules_account_id_name_id_idx", "account_id", "name", "id"),
    Index("agent_run_schedules_agent_id_created_at_id_idx", "agent_id", "created_at", "id"),
    Index(
        "agent_run_schedules_dirty_idx",
        "updated_at",
        postgresql_where=text("applied_version IS DISTINCT FROM version"),
    ),
)

schedule_revisions = Table(
    "schedule_revisions",
    metadata,
    Column("schedule_id", Uuid, ForeignKey("agent_run_schedules.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    instant("at", now=True),
    document("by"),
    Column("note", Text),
    document("definition", nullable=False),
    PrimaryKeyConstraint("schedule_id", "version"),
    one_of("kind", ChangeKind),
    CheckConstraint("version >= 1", name="version"),
)

skipped_fires = Table(
    "skipped_fires",
    metadata,
    Column("schedule_id", Uuid, ForeignKey("agent_run_schedules.id"), nullable=False),
    instant("fire_at"),
    document("by"),
    instant("at", now=True),
    Column("note", Text),
    PrimaryKeyConstraint("schedule_id", "fire_at"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Uuid, primary_key=True, comment="uuid5 of the schedule (or agent) and the fire key"),
    Column("account_id", Text, nullable=False),
    Column("schedule_id", Uuid, comment="no foreign key: a clock without a row is recorded as well"),
    Column("agent_id", Uuid, ForeignKey("agents.id")),
    Column("fire_key", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    instant("fire_at"),
    Column("status", Text, nullable=False),
    Column("skip_reason", Text),
    document("error"),
    document("input"),
    Column("delivery_method", Text),
    Column("on_unknown", Text),
    Column("retry_horizon_seconds", Integer),
    Column("task_id", Uuid),
    Column("attempt_count", Integer, nullable=False, server_default="0"),
    Column("schedule_version", Integer, nullable=False),
    document("creator_principal"),
    Column("note", Text),
    instant("claimed_at", now=True),
    instant("begun_at", nullable=True),
    instant("deadline_at", nullable=True),
    instant("delivered_at", nullable=True),
    instant("finished_at", nullable=True),
    Column("temporal_workflow_id", Text, nullable=False),
    Column("temporal_run_id", Text),
    Column("interventions", JSONB, nullable=False, server_default=text("'[]'::jsonb"), comment="append only"),
    UniqueConstraint("schedule_id", "fire_key"),
    one_of("trigger", RunTrigger),
    one_of("status", RunStatus),
    one_of("skip_reason", SkipReason),
    CheckConstraint("(status = 'SKIPPED') = (skip_reason IS NOT NULL)", name="skipped_with_reason"),
    CheckConstraint("status <> 'DELIVERED' OR delivered_at IS NOT NULL", name="delivered"),
    Index("runs_account_id_fire_at_id_idx", "account_id", "fire_at", "id"),
    Index("runs_schedule_id_fire_at_id_idx", "schedule_id", "fire_at", "id"),
    Index("runs_agent_id_fire_at_id_idx", "agent_id", "fire_at", "id"),
    Index(
        "runs_unfinished_idx",
        "schedule_id",
        postgresql_where=text("finished_at IS NULL"),
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", Uuid, ForeignKey("runs.id"), nullable=False),
    Column("n", Integer, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("body_sha256", Text, nullable=False),
    instant("at", now=True),
    Column("duration_ms", Integer),
    Column("outcome", Text, nullable=False, server_default="IN_FLIGHT"),
    document("error"),
    PrimaryKeyConstraint("run_id", "n"),
    one_of("outcome", AttemptOutcome),
    CheckConstraint("n >= 1", name="n"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("agent_id", Uuid, ForeignKey("agents.id"), nullable=False),
    Column("run_id", Uuid, ForeignKey("runs.id"), nullable=False, unique=True),
    Column("name", Text, nullable=False, unique=True),
    Column("display_name", Text, nullable=False),
    document("params"),
    document("metadata"),
    document("principal"),
    Column("create_body", LargeBinary, comment="task/create as it is sent, byte for byte; NULL: not sent"),
    Column("input_body", LargeBinary, nullable=False, comment="the input as it is sent, byte for byte"),
    instant("created_at", now=True),
    instant("registered_at", nullable=True),
    instant("accepted_at", nullable=True),
)

task_cancellations = Table(
    "task_cancellations",
    metadata,
    Column("task_id", Uuid, ForeignKey("tasks.id"), primary_key=True),
    Column("run_id", Uuid, ForeignKey("runs.id"), nullable=False, comment="the later run that it makes way for"),
    Column("idempotency_key", Text, nullable=False),
    Column("body", LargeBinary, nullable=False, comment="task/cancel as it is sent, byte for byte"),
    instant("requested_at", now=True),
    Column("attempt_count", Integer, nullable=False, server_default="0"),
    Column("outcome", Text, nullable=False, server_default="IN_FLIGHT", comment="of the last attempt"),
    document("error"),
    instant("ended_at", nullable=True),
    one_of("outcome", AttemptOutcome),
    CheckConstraint("attempt_count >= 0", name="attempt_count"),
    CheckConstraint("ended_at IS NULL OR outcome <> 'IN_FLIGHT'", name="ended"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Uuid, primary_key=True, default=new_id),
    Column("task_id", Uuid, ForeignKey("tasks.id"), nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    instant("created_at", now=True),
    UniqueConstraint("task_id", "idempotency_key"),
    UniqueConstraint("task_id", "sequence"),
    CheckConstraint("author IN ('USER', 'AGENT')", name="author"),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("account_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("schedule_id", Uuid),
    Column("run_id", Uuid),
    Column("agent_id", Uuid),
    document("payload", nullable=False),
    instant("at", now=True),
    one_of("kind", EventKind),
    Index("events_xid_id_idx", "xid", "id"),
    Index("events_run_id_idx", "run_id", "xid", "id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("account_id", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("request_hash", Text, nullable=False),
    document("result", nullable=False),
    instant("at", now=True),
    PrimaryKeyConstraint("account_id", "actor", "key"),
    Index("idempotency_keys_at_idx", "at"),
)

duties = Table(
    "duties",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Uuid, nullable=False),
    instant("begun_at"),
    instant("held_until", nullable=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True, comment="the public part of the key"),
    Column("account_id", Text, nullable=False),
    Column("name", Text, nullable=False, comment="the service account that the holder acts as"),
    Column("role", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, comment="SHA-256 of the whole key"),
    instant("created_at", now=True),
    instant("expires_at", nullable=True),
    instant("last_used_at", nullable=True),
    instant("revoked_at", nullable=True),
    one_of("role", Role),
    CheckConstraint("id ~ '^[0-9A-Za-z]{12}$'", name="id"),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    CheckConstraint("name ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'", name="name"),
    CheckConstraint("account_id <> ''", name="account_id"),
    CheckConstraint("expires_at > created_at", name="expires_at"),
    Index("api_keys_account_id_name_idx", "account_id", "name"),
)

deregistrations = Table(
    "deregistrations",
    metadata,
    Column("resource_type", Text, nullable=False),
    Column("selector", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    document("principal"),
    instant("due_at"),
    Column("tries", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("resource_type", "selector"),
    one_of("resource_type", ResourceType),
    CheckConstraint("tries >= 0", name="tries"),
    Index("deregistrations_due_at_idx", "due_at"),
    comment="what the authorization provider is still to be told to forget",
)
