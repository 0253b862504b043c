"""WHAT exists: one frozen `Table` per Delta table, and nothing that moves bytes.

Schemas, comments, batch checks, the catalogue in the docs and Dagster's column schemas all come from here.
This package imports neither polars nor deltalake nor dagster, so that a code location loads quickly.
"""

from smartdrive_dagster.tables import alerts, battery, bronze, codes, driving, facts, gold, silver
from smartdrive_dagster.tables.days import Days, ranges
from smartdrive_dagster.tables.table import LAYERS, Column, Table

ALL: tuple[Table, ...] = (
    bronze.MESSAGES,
    bronze.OBJECTS,
    silver.TELEMETRY,
    silver.EVENTS,
    silver.DTC_READINGS,
    facts.CORRECTIONS,
    facts.PROFILES,
    facts.WEATHER,
    facts.VEHICLES,
    silver.QUARANTINE,
    silver.MESSAGES,
    gold.TRIPS,
    driving.DRIVING_EVENTS,
    driving.INCIDENTS,
    driving.TRIP_FUEL,
    battery.CRANKS,
    battery.PARKED_DAYS,
    battery.BATTERY_HEALTH,
    battery.WINTER_RISK,
    battery.DRAIN_EPISODES,
    codes.DTC_EPISODES,
    alerts.ALERTS,
)

__all__ = [
    "ALL",
    "LAYERS",
    "Column",
    "Days",
    "Table",
    "alerts",
    "battery",
    "bronze",
    "codes",
    "driving",
    "facts",
    "gold",
    "ranges",
    "silver",
]
