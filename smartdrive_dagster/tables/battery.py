"""Gold's battery tables: starts, parked days, and what they say about the 12 V battery.

`gold.cranks` and `gold.parked_days` are window tables, computed from Silver day by day. The other three are
history tables: small functions of these two, of events, of weather and of profiles.
"""

from typing import Final

from smartdrive_dagster.tables.gold import ALGO_VERSION
from smartdrive_dagster.tables.silver import EVENT_DATE, VEHICLE_ID
from smartdrive_dagster.tables.table import Column, Table

_VOLTAGE: Final = "Vehicle.LowVoltageBattery.CurrentVoltage"

CONFIDENCES: Final = ("high", "medium", "low", "none")
OFF_METHODS: Final = ("observed", "assumed", "none")
STATUSES: Final = ("ok", "warning", "critical", "unknown")
CRANK_REASONS: Final = ("no_voltage", "no_dip", "too_few_samples")
HEALTH_REASONS: Final = (
    *CRANK_REASONS,
    "not_rested",
    "no_resting_voltage",
    "surface_charge",
    "low_charge",
    "no_temperature",
)
SOH_REASONS: Final = ("no_conclusive_crank", "baseline_incomplete", "baseline_too_low")
PARKED_REASONS: Final = ("too_short", "too_few_readings")
RISK_REASONS: Final = ("no_forecast", "no_battery_state", "battery_state_incomplete")

_PLACE: Final = (
    Column(
        "place_latitude_deg",
        "double",
        "Latitude of the last known position, rounded to 0.1°",
        unit="°",
        vss="Vehicle.CurrentLocation.Latitude",
    ),
    Column(
        "place_longitude_deg",
        "double",
        "Longitude of the last known position, rounded to 0.1°",
        unit="°",
        vss="Vehicle.CurrentLocation.Longitude",
    ),
)
_ID: Final = "128-bit hash of vehicle and start, base32"


def _volts(name: str, description: str) -> Column:
    return Column(name, "double", description, unit="V", vss=_VOLTAGE)


def _temperature(name: str, what: str, vss: str, pid: str) -> Column:
    description = f"First {what} reading from 1 min before to 5 min after"
    return Column(name, "double", description, unit="°C", vss=vss, pid=f"01 {pid}")


