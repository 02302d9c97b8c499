"""What the authorization provider is still to be told to forget, and what fires have to remember of asking it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("runs", sa.Column("begun_at", postgresql.TIMESTAMP(timezone=True)))
    op.add_column("tasks", sa.Column("registered_at", postgresql.TIMESTAMP(timezone=True)))
    op.create_table(
        "deregistrations",
        sa.Column("resource_type", sa.Text(), nullable=False),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("principal", postgresql.JSONB(none_as_null=True)),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("resource_type", "selector", name=op.f("deregistrations_pk")),
        sa.CheckConstraint(
            "resource_type IN ('agent', 'task', 'schedule')", name=op.f("deregistrations_resource_type_check")
        ),
        sa.CheckConstraint("tries >= 0", name=op.f("deregistrations_tries_check")),
        comment="what the authorization provider is still to be told to forget",
    )
    op.create_index("deregistrations_due_at_idx", "deregistrations", ["due_at"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("deregistrations")
    op.drop_column("tasks", "registered_at")
    op.drop_column("runs", "begun_at")
