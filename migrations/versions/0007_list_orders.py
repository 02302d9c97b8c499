"""An index for each order that schedules can be listed in."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLE = "agent_run_schedules"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for column in ("updated_at", "name"):
        op.create_index(f"{TABLE}_account_id_{column}_id_idx", TABLE, ["account_id", column, "id"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for column in ("name", "updated_at"):
        op.drop_index(f"{TABLE}_account_id_{column}_id_idx", table_name=TABLE)