CRANKS = Table(
    layer="gold",
    name="cranks",
    description="One engine start: the voltage before, during and after it, and why a plateau is missing.",
    columns=(
        Column("crank_id", "string", _ID, required=True),
        VEHICLE_ID,
        Column(
            "started_at",
            "timestamp",
            "First reading of the dip, or first engine speed above 0 where no dip was seen",
            required=True,
            statistics=True,
        ),
        Column("event_date", "date", "UTC day of started_at", required=True, statistics=True),
        Column(
            "method",
            "string",
            "What showed the start",
            required=True,
            accepted=("voltage_dip", "engine_speed_rise"),
        ),
        Column(
            "confirmed_by",
            "string",
            "What showed that it was a start and no other load",
            required=True,
            accepted=("engine_speed", "charging"),
        ),
        Column(
            "voltage_source",
            "string",
            "Whose voltmeter the readings are from",
            required=True,
            accepted=("adapter", "control_module", "none"),
        ),
        _volts("resting_voltage_v", "Voltage of the rested battery before the start"),
        Column(
            "resting_method",
            "string",
            "Parked: median of readings with the ignition off, at most 60 min old; before_start: median of the "
            "last 2 s, with the ignition's load",
            required=True,
            accepted=("parked", "before_start", "none"),
        ),
        Column("off_s", "double", "Since the engine was last seen running; null if not within 24 h", unit="s"),
        Column(
            "off_method",
            "string",
            "Observed: parked readings cover the last 30 min; assumed: nothing was recorded then; none: the "
            "engine ran within them",
            required=True,
            accepted=OFF_METHODS,
        ),
        _volts("voltage_before_v", "Median of the 2 s before the dip"),
        _volts("inrush_min_v", "Lowest reading of the dip's first 100 ms, an upper bound of the true minimum"),
        _volts("plateau_v", "Mean of the 500 ms after the first 100 ms, while the starter pulls"),
        _volts("plateau_low_v", "Lower end of the plateau's 95 % interval"),
        _volts("plateau_high_v", "Upper end of the plateau's 95 % interval"),
        Column("inrush_samples", "long", "Readings in the first 100 ms", required=True),
        Column("plateau_samples", "long", "Readings that the plateau averages or would average", required=True),
        Column("sampling_rate_hz", "double", "Readings per second around the dip", unit="Hz", required=True),
        Column("duration_s", "double", "From the dip until a reading is back within 0.3 V", unit="s"),
        _volts(
            "recovery_voltage_v", "Median of the readings from 1 s after the dip's end, within 15 s of its start"
        ),
        Column("engine_speed_rise_rpm", "double", "Highest engine speed of the 15 s after the start", unit="rpm"),
        Column(
            "engine_started_after_s", "double", "From the start to the first engine speed of 600 rpm", unit="s"
        ),
        _temperature("ambient_air_temp_c", "ambient", "Vehicle.Exterior.AirTemperature", "46"),
        _temperature("intake_temp_c", "intake air", "Vehicle.OBD.IntakeTemp", "0F"),
        _temperature(
            "coolant_temp_c", "coolant", "Vehicle.Powertrain.CombustionEngine.EngineCoolant.Temperature", "05"
        ),
        Column(
            "fuel_type_code",
            "double",
            "Fuel type as SAE J1979 codes it, first reading within 30 min",
            vss="Vehicle.OBD.FuelType",
            pid="01 51",
        ),
        *_PLACE,
        Column(
            "quality",
            "string",
            "Good: 10 readings or more in the plateau; fair: 5 or more; poor: no plateau",
            required=True,
            accepted=("good", "fair", "poor"),
        ),
        Column(
            "inconclusive_reason",
            "string",
            "Why there is no plateau; null where there is one",
            accepted=CRANK_REASONS,
        ),
        ALGO_VERSION,
    ),
    key=("crank_id",),
    partition_by="event_date",
)

PARKED_DAYS = Table(
    layer="gold",
    name="parked_days",
    description="One vehicle and UTC day on which it stood: resting voltage, and its slope with an interval.",
    columns=(
        VEHICLE_ID,
        Column("event_date", "date", "UTC day of the readings", required=True, statistics=True),
        Column("readings", "long", "Parked voltage readings of the day", required=True),
        _volts("min_voltage_v", "Lowest parked reading of the day"),
        Column(
            "flat_readings", "long", "Readings of at most 11.5 V, 30 min or more after the engine", required=True
        ),
        Column("flat_since", "timestamp", "The first of these", statistics=True),
        Column("last_reading_at", "timestamp", "Last parked reading of the day", required=True, statistics=True),
        _volts("resting_voltage_v", "Median of the day's last 6 h that lie 6 h or more after the engine"),
        Column("rested_s", "double", "Length of the rest that the slope is fitted to", unit="s", required=True),
        Column(
            "slope_v_per_day", "double", "Theil-Sen slope of the rest up to this day, at most 7 days", unit="V/d"
        ),
        Column("slope_low_v_per_day", "double", "Lower end of the slope's 99 % interval", unit="V/d"),
        Column("slope_high_v_per_day", "double", "Upper end of the slope's 99 % interval", unit="V/d"),
        Column("slope_points", "long", "Means of 2 h that the slope is fitted to", required=True),
        Column("method", "string", "How the slope was found", required=True, accepted=("theil_sen", "none")),
        Column("inconclusive_reason", "string", "Why there is no slope", accepted=PARKED_REASONS),
        ALGO_VERSION,
    ),
    key=("vehicle_id", "event_date"),
    partition_by="event_date",
)

