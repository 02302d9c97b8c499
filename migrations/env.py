"""Alembic's entry: runs the migrations on the connection that `migrations._run` hands over."""

from alembic import context
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.base import ischema_names

from services.tables import Xid8, metadata

LOCK = 6_204_391_077
"""The advisory lock that lets one migrating process in at a time; an arbitrary number of our own."""

ischema_names["xid8"] = Xid8  # or reflecting the events table warns of a type it does not know

connection = context.config.attributes["connection"]
connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
connection.execute(text("SET LOCAL lock_timeout = '5s'"))
context.configure(
    connection=connection,
    target_metadata=metadata,
    compare_type=True,
    compare_server_default=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
