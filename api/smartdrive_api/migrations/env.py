"""What Alembic runs: the migrations on the connection that `smartdrive_api.migrations` hands over."""

from __future__ import annotations

from alembic import context

from smartdrive_api.models import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, compare_type=True
)
with context.begin_transaction():
    context.run_migrations()
