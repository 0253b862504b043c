"""Gold: detected things, each with the version of the algorithm that found it."""

from smartdrive_dagster.tables.silver import EVENT_DATE, VEHICLE_ID
from smartdrive_dagster.tables.table import Column, Table

ALGO_VERSION = Column("algo_version", "string", "Version of the algorithm that made the row", required=True)

TRIPS = Table(
    layer="gold",
    name="trips",
    description="One trip: running without a gap over the limit, on the day that it began.",
    columns=(
        Column("trip_id", "string", "128-bit hash of vehicle and start, base32", required=True),
        VEHICLE_ID,
        Column("started_at", "timestamp", "First running sample", required=True, statistics=True),
        Column("ended_at", "timestamp", "Last running sample", required=True, statistics=True),
        Column("event_date", "date", "UTC day of started_at", required=True, statistics=True),
        Column("duration_s", "double", "From the first to the last running sample", unit="s", required=True),
        Column(
            "distance_km",
            "double",
            "Trapezoid rule on speed; null where no two speed readings lie within 10 s",
            unit="km",
            vss="Vehicle.TraveledDistance",
        ),
        Column(
            "distance_method",
            "string",
            "How the distance was found",
            required=True,
            accepted=("speed", "none"),
        ),
        Column(
            "speed_coverage_pct",
            "double",
            "Share of the duration that lies in speed intervals of at most 10 s",
            unit="%",
        ),
        Column("max_speed_kmh", "double", "Highest speed", unit="km/h", vss="Vehicle.Speed"),
        Column("mean_speed_kmh", "double", "Distance over the time that speed covers", unit="km/h"),
        Column("idle_s", "double", "Time with the engine turning at standstill", unit="s"),
        Column("max_engine_speed_rpm", "double", "Highest engine speed", unit="rpm"),
        Column("samples", "long", "Running samples", required=True),
        Column(
            "is_cut_at_midnight",
            "boolean",
            "Whether it is part of a chain over a whole UTC day",
            required=True,
        ),
        ALGO_VERSION,
    ),
    key=("trip_id",),
    partition_by="event_date",
)

__all__ = ["ALGO_VERSION", "EVENT_DATE", "TRIPS"]
