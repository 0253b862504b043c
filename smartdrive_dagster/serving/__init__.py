"""HOW Gold and the marts reach the database of the REST API: whole days, each with a mark of what it holds."""

from typing import Final

from smartdrive_dagster.tables import Table, alerts, battery, codes, driving, gold

# Of Gold; and of the marts, which are declared in SQL and so known by name only.
GOLD: Final[tuple[Table, ...]] = (
    gold.TRIPS,
    driving.TRIP_FUEL,
    battery.BATTERY_HEALTH,
    battery.WINTER_RISK,
    battery.DRAIN_EPISODES,
    codes.DTC_EPISODES,
    alerts.ALERTS,
)
MARTS: Final = ("vehicle_daily", "fuel_economy", "driver_scores", "battery_trend", "fleet_overview")
