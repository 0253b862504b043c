"""Gold of how a vehicle is driven: manoeuvres, crash-like events, and the fuel of each trip."""

from smartdrive_dagster.tables.gold import ALGO_VERSION
from smartdrive_dagster.tables.silver import VEHICLE_ID
from smartdrive_dagster.tables.table import Column, Table

EVENT_KINDS = ("braking", "acceleration", "cornering")
EVENT_SOURCES = ("speed", "accelerometer", "both")
INCIDENT_KINDS = ("impact", "speed_drop", "hard_stop")
FUEL_METHODS = ("fuel_rate", "maf_lambda", "maf", "speed_density", "none")

# Why a trip has no fuel figure; the text is what docs/explanation/fuel.md says.
FUEL_REASONS: dict[str, str] = {
    "no_signal": "no fuel rate, no air flow, and no manifold pressure with intake temperature and engine speed",
    "fuel_type_unknown": "neither PID 51 nor the profile names the fuel",
    "fuel_type_conflict": "PID 51 and the profile name a diesel and a spark-ignition engine",
    "hybrid_fuel_unknown": "the profile says hybrid, and PID 51 does not say which fuel it burns",
    "fuel_not_by_litre": "the fuel is not sold by the litre, or there is none",
    "diesel_runs_lean": "a diesel's air flow bounds its fuel from above only, unless its air-fuel ratio is known",
    "displacement_unknown": "speed-density needs the engine's swept volume in the profile",
    "coverage_too_low": "the signal covers less than nine tenths of the recorded time",
}

DRIVING_EVENTS = Table(
    layer="gold",
    name="driving_events",
    description="One manoeuvre: hard braking, hard acceleration or hard cornering, on the day that it began.",
    columns=(
        Column("event_id", "string", "128-bit hash of vehicle, kind, side and start, base32", required=True),
        VEHICLE_ID,
        Column("kind", "string", "What the driver did", required=True, accepted=EVENT_KINDS),
        Column(
            "started_at",
            "timestamp",
            "Middle of the first window over the lower limit, less half a reading",
            required=True,
            statistics=True,
        ),
        Column(
            "ended_at",
            "timestamp",
            "Middle of the last window over the lower limit, and half a reading",
            required=True,
            statistics=True,
        ),
        Column("event_date", "date", "UTC day of started_at", required=True, statistics=True),
        Column("duration_s", "double", "From started_at to ended_at", unit="s", required=True),
        Column(
            "peak_g",
            "double",
            "Strongest acceleration over 1 s: braking negative, cornering positive to the left",
            unit="g",
            required=True,
        ),
        Column("speed_kmh", "double", "Speed at the start; null where it was not measured", unit="km/h"),
        Column("source", "string", "Which signal went over its threshold", required=True, accepted=EVENT_SOURCES),
        Column("rate_hz", "double", "Readings per second of the signal that the peak is from", unit="1/s"),
        Column(
            "method",
            "string",
            "How the peak was found",
            required=True,
            accepted=("speed_difference_1s", "accelerometer_mean_1s"),
        ),
        Column(
            "confidence",
            "string",
            "high: two sources, or over the threshold for 1 s or more; low: in a single reading",
            required=True,
            accepted=("high", "medium", "low"),
        ),
        ALGO_VERSION,
    ),
    key=("event_id",),
    partition_by="event_date",
)

INCIDENTS = Table(
    layer="gold",
    name="incidents",
    description="One crash-like event with 30 s of telemetry on both sides, and a digest that shows a change.",
    columns=(
        Column("incident_id", "string", "128-bit hash of vehicle and start, base32", required=True),
        VEHICLE_ID,
        Column(
            "kind",
            "string",
            "impact: by accelerometer; speed_drop: a fall that no brake makes; hard_stop: at a brake's limit",
            required=True,
            accepted=INCIDENT_KINDS,
        ),
        Column("started_at", "timestamp", "First reading that gave it away", required=True, statistics=True),
        Column("ended_at", "timestamp", "Last such reading within 30 s", required=True, statistics=True),
        Column("event_date", "date", "UTC day of started_at", required=True, statistics=True),
        Column("peak_g", "double", "Largest acceleration without its sign", unit="g", required=True),
        Column(
            "source",
            "string",
            "Which signal gave it away",
            required=True,
            accepted=EVENT_SOURCES,
        ),
        Column("speed_before_kmh", "double", "Highest speed in the 5 s before", unit="km/h"),
        Column("speed_after_kmh", "double", "Lowest speed in the 5 s from the start on", unit="km/h"),
        Column(
            "confidence",
            "string",
            "high: both signals; medium: one, while moving; low: the accelerometer alone, at standstill",
            required=True,
            accepted=("high", "medium", "low"),
        ),
        Column("samples", "long", "Samples in telemetry", required=True),
        Column(
            "telemetry",
            "string",
            "The samples from 30 s before to 30 s after, all signals that were measured, as JSON",
            required=True,
        ),
        Column("telemetry_sha256", "string", "SHA-256 of telemetry in UTF-8, hexadecimal", required=True),
        ALGO_VERSION,
    ),
    key=("incident_id",),
    partition_by="event_date",
)

TRIP_FUEL = Table(
    layer="gold",
    name="trip_fuel",
    description="The fuel of one trip, by the best method that its signals allow, or why there is no figure.",
    columns=(
        Column("trip_id", "string", "The trip, as in gold.trips", required=True),
        VEHICLE_ID,
        Column("started_at", "timestamp", "Start of the trip", required=True, statistics=True),
        Column("event_date", "date", "UTC day of started_at", required=True, statistics=True),
        Column("fuel_type", "string", "What it runs on; null where it is not known"),
        Column(
            "fuel_type_source",
            "string",
            "Who says so",
            required=True,
            accepted=("pid", "profile", "none"),
        ),
        Column("method", "string", "How the fuel was found", required=True, accepted=FUEL_METHODS),
        Column("reason", "string", "Why there is no figure; null where there is", accepted=tuple(FUEL_REASONS)),
        Column("distance_km", "double", "Distance of the trip, as in gold.trips", unit="km"),
        Column("fuel_l", "double", "Fuel burnt in the recorded time", unit="L"),
        Column("fuel_low_l", "double", "Lower end of the interval", unit="L"),
        Column("fuel_high_l", "double", "Upper end of the interval", unit="L"),
        Column("fuel_l_per_100km", "double", "Consumption; null under 1 km", unit="L/100 km"),
        Column("fuel_low_l_per_100km", "double", "Lower end of the interval", unit="L/100 km"),
        Column("fuel_high_l_per_100km", "double", "Upper end of the interval", unit="L/100 km"),
        Column("co2_kg", "double", "Carbon dioxide from the fuel, what was grown into it included", unit="kg"),
        Column("cost", "double", "Fuel times the price of that time, in currency; null without a price"),
        Column("currency", "string", "Currency of the cost, ISO 4217"),
        Column("fuel_coverage_pct", "double", "Share of the recorded time that the signal covers", unit="%"),
        ALGO_VERSION,
    ),
    key=("trip_id",),
    partition_by="event_date",
)
