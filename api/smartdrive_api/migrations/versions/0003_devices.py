"""The device_id of an account: what its messages name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give each account one of its own."""
    each = sa.text("'app-' || gen_random_uuid()")
    op.add_column("accounts", sa.Column("device_id", sa.String(40), nullable=False, server_default=each))
    op.alter_column("accounts", "device_id", server_default=None)
    op.create_unique_constraint("uq_accounts_device_id", "accounts", ["device_id"])


def downgrade() -> None:
    """Drop it; messages that landed under it stay."""
    op.drop_column("accounts", "device_id")
