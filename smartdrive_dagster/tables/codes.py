"""Trouble codes in Gold: when each was there, and what it means."""

from smartdrive_dagster.tables.gold import ALGO_VERSION
from smartdrive_dagster.tables.silver import DTC_STATUSES, VEHICLE_ID
from smartdrive_dagster.tables.table import Column, Table

SEVERITIES = ("critical", "warning", "info")
TITLE_TIERS = ("own", "library", "imported", "structure")
SYSTEMS = ("powertrain", "chassis", "body", "network")
ORIGINS = ("generic", "manufacturer", "reserved")

DTC_EPISODES = Table(
    layer="gold",
    name="dtc_episodes",
    description="One stay of a trouble code in a vehicle: from the scan that first listed it to the one that no "
    "longer did, on the day that it opened.",
    columns=(
        Column("episode_id", "string", "128-bit hash of vehicle, code and opening, base32", required=True),
        VEHICLE_ID,
        Column("dtc_code", "string", "Trouble code, for example P0171", required=True, vss="Vehicle.OBD.DTCList"),
        Column("dtc_family", "string", "Its first three characters, for example P01", required=True),
        Column("system", "string", "Part of the car, by the letter", required=True, accepted=SYSTEMS),
        Column("origin", "string", "Who assigned the meaning", required=True, accepted=ORIGINS),
        Column("title", "string", "What the code means, from the first tier that knows it", required=True),
        Column("title_tier", "string", "Where the title comes from", required=True, accepted=TITLE_TIERS),
        Column("title_hu", "string", "Hungarian title; null where our own table has none"),
        Column("severity", "string", "How urgent it is; editorial", required=True, accepted=SEVERITIES),
        Column("severity_rule", "string", "Name of the rule that says so", required=True),
        Column("opened_at", "timestamp", "First scan that listed it", required=True, statistics=True),
        Column("event_date", "date", "UTC day of opened_at", required=True, statistics=True),
        Column("last_seen_at", "timestamp", "Last scan that listed it", required=True),
        Column("closed_at", "timestamp", "First scan that proved it gone; null while it is open"),
        Column("is_open", "boolean", "Whether no scan has proved it gone yet", required=True),
        Column("status", "string", "How far it came", required=True, accepted=DTC_STATUSES),
        Column("first_pending_at", "timestamp", "First scan that listed it as pending"),
        Column("first_stored_at", "timestamp", "First scan that listed it as stored"),
        Column("first_permanent_at", "timestamp", "First scan that listed it as permanent"),
        Column("occurrence", "long", "Which stay of this code in this vehicle it is, from 1", required=True),
        Column("scans", "long", "Scans that listed it", required=True),
        Column(
            "has_mil",
            "boolean",
            "Whether the engine lamp was on at any time while it was seen; the lamp is the vehicle's, not the "
            "code's. Null where nothing told",
        ),
        ALGO_VERSION,
    ),
    key=("episode_id",),
    partition_by="event_date",
)
