"""Vehicles and with whom they are shared."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "vehicles",
        sa.Column("registration_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("vin", sa.String(17)),
        sa.Column("vehicle_id", sa.String(26), nullable=False),
        sa.Column("name", sa.String(60)),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("confirmed_at", _INSTANT),
        sa.Column("data_from", _INSTANT),
        sa.Column("released_at", _INSTANT),
        sa.PrimaryKeyConstraint("registration_id", name="pk_vehicles"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["accounts.account_id"], name="fk_vehicles_owner_id", ondelete="CASCADE"
        ),
    )
    op.create_index(
        "uq_vehicles_owner_id_vehicle_id",
        "vehicles",
        ["owner_id", "vehicle_id"],
        unique=True,
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.create_index("ix_vehicles_vehicle_id", "vehicles", ["vehicle_id"])
    op.create_table(
        "vehicle_shares",
        sa.Column("share_id", sa.Uuid(), nullable=False),
        sa.Column("registration_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("share_id", name="pk_vehicle_shares"),
        sa.UniqueConstraint("registration_id", "email", name="uq_vehicle_shares_registration_id_email"),
        sa.ForeignKeyConstraint(
            ["registration_id"],
            ["vehicles.registration_id"],
            name="fk_vehicle_shares_registration_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_vehicle_shares_email", "vehicle_shares", ["email"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("vehicle_shares")
    op.drop_table("vehicles")
