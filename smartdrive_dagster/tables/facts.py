"""Facts from outside: corrections of trips, profiles of vehicles, weather; and the vehicles themselves."""

from smartdrive_dagster.tables.bronze import LANDING_DATE, LINE_NO, OBJECT_KEY
from smartdrive_dagster.tables.silver import CONTENT_DIGEST, MESSAGE_ID, RECEIVED_AT, VEHICLE_ID
from smartdrive_dagster.tables.table import Column, Table

CORRECTION_KINDS = ("merge", "split", "label")
FUEL_TYPES = ("petrol", "diesel", "e10", "e85", "lpg", "cng", "hybrid", "electric")
BATTERY_TYPES = ("flooded", "efb", "agm", "gel", "lifepo4")

_PROVENANCE = (OBJECT_KEY, LINE_NO, LANDING_DATE, RECEIVED_AT)
_PROVENANCE_NAMES = tuple(column.name for column in _PROVENANCE)

# Copies of a fact have the same instant: by its statistics the files are found in which one could be.
_SET_AT = Column(
    "set_at", "timestamp", "When its author said so; the latest word wins", required=True, statistics=True
)

# What an owner says of a vehicle. A null says nothing, so the last word on each column stands.
_PROFILE = (
    Column("name", "string", "What the owner calls the vehicle"),
    Column("fuel_type", "string", "What the vehicle runs on", accepted=FUEL_TYPES),
    Column("displacement_l", "double", "Swept volume of the engine", unit="L"),
    Column("battery_type", "string", "Construction of the starter battery", accepted=BATTERY_TYPES),
    Column("battery_capacity_ah", "double", "Rated capacity of the starter battery", unit="Ah"),
    Column("fuel_price_per_l", "double", "Price of a litre of fuel from set_at on"),
    Column("currency", "string", "Currency of the price, ISO 4217"),
    Column("time_zone", "string", "IANA name of the zone in which the vehicle is at home"),
)
PROFILE_COLUMNS = tuple(column.name for column in _PROFILE)

CORRECTIONS = Table(
    layer="silver",
    name="corrections",
    description="One word of an owner about trips: a merge, a split or a label, by vehicle and interval.",
    columns=(
        VEHICLE_ID,
        Column("kind", "string", "What is corrected", required=True, accepted=CORRECTION_KINDS),
        Column("from_at", "timestamp", "Beginning of the interval; of a split, its instant", required=True),
        Column("to_at", "timestamp", "End of the interval; of a split, its instant", required=True),
        Column("label", "string", "The label; empty to take one back, null for a merge or a split"),
        _SET_AT,
        MESSAGE_ID,
        CONTENT_DIGEST,
        *_PROVENANCE,
    ),
    key=("message_id",),
    partition_by="landing_date",
    provenance=_PROVENANCE_NAMES,
)

PROFILES = Table(
    layer="silver",
    name="profiles",
    description="One word of an owner about a vehicle; what it leaves out stays as it was.",
    columns=(VEHICLE_ID, _SET_AT, *_PROFILE, MESSAGE_ID, CONTENT_DIGEST, *_PROVENANCE),
    key=("message_id",),
    partition_by="landing_date",
    provenance=_PROVENANCE_NAMES,
)

WEATHER = Table(
    layer="silver",
    name="weather",
    description="One hour of a word about the weather around a vehicle, of the past or forecast.",
    columns=(
        VEHICLE_ID,
        Column("forecast_at", "timestamp", "When its source said so", required=True, statistics=True),
        Column("valid_at", "timestamp", "Begin of the hour", required=True, statistics=True),
        Column("temperature_c", "double", "Air temperature 2 m above ground; null where none is known", unit="°C"),
        Column("latitude_deg", "double", "Latitude asked for, to 0.1°; null where it was not said", unit="°"),
        Column("longitude_deg", "double", "Longitude asked for, to 0.1°; null where it was not said", unit="°"),
        Column("source", "string", "Who says so", required=True),
        MESSAGE_ID,
        Column("sample", "integer", "Position of the hour in its fact, from 0", required=True),
        CONTENT_DIGEST,
        *_PROVENANCE,
    ),
    key=("message_id", "sample"),
    partition_by="landing_date",
    provenance=_PROVENANCE_NAMES,
)

CHANNEL_OF = {CORRECTIONS: "corrections", PROFILES: "profiles", WEATHER: "weather"}
"""The landing channel of each table of facts."""

VEHICLES = Table(
    layer="silver",
    name="vehicles",
    description="One vehicle: what its VIN tells without naming it, and its profile. The VIN itself is not here.",
    columns=(
        VEHICLE_ID,
        Column("make", "string", "Make by the VIN's world manufacturer identifier; null where it is not known"),
        Column("region", "string", "Where the manufacturer is registered, by the VIN's first character"),
        Column(
            "model_year",
            "integer",
            "Model year by the VIN's tenth character; null where the manufacturer need not put it there",
        ),
        Column("first_event_date", "date", "UTC day of its first sample; null where only its profile is known"),
        *_PROFILE,
    ),
    key=("vehicle_id",),
    partition_by=None,
)
