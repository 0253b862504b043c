"""What the lake publishes, in a schema of its own: whole days of Gold and the marts.

Keys begin with the day, because the lake replaces days; a trip may move to another one, so its id alone is none.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = """
create table serving.publications (
    table_name text, part text, content text not null, rows bigint not null, version bigint not null,
    published_at timestamptz not null,
    constraint pk_publications primary key (table_name, part)
);
create table serving.dtc_codes (
    code text, language text, explanation text not null,
    constraint pk_dtc_codes primary key (code, language)
);
create table serving.trips (
    trip_id text, vehicle_id text not null, event_date date, started_at timestamptz not null,
    ended_at timestamptz not null, duration_s float8 not null, distance_km float8,
    distance_method text not null, max_speed_kmh float8, mean_speed_kmh float8, idle_s float8,
    is_cold_start boolean, start_latitude_deg float8, start_longitude_deg float8, end_latitude_deg float8,
    end_longitude_deg float8, is_corrected boolean not null, label text, algo_version text not null,
    constraint pk_trips primary key (event_date, trip_id)
);
create index ix_trips_vehicle_id_started_at_trip_id on serving.trips (vehicle_id, started_at, trip_id);
create table serving.trip_fuel (
    trip_id text, vehicle_id text not null, event_date date, fuel_type text, method text not null, reason text,
    fuel_l float8, fuel_low_l float8, fuel_high_l float8, fuel_l_per_100km float8, co2_kg float8, cost float8,
    currency text, algo_version text not null,
    constraint pk_trip_fuel primary key (event_date, trip_id)
);
create table serving.battery_health (
    vehicle_id text, event_date date, status text not null, confidence text not null, method text not null,
    soh_pct float8, soh_low_pct float8, soh_high_pct float8, soh_reason text, soc_pct float8,
    soc_low_pct float8, soc_high_pct float8, soc_method text not null, plateau_25c_v float8,
    failing_below_v float8, temperature_c float8, temperature_method text not null, cranks bigint not null,
    conclusive_cranks bigint not null, failing_cranks bigint not null,
    consecutive_failing_cycles bigint not null, is_replace_advised boolean, inconclusive_reason text,
    algo_version text not null,
    constraint pk_battery_health primary key (event_date, vehicle_id)
);
create index ix_battery_health_vehicle_id_event_date on serving.battery_health (vehicle_id, event_date);
create table serving.battery_trend (
    vehicle_id text, event_date date, slope_method text not null, slope_days bigint not null,
    soh_slope_pct_per_30d float8, soh_slope_low_pct_per_30d float8, soh_slope_high_pct_per_30d float8,
    constraint pk_battery_trend primary key (event_date, vehicle_id)
);
create index ix_battery_trend_vehicle_id_event_date on serving.battery_trend (vehicle_id, event_date);
create table serving.winter_risk (
    vehicle_id text, event_date date, is_at_risk boolean, forecast_min_c float8, forecast_at timestamptz,
    method text not null, confidence text not null, inconclusive_reason text, algo_version text not null,
    constraint pk_winter_risk primary key (event_date, vehicle_id)
);
create index ix_winter_risk_vehicle_id_event_date on serving.winter_risk (vehicle_id, event_date);
create table serving.drain_episodes (
    drain_episode_id text, vehicle_id text not null, event_date date, opened_at timestamptz not null,
    last_seen_at timestamptz not null, closed_at timestamptz, is_open boolean not null, method text not null,
    min_voltage_v float8, slope_v_per_day float8, severity text not null, confidence text not null,
    algo_version text not null,
    constraint pk_drain_episodes primary key (event_date, drain_episode_id)
);
create index ix_drain_episodes_vehicle_id_opened_at on serving.drain_episodes (vehicle_id, opened_at);
create table serving.dtc_episodes (
    episode_id text, vehicle_id text not null, event_date date, dtc_code text not null, system text not null,
    origin text not null, title text not null, title_hu text, title_tier text not null, severity text not null,
    severity_rule text not null, opened_at timestamptz not null, last_seen_at timestamptz not null,
    closed_at timestamptz, is_open boolean not null, status text not null, occurrence bigint not null,
    has_mil boolean, algo_version text not null,
    constraint pk_dtc_episodes primary key (event_date, episode_id)
);
create index ix_dtc_episodes_vehicle_id_opened_at_episode_id
    on serving.dtc_episodes (vehicle_id, opened_at, episode_id);
create table serving.alerts (
    alert_id text, vehicle_id text not null, event_date date, kind text not null, severity text not null,
    state text not null, opened_at timestamptz not null, updated_at timestamptz not null,
    resolved_at timestamptz, title text not null, text text not null, algo_version text not null,
    constraint pk_alerts primary key (event_date, alert_id)
);
create index ix_alerts_vehicle_id_opened_at_alert_id on serving.alerts (vehicle_id, opened_at, alert_id);
create table serving.vehicle_daily (
    vehicle_id text, local_date date, trips bigint not null, distance_km float8, driving_s float8 not null,
    idle_s float8, max_speed_kmh float8, first_started_at timestamptz, last_ended_at timestamptz,
    min_adapter_voltage_v float8, max_adapter_voltage_v float8, last_seen_at timestamptz,
    constraint pk_vehicle_daily primary key (local_date, vehicle_id)
);
create index ix_vehicle_daily_vehicle_id_local_date on serving.vehicle_daily (vehicle_id, local_date);
create table serving.fuel_economy (
    vehicle_id text, local_date date, trips bigint not null, measured_trips bigint not null,
    distance_km float8, fuel_l float8, fuel_low_l float8, fuel_high_l float8, fuel_l_per_100km float8,
    co2_kg float8, cost float8, currency text,
    constraint pk_fuel_economy primary key (local_date, vehicle_id)
);
create index ix_fuel_economy_vehicle_id_local_date on serving.fuel_economy (vehicle_id, local_date);
create table serving.driver_scores (
    vehicle_id text, week_start_date date, score float8, status text not null, method text not null,
    trips bigint not null, distance_km float8, brakings_per_100km float8, accelerations_per_100km float8,
    idle_share_pct float8,
    constraint pk_driver_scores primary key (week_start_date, vehicle_id)
);
create index ix_driver_scores_vehicle_id_week_start_date on serving.driver_scores (vehicle_id, week_start_date);
create table serving.fleet_overview (
    vehicle_id text, local_date date, last_seen_at timestamptz, trips_30d bigint not null,
    distance_7d_km float8, distance_30d_km float8, fuel_30d_l_per_100km float8, battery_status text not null,
    battery_date date, soh_pct float8, soh_date date, open_alerts bigint not null,
    open_critical_alerts bigint not null, open_codes bigint not null, dtc_codes text, driver_score float8,
    driver_score_week_start_date date,
    constraint pk_fleet_overview primary key (local_date, vehicle_id)
);
create index ix_fleet_overview_vehicle_id_local_date on serving.fleet_overview (vehicle_id, local_date);
"""


def upgrade() -> None:
    """Make the schema and its tables."""
    op.execute("create schema serving")
    for statement in filter(str.strip, _TABLES.split(";")):
        op.execute(statement)


def downgrade() -> None:
    """Drop them; the lake publishes them again."""
    op.execute("drop schema serving cascade")
