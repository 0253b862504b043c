"""Requests to erase a vehicle, which the lake fulfils, and how it takes a vehicle out of this database.

The lake's role may read accounts as little as before: what it may delete it deletes by a function.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_PUBLISHED = (
    "trips",
    "trip_fuel",
    "battery_health",
    "battery_trend",
    "winter_risk",
    "drain_episodes",
    "dtc_episodes",
    "alerts",
    "vehicle_daily",
    "fuel_economy",
    "driver_scores",
    "fleet_overview",
)


def upgrade() -> None:
    """Make the table and the function."""
    op.execute(
        """
        create table serving.erasures (
            erasure_id uuid,
            vin text,
            requested_at timestamptz not null,
            tombstone text,
            finished_at timestamptz,
            receipt text,
            constraint pk_erasures primary key (erasure_id)
        )
        """
    )
    deletions = "\n".join(f"delete from serving.{name} where vehicle_id = any(forgotten);" for name in _PUBLISHED)  # noqa: S608
    op.execute(
        f"""
        create function serving.forget_vehicles(forgotten text[]) returns bigint
        language plpgsql security definer set search_path = '' as $$
        declare gone bigint;
        begin
            delete from public.vehicles where vehicle_id = any(forgotten);
            get diagnostics gone = row_count;
            {deletions}
            return gone;
        end $$
        """  # noqa: S608
    )
    published = "\n".join(f"union select vehicle_id from serving.{name}" for name in _PUBLISHED)  # noqa: S608
    op.execute(
        f"""
        create function serving.known_vehicles() returns setof text
        language sql security definer set search_path = '' as $$
            select vehicle_id from public.vehicles
            {published}
        $$
        """  # noqa: S608
    )
    for function in ("forget_vehicles(text[])", "known_vehicles()"):
        op.execute(f"revoke execute on function serving.{function} from public")


def downgrade() -> None:
    """Drop them, with the requests that are not fulfilled."""
    op.execute("drop function serving.known_vehicles()")
    op.execute("drop function serving.forget_vehicles(text[])")
    op.execute("drop table serving.erasures")
