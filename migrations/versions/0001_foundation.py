"""The foundation: agents, schedules, their revisions and skips, runs, attempts, tasks, messages, events, keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import UserDefinedType

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


class Xid8(UserDefinedType[int]):
    """Postgres's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "agents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("api_key", sa.LargeBinary(), nullable=True, comment="encrypted; never returned"),
        sa.Column("status", sa.Text(), server_default="ACTIVE", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deleted_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("(status = 'DELETED') = (deleted_at IS NOT NULL)", name=op.f("agents_deleted_check")),
        sa.CheckConstraint("name ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'", name=op.f("agents_name_check")),
        sa.CheckConstraint("protocol IN ('SYNC', 'ASYNC', 'AGENTIC')", name=op.f("agents_protocol_check")),
        sa.CheckConstraint("status IN ('ACTIVE', 'UNREACHABLE', 'DELETED')", name=op.f("agents_status_check")),
        sa.CheckConstraint("version >= 1", name=op.f("agents_version_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("agents_pk")),
    )
    op.create_index("agents_account_id_id_idx", "agents", ["account_id", "id"], unique=False)
    op.create_index(
        "agents_account_id_name_key",
        "agents",
        ["account_id", "name"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("schedule_id", sa.Uuid(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("agent_id", sa.Uuid(), nullable=True),
        sa.Column("payload", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('FIRE_STATUS', 'SCHEDULE_CHANGED')", name=op.f("events_kind_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("events_pk")),
    )
    op.create_index("events_run_id_idx", "events", ["run_id", "xid", "id"], unique=False)
    op.create_index("events_xid_id_idx", "events", ["xid", "id"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("result", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "actor", "key", name=op.f("idempotency_keys_pk")),
    )
    op.create_index("idempotency_keys_at_idx", "idempotency_keys", ["at"], unique=False)
    op.create_table(
        "agent_run_schedules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("cron_expression", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=True),
        sa.Column("interval_seconds", sa.BigInteger(), nullable=True),
        sa.Column("interval_offset_seconds", sa.BigInteger(), nullable=True),
        sa.Column("start_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("end_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finishes_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("jitter_seconds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("overlap_policy", sa.Text(), nullable=False),
        sa.Column("missed_fire_policy", sa.Text(), nullable=False),
        sa.Column("catch_up_window_seconds", sa.Integer(), nullable=False),
        sa.Column("on_unknown", sa.Text(), nullable=False),
        sa.Column("retry_horizon_seconds", sa.Integer(), nullable=False),
        sa.Column("pause_after_failures", sa.Integer(), nullable=True),
        sa.Column("consecutive_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("pause_note", sa.Text(), nullable=True),
        sa.Column("creator_principal", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("task_params", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("task_metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("initial_input", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("labels", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("applied_version", sa.Integer(), nullable=True),
        sa.Column("applied_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "clock_version", sa.Integer(), nullable=True, comment="the RowVersion that the clock was last seen with"
        ),
        sa.Column("observed_hash", sa.Text(), nullable=True),
        sa.Column("checked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("clock_status", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("clock_error", sa.Text(), nullable=True),
        sa.Column("clock_error_version", sa.Integer(), nullable=True),
        sa.Column("lease_id", sa.Uuid(), nullable=True),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("settled_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deleted_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "clock_status IN ('IN_SYNC', 'PENDING', 'DRIFTED', 'MISSING', 'UNKNOWN')",
            name=op.f("agent_run_schedules_clock_status_check"),
        ),
        sa.CheckConstraint(
            "missed_fire_policy IN ('RUN_ALL', 'RUN_LATEST', 'RUN_NONE')",
            name=op.f("agent_run_schedules_missed_fire_policy_check"),
        ),
        sa.CheckConstraint(
            "name ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'", name=op.f("agent_run_schedules_name_check")
        ),
        sa.CheckConstraint("on_unknown IN ('RETRY', 'HOLD')", name=op.f("agent_run_schedules_on_unknown_check")),
        sa.CheckConstraint(
            "overlap_policy IN ('SKIP', 'QUEUE_ONE', 'CANCEL_PREVIOUS', 'ALLOW')",
            name=op.f("agent_run_schedules_overlap_policy_check"),
        ),
        sa.CheckConstraint(
            "(cron_expression IS NULL) = (interval_seconds IS NOT NULL) AND (cron_expression IS NULL) = (time_zone IS NULL) AND (interval_seconds IS NULL) = (interval_offset_seconds IS NULL)",
            name=op.f("agent_run_schedules_one_cadence_check"),
        ),
        sa.CheckConstraint(
            "catch_up_window_seconds >= 10", name=op.f("agent_run_schedules_catch_up_window_seconds_check")
        ),
        sa.CheckConstraint(
            "end_at IS NULL OR start_at IS NULL OR start_at <= end_at", name=op.f("agent_run_schedules_window_check")
        ),
        sa.CheckConstraint(
            "interval_seconds >= 1 AND interval_offset_seconds >= 0 AND interval_offset_seconds < interval_seconds",
            name=op.f("agent_run_schedules_interval_check"),
        ),
        sa.CheckConstraint("jitter_seconds >= 0", name=op.f("agent_run_schedules_jitter_seconds_check")),
        sa.CheckConstraint("pause_after_failures >= 1", name=op.f("agent_run_schedules_pause_after_failures_check")),
        sa.CheckConstraint("retry_horizon_seconds >= 1", name=op.f("agent_run_schedules_retry_horizon_seconds_check")),
        sa.CheckConstraint(
            "version >= 1 AND applied_version <= version", name=op.f("agent_run_schedules_version_check")
        ),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("agent_run_schedules_agent_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("agent_run_schedules_pk")),
    )
    op.create_index(
        "agent_run_schedules_account_id_created_at_id_idx",
        "agent_run_schedules",
        ["account_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "agent_run_schedules_agent_id_created_at_id_idx",
        "agent_run_schedules",
        ["agent_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "agent_run_schedules_agent_id_name_key",
        "agent_run_schedules",
        ["agent_id", "name"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "agent_run_schedules_dirty_idx",
        "agent_run_schedules",
        ["updated_at"],
        unique=False,
        postgresql_where=sa.text("applied_version IS DISTINCT FROM version"),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid(), nullable=False, comment="uuid5 of the schedule (or agent) and the fire key"),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column(
            "schedule_id", sa.Uuid(), nullable=True, comment="no foreign key: a clock without a row is recorded as well"
        ),
        sa.Column("agent_id", sa.Uuid(), nullable=True),
        sa.Column("fire_key", sa.Text(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("fire_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("skip_reason", sa.Text(), nullable=True),
        sa.Column("error", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("input", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("delivery_method", sa.Text(), nullable=True),
        sa.Column("on_unknown", sa.Text(), nullable=True),
        sa.Column("retry_horizon_seconds", sa.Integer(), nullable=True),
        sa.Column("task_id", sa.Uuid(), nullable=True),
        sa.Column("attempt_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("schedule_version", sa.Integer(), nullable=False),
        sa.Column("creator_principal", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("claimed_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deadline_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("delivered_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("temporal_workflow_id", sa.Text(), nullable=False),
        sa.Column("temporal_run_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(status = 'SKIPPED') = (skip_reason IS NOT NULL)", name=op.f("runs_skipped_with_reason_check")
        ),
        sa.CheckConstraint(
            "skip_reason IN ('SCHEDULE_NOT_FOUND', 'SCHEDULE_DELETED', 'SCHEDULE_PAUSED', 'SKIP_REQUESTED', 'OVERLAP', 'OUTSIDE_WINDOW', 'TOO_LATE', 'AGENT_DELETED', 'PERMISSION_DENIED', 'INPUT_ALREADY_DELIVERED')",
            name=op.f("runs_skip_reason_check"),
        ),
        sa.CheckConstraint("status <> 'DELIVERED' OR delivered_at IS NOT NULL", name=op.f("runs_delivered_check")),
        sa.CheckConstraint(
            "status IN ('CLAIMED', 'QUEUED', 'DELIVERING', 'RETRYING', 'DELIVERED', 'SKIPPED', 'MISSED', 'CANCELLED', 'FAILED', 'UNKNOWN')",
            name=op.f("runs_status_check"),
        ),
        sa.CheckConstraint(
            "trigger IN ('SCHEDULED', 'MANUAL', 'BACKFILL', 'EXTERNAL')", name=op.f("runs_trigger_check")
        ),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("runs_agent_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("runs_pk")),
        sa.UniqueConstraint("schedule_id", "fire_key", name=op.f("runs_schedule_id_fire_key_key")),
    )
    op.create_index("runs_account_id_fire_at_id_idx", "runs", ["account_id", "fire_at", "id"], unique=False)
    op.create_index("runs_agent_id_fire_at_id_idx", "runs", ["agent_id", "fire_at", "id"], unique=False)
    op.create_index("runs_schedule_id_fire_at_id_idx", "runs", ["schedule_id", "fire_at", "id"], unique=False)
    op.create_index(
        "runs_unfinished_idx", "runs", ["schedule_id"], unique=False, postgresql_where=sa.text("finished_at IS NULL")
    )
    op.create_table(
        "attempts",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.Text(), server_default="IN_FLIGHT", nullable=False),
        sa.Column("error", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('IN_FLIGHT', 'DELIVERED', 'REFUSED', 'RETRY', 'UNKNOWN')", name=op.f("attempts_outcome_check")
        ),
        sa.CheckConstraint("n >= 1", name=op.f("attempts_n_check")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("attempts_run_id_fkey")),
        sa.PrimaryKeyConstraint("run_id", "n", name=op.f("attempts_pk")),
    )
    op.create_table(
        "schedule_revisions",
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("by", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("definition", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "kind IN ('CREATED', 'UPDATED', 'PAUSED', 'RESUMED', 'SKIPPED', 'UNSKIPPED', 'DELETED', 'REPAIRED')",
            name=op.f("schedule_revisions_kind_check"),
        ),
        sa.CheckConstraint("version >= 1", name=op.f("schedule_revisions_version_check")),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["agent_run_schedules.id"], name=op.f("schedule_revisions_schedule_id_fkey")
        ),
        sa.PrimaryKeyConstraint("schedule_id", "version", name=op.f("schedule_revisions_pk")),
    )
    op.create_table(
        "skipped_fires",
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("fire_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("by", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["agent_run_schedules.id"], name=op.f("skipped_fires_schedule_id_fkey")
        ),
        sa.PrimaryKeyConstraint("schedule_id", "fire_at", name=op.f("skipped_fires_pk")),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("params", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("principal", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column(
            "create_body",
            sa.LargeBinary(),
            nullable=True,
            comment="task/create as it is sent, byte for byte; NULL: not sent",
        ),
        sa.Column("input_body", sa.LargeBinary(), nullable=False, comment="the input as it is sent, byte for byte"),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("accepted_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("tasks_agent_id_fkey")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("tasks_run_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("tasks_pk")),
        sa.UniqueConstraint("name", name=op.f("tasks_name_key")),
        sa.UniqueConstraint("run_id", name=op.f("tasks_run_id_key")),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("author IN ('USER', 'AGENT')", name=op.f("messages_author_check")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("messages_task_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("messages_pk")),
        sa.UniqueConstraint("task_id", "idempotency_key", name=op.f("messages_task_id_idempotency_key_key")),
        sa.UniqueConstraint("task_id", "sequence", name=op.f("messages_task_id_sequence_key")),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("messages")
    op.drop_table("tasks")
    op.drop_table("skipped_fires")
    op.drop_table("schedule_revisions")
    op.drop_table("attempts")
    op.drop_index("runs_unfinished_idx", table_name="runs", postgresql_where=sa.text("finished_at IS NULL"))
    op.drop_index("runs_schedule_id_fire_at_id_idx", table_name="runs")
    op.drop_index("runs_agent_id_fire_at_id_idx", table_name="runs")
    op.drop_index("runs_account_id_fire_at_id_idx", table_name="runs")
    op.drop_table("runs")
    op.drop_index(
        "agent_run_schedules_dirty_idx",
        table_name="agent_run_schedules",
        postgresql_where=sa.text("applied_version IS DISTINCT FROM version"),
    )
    op.drop_index(
        "agent_run_schedules_agent_id_name_key",
        table_name="agent_run_schedules",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_index("agent_run_schedules_agent_id_created_at_id_idx", table_name="agent_run_schedules")
    op.drop_index("agent_run_schedules_account_id_created_at_id_idx", table_name="agent_run_schedules")
    op.drop_table("agent_run_schedules")
    op.drop_index("idempotency_keys_at_idx", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index("events_xid_id_idx", table_name="events")
    op.drop_index("events_run_id_idx", table_name="events")
    op.drop_table("events")
    op.drop_index("agents_account_id_name_key", table_name="agents", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_index("agents_account_id_id_idx", table_name="agents")
    op.drop_table("agents")