BATTERY_HEALTH = Table(
    layer="gold",
    name="battery_health",
    description="One vehicle and UTC day with a start: charge, health and status of its 12 V battery.",
    columns=(
        VEHICLE_ID,
        Column("event_date", "date", "UTC day of the starts", required=True, statistics=True),
        Column("cranks", "long", "Starts of the day", required=True),
        Column("conclusive_cranks", "long", "Those that say something about the battery", required=True),
        Column("failing_cranks", "long", "Conclusive ones with a plateau under the failing line", required=True),
        _volts("resting_voltage_v", "Resting voltage that the charge is taken from"),
        Column(
            "soc_pct",
            "double",
            "State of charge at the day's last start with a resting voltage",
            unit="%",
            vss="Vehicle.LowVoltageBattery.StateOfCharge",
        ),
        Column("soc_low_pct", "double", "Lower end of its 95 % interval", unit="%"),
        Column("soc_high_pct", "double", "Upper end of its 95 % interval", unit="%"),
        Column(
            "soc_method",
            "string",
            "Linear in the resting voltage, which was read in an observed or an assumed rest",
            required=True,
            accepted=OFF_METHODS,
        ),
        _volts("plateau_v", "Plateau of the day's last conclusive start"),
        Column("temperature_c", "double", "Temperature at that start", unit="°C"),
        Column(
            "temperature_method",
            "string",
            "Where that temperature is from",
            required=True,
            accepted=("ambient", "intake", "weather", "none"),
        ),
        _volts("plateau_25c_v", "The plateau compensated to 25 °C"),
        _volts("failing_below_v", "The failing line at that temperature"),
        _volts("baseline_v", "Median of the vehicle's first ten conclusive compensated plateaus, then frozen"),
        Column("baseline_cranks", "long", "Conclusive starts in the baseline so far, at most 10", required=True),
        Column(
            "soh_pct",
            "double",
            "State of health: the compensated plateau between the replace line (0) and the baseline (100)",
            unit="%",
            vss="Vehicle.LowVoltageBattery.StateOfHealth",
        ),
        Column("soh_low_pct", "double", "Lower end of its 95 % interval", unit="%"),
        Column("soh_high_pct", "double", "Upper end of its 95 % interval", unit="%"),
        Column("soh_reason", "string", "Why there is no state of health", accepted=SOH_REASONS),
        Column(
            "consecutive_failing_cycles",
            "long",
            "Conclusive driving cycles in a row, up to the day's end, that failed",
            required=True,
        ),
        Column(
            "status",
            "string",
            "Verdict at the day's end; unknown where the vehicle has no conclusive start yet",
            required=True,
            accepted=STATUSES,
        ),
        Column("is_replace_advised", "boolean", "Whether a plateau of the day lay under the replace line"),
        Column(
            "fuel_type",
            "string",
            "What the limit of the state of health depends on",
            required=True,
            accepted=("diesel", "other", "unknown"),
        ),
        Column(
            "fuel_type_method",
            "string",
            "Where the fuel type is from",
            required=True,
            accepted=("profile", "pid_51", "none"),
        ),
        Column(
            "method",
            "string",
            "Plateau: judged by the day's own conclusive starts; carried: the day has none, the status is the "
            "last one's; none: nothing is known yet",
            required=True,
            accepted=("plateau", "carried", "none"),
        ),
        Column(
            "confidence",
            "string",
            "High: observed rest, ambient temperature, interval of at most 20 points; medium: a conclusive start; "
            "low: carried; none",
            required=True,
            accepted=CONFIDENCES,
        ),
        Column(
            "inconclusive_reason",
            "string",
            "Why the day's last start says nothing, where no start of the day is conclusive",
            accepted=HEALTH_REASONS,
        ),
        *_PLACE,
        ALGO_VERSION,
    ),
    key=("vehicle_id", "event_date"),
    partition_by="event_date",
)

