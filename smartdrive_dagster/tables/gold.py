"""Gold: detected things, each with the version of the algorithm that found it."""

from smartdrive_dagster.tables.silver import EVENT_DATE, VEHICLE_ID
from smartdrive_dagster.tables.table import Column, Table

ALGO_VERSION = Column("algo_version", "string", "Version of the algorithm that made the row", required=True)

TRIPS = Table(
    layer="gold",
    name="trips",
    description="One trip: running without a gap over the limit or as its owner says, on the day that it began.",
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
            "Distance by distance_method; null where nothing tells it",
            unit="km",
            vss="Vehicle.TraveledDistance",
        ),
        Column(
            "distance_method",
            "string",
            "How the distance was found: the trapezoid rule on speed, two readings of the odometer, or positions",
            required=True,
            accepted=("speed", "odometer", "gps", "none"),
        ),
        Column("speed_distance_km", "double", "Trapezoid rule on speed, over readings within 10 s", unit="km"),
        Column("odometer_distance_km", "double", "Between the trip's first and last odometer reading", unit="km"),
        Column("gps_distance_km", "double", "Along the positions, steps slower than walking left out", unit="km"),
        Column(
            "distance_difference_km",
            "double",
            "Distance less that of the next witness: odometer, positions, speed; null without one",
            unit="km",
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
        Column("stop_start_s", "double", "Time with the engine stopped at standstill", unit="s"),
        Column("max_engine_speed_rpm", "double", "Highest engine speed", unit="rpm"),
        Column("speed_rate_hz", "double", "Speed readings per second: by their median interval", unit="1/s"),
        Column(
            "event_coverage_pct",
            "double",
            "Share of the duration with a speed reading a second, where driving events can be seen",
            unit="%",
        ),
        Column("event_distance_km", "double", "Distance driven in that time", unit="km"),
        Column("coolant_start_c", "double", "First coolant temperature, at most 60 s after the start", unit="°C"),
        Column("is_cold_start", "boolean", "Whether the engine began cold; null where nothing tells it"),
        Column("start_latitude_deg", "double", "Latitude of the start, rounded to 0.01°", unit="°"),
        Column("start_longitude_deg", "double", "Longitude of the start, rounded to 0.01°", unit="°"),
        Column("end_latitude_deg", "double", "Latitude of the end, rounded to 0.01°", unit="°"),
        Column("end_longitude_deg", "double", "Longitude of the end, rounded to 0.01°", unit="°"),
        Column("samples", "long", "Running samples", required=True),
        Column("has_several_devices", "boolean", "Whether more than one device sampled it", required=True),
        Column(
            "is_cut_at_midnight",
            "boolean",
            "Whether it is part of a chain over a whole UTC day",
            required=True,
        ),
        Column("is_corrected", "boolean", "Whether its owner merged or split it", required=True),
        Column("label", "string", "The owner's label"),
        ALGO_VERSION,
    ),
    key=("trip_id",),
    partition_by="event_date",
)

__all__ = ["ALGO_VERSION", "EVENT_DATE", "TRIPS"]
