"""What agents are asked to stop."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "task_cancellations",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="the later run that it makes way for"),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="task/cancel as it is sent, byte for byte"),
        sa.Column("requested_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempt_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("outcome", sa.Text(), server_default="IN_FLIGHT", nullable=False, comment="of the last attempt"),
        sa.Column("error", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('IN_FLIGHT', 'DELIVERED', 'REFUSED', 'RETRY', 'UNKNOWN')",
            name=op.f("task_cancellations_outcome_check"),
        ),
        sa.CheckConstraint("attempt_count >= 0", name=op.f("task_cancellations_attempt_count_check")),
        sa.CheckConstraint("ended_at IS NULL OR outcome <> 'IN_FLIGHT'", name=op.f("task_cancellations_ended_check")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("task_cancellations_task_id_fkey")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("task_cancellations_run_id_fkey")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("task_cancellations_pk")),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("task_cancellations")