DRAIN_EPISODES = Table(
    layer="gold",
    name="drain_episodes",
    description="A time in which a parked vehicle lost charge too fast or was flat, on the day it was first seen.",
    columns=(
        Column("drain_episode_id", "string", _ID, required=True),
        VEHICLE_ID,
        Column("opened_at", "timestamp", "First sign of it", required=True, statistics=True),
        Column("event_date", "date", "UTC day of opened_at", required=True, statistics=True),
        Column("last_seen_at", "timestamp", "Last sign of it", required=True, statistics=True),
        Column("closed_at", "timestamp", "End of the first day after it without a sign; null while it is open"),
        Column("is_open", "boolean", "Whether nothing is known that ended it", required=True),
        Column(
            "method",
            "string",
            "What showed it",
            required=True,
            accepted=("event", "flat_readings", "slope", "slope_and_flat"),
        ),
        _volts("min_voltage_v", "Lowest voltage of the episode"),
        Column("slope_v_per_day", "double", "Steepest slope of its days", unit="V/d"),
        Column("slope_low_v_per_day", "double", "Lower end of that slope's 99 % interval", unit="V/d"),
        Column("slope_high_v_per_day", "double", "Upper end of that slope's 99 % interval", unit="V/d"),
        Column("days", "long", "UTC days with a sign of it", required=True),
        Column(
            "severity",
            "string",
            "Critical where the battery was flat, at most 11.5 V; else warning",
            required=True,
            accepted=("warning", "critical"),
        ),
        Column("confidence", "string", "How sure the cause is a drain", required=True, accepted=CONFIDENCES),
        Column(
            "inconclusive_reason",
            "string",
            "Why the episode has no slope",
            accepted=("no_slope", *PARKED_REASONS),
        ),
        ALGO_VERSION,
    ),
    key=("drain_episode_id",),
    partition_by="event_date",
)

WINTER_RISK = Table(
    layer="gold",
    name="winter_risk",
    description="One vehicle and day of which a forecast came: whether there is frost and the battery is weak.",
    columns=(
        VEHICLE_ID,
        Column("event_date", "date", "UTC day that is forecast", required=True, statistics=True),
        Column("is_at_risk", "boolean", "Frost and a weak battery; null where that cannot be said"),
        Column("forecast_min_c", "double", "Lowest forecast temperature of the day", unit="°C"),
        Column("forecast_at", "timestamp", "When the forecast was issued; before the day began", statistics=True),
        Column("forecast_hours", "long", "Hours of the day that it covers", required=True),
        Column("soh_pct", "double", "Last known state of health before the day", unit="%"),
        Column("soh_low_pct", "double", "Lower end of its 95 % interval", unit="%"),
        Column("soh_high_pct", "double", "Upper end of its 95 % interval", unit="%"),
        Column("soh_date", "date", "Day it is of", statistics=True),
        Column("soc_pct", "double", "Last known state of charge before the day", unit="%"),
        Column("soc_date", "date", "Day it is of", statistics=True),
        Column(
            "soc_method",
            "string",
            "Where the charge is from",
            required=True,
            accepted=("crank", "parked", "none"),
        ),
        Column(
            "method",
            "string",
            "What the verdict used",
            required=True,
            accepted=("forecast_and_battery", "forecast", "none"),
        ),
        Column("confidence", "string", "How much of it was known", required=True, accepted=CONFIDENCES),
        Column(
            "inconclusive_reason",
            "string",
            "Why there is no verdict, or why it rests on a part only",
            accepted=RISK_REASONS,
        ),
        ALGO_VERSION,
    ),
    key=("vehicle_id", "event_date"),
    partition_by="event_date",
)

ALL: Final = (CRANKS, PARKED_DAYS, BATTERY_HEALTH, DRAIN_EPISODES, WINTER_RISK)

__all__ = ["ALL", "BATTERY_HEALTH", "CRANKS", "DRAIN_EPISODES", "EVENT_DATE", "PARKED_DAYS", "WINTER_RISK"]
