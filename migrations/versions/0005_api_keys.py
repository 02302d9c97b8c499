"""API keys, of which only a digest is kept."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INSTANT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False, comment="the public part of the key"),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="the service account that the holder acts as"),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="SHA-256 of the whole key"),
        sa.Column("created_at", INSTANT, server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", INSTANT),
        sa.Column("last_used_at", INSTANT),
        sa.Column("revoked_at", INSTANT),
        sa.CheckConstraint("role IN ('VIEWER', 'EDITOR', 'OPERATOR')", name=op.f("api_keys_role_check")),
        sa.CheckConstraint("id ~ '^[0-9A-Za-z]{12}$'", name=op.f("api_keys_id_check")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("api_keys_digest_check")),
        sa.CheckConstraint("name ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'", name=op.f("api_keys_name_check")),
        sa.CheckConstraint("account_id <> ''", name=op.f("api_keys_account_id_check")),
        sa.CheckConstraint("expires_at > created_at", name=op.f("api_keys_expires_at_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_pk")),
    )
    op.create_index("api_keys_account_id_name_idx", "api_keys", ["account_id", "name"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("api_keys")
