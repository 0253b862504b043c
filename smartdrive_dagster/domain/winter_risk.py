"""Winter risk: a night of frost is forecast, and the battery is weak or low. Known a day ahead.

For each forecast day only what was known before it began is used: a forecast issued in the 48 h before, and the
battery as it was until the evening before. So a row does not change when the day has come. There are rows of those
days of which somebody said the weather, and of no others: so they depend neither on when they were computed nor on
how far.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import polars as pl

from smartdrive_dagster.domain import battery_lines as lines
from smartdrive_dagster.domain.battery_health import is_there, tenths
from smartdrive_dagster.tables import Days, battery

ALGO_VERSION: Final = "1"

FROST_C: Final = 0.0
WEAK_SOH_PCT: Final = 85.0
LOW_SOC_PCT: Final = 60.0
FORECAST_HOURS: Final = 48
HEALTH_DAYS: Final = 180
CHARGE_DAYS: Final = 7
SEEN_DAYS: Final = 30
"""A vehicle of which nothing was heard for so long has no rows."""

_DAYS: Final = ("vehicle_id", "event_date")
_AT_RISK: Final = pl.col("is_at_risk")


def assess_winter_risk(
    battery_health: pl.LazyFrame, parked_days: pl.LazyFrame, weather: pl.LazyFrame, *, days: Days
) -> pl.LazyFrame:
    """Judge some forecast days of some vehicles.

    Args:
        battery_health: rows of gold.BATTERY_HEALTH of these vehicles from `HEALTH_DAYS` before `days` on, or more.
        parked_days: rows of gold.PARKED_DAYS of these vehicles from `SEEN_DAYS` before `days` on, or more: a car
            that stands for a week loses charge which no start shows.
        weather: rows of silver.weather of these vehicles, of the hours of `days` or more.
        days: forecast days that are wanted.

    Returns:
        Rows of gold.WINTER_RISK with ``event_date`` in `days`, by vehicle and day: one for each vehicle and day of
        which silver.weather has an hour, if the vehicle was heard of in the `SEEN_DAYS` before.
    """
    hours = weather.with_columns(event_date=pl.col("valid_at").dt.date()).filter(
        pl.col("event_date").is_between(days.first, days.last)
    )
    states = _wanted(battery_health, parked_days, hours)
    for known in (_health(battery_health), _place(battery_health)):
        states = _as_of(states, known, within_days=HEALTH_DAYS)
    states = _as_of(states, _charge(battery_health, parked_days), within_days=CHARGE_DAYS)
    return _rows(_with_forecast(states, hours))


def last_places(battery_health: pl.LazyFrame, parked_days: pl.LazyFrame, *, today: date) -> pl.LazyFrame:
    """Where vehicles that were heard of lately stand, as `assess_winter_risk` will take it for tomorrow.

    Args:
        battery_health: rows of gold.BATTERY_HEALTH.
        parked_days: rows of gold.PARKED_DAYS.
        today: the day.

    Returns:
        vehicle_id, latitude_deg and longitude_deg, to 0.1°; null where no place is known.
    """
    tomorrow = pl.LazyFrame({"event_date": [today + timedelta(1)]}, schema={"event_date": pl.Date()})
    heard = pl.concat([frame.select("vehicle_id") for frame in (battery_health, parked_days)]).unique()
    states = _wanted(battery_health, parked_days, heard.join(tomorrow, how="cross"))
    # In whole tenths there is one float for a place, whatever it was computed from.
    degrees = {
        f"{name}_deg": pl.col(short) / pl.lit(10.0) for name, short in (("latitude", "lat"), ("longitude", "lon"))
    }
    return _as_of(states, _place(battery_health), within_days=HEALTH_DAYS).select("vehicle_id", **degrees)


def _wanted(battery_health: pl.LazyFrame, parked_days: pl.LazyFrame, hours: pl.LazyFrame) -> pl.LazyFrame:
    """Vehicles and days with weather: those that follow a day with news of the vehicle within `SEEN_DAYS`."""
    heard = pl.concat([frame.select(*_DAYS) for frame in (battery_health, parked_days)]).unique()
    grid = hours.select(*_DAYS).unique()
    known = heard.with_columns(heard_date="event_date")
    return _as_of(grid, known, within_days=SEEN_DAYS).filter(pl.col("heard_date").is_not_null()).drop("heard_date")


def _as_of(states: pl.LazyFrame, known: pl.LazyFrame, *, within_days: int) -> pl.LazyFrame:
    """Add the vehicle's last known values of a day before, at most so many days before."""
    return states.sort(*_DAYS).join_asof(
        known.sort(*_DAYS),
        on="event_date",
        by="vehicle_id",
        strategy="backward",
        tolerance=f"{within_days}d",
        allow_exact_matches=False,
        check_sortedness=False,  # both are sorted by vehicle and day
    )


def _health(battery_health: pl.LazyFrame) -> pl.LazyFrame:
    return battery_health.filter(pl.col("soh_pct").is_not_null()).select(
        *_DAYS, "soh_pct", "soh_low_pct", "soh_high_pct", soh_date="event_date"
    )


def _place(battery_health: pl.LazyFrame) -> pl.LazyFrame:
    return battery_health.filter(pl.col("place_latitude_deg").is_not_null()).select(
        *_DAYS, lat=tenths("place_latitude_deg"), lon=tenths("place_longitude_deg")
    )


def _charge(battery_health: pl.LazyFrame, parked_days: pl.LazyFrame) -> pl.LazyFrame:
    """State of charge per day; of a start and a parked day on one date the lower counts."""
    of_starts = battery_health.select(*_DAYS, "soc_pct", soc_method=pl.lit("crank"))
    settled = pl.col("resting_voltage_v")
    usable = pl.when(settled < lines.SURFACE_CHARGE_V).then(settled)
    of_parking = parked_days.select(*_DAYS, soc_pct=lines.soc_pct(usable), soc_method=pl.lit("parked"))
    return (
        pl.concat([of_starts, of_parking])
        .filter(pl.col("soc_pct").is_not_null())
        .group_by(*_DAYS)
        .agg(pl.col("soc_pct", "soc_method").sort_by("soc_pct", "soc_method").first())
        .with_columns(soc_date="event_date")
    )


def _with_forecast(states: pl.LazyFrame, hours: pl.LazyFrame) -> pl.LazyFrame:
    """Add the day's lowest temperature by the last forecast for the vehicle's place issued before it began."""
    begins = pl.col("event_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    age = begins - pl.col("forecast_at")
    is_last = pl.col("forecast_at") == pl.col("forecast_at").max()
    daily = (
        hours.filter(pl.col("temperature_c").is_finite())
        .filter((age >= pl.duration(seconds=0)) & (age <= pl.duration(hours=FORECAST_HOURS)))
        .select(
            *_DAYS,
            *("forecast_at", "valid_at", "temperature_c"),
            weather_lat=tenths("latitude_deg"),
            weather_lon=tenths("longitude_deg"),
        )
        .join(states.select(*_DAYS, "lat", "lon"), on=_DAYS)
        .filter(is_there("lat", "lon"))
        .group_by(*_DAYS)
        .agg(
            pl.col("forecast_at").max(),
            forecast_min_c=pl.col("temperature_c").filter(is_last).min(),
            forecast_hours=pl.col("valid_at").filter(is_last).n_unique().cast(pl.Int64),
        )
    )
    return states.join(daily, on=_DAYS, how="left")


def _rows(states: pl.LazyFrame) -> pl.LazyFrame:
    """Judge, name and order the columns as gold.WINTER_RISK has them."""
    is_frost = pl.col("forecast_min_c") < FROST_C
    is_weak = (pl.col("soh_pct") < WEAK_SOH_PCT) | (pl.col("soc_pct") < LOW_SOC_PCT)
    has_all = pl.col("soh_pct").is_not_null() & pl.col("soc_pct").is_not_null()
    has_none = pl.col("soh_pct").is_null() & pl.col("soc_pct").is_null()
    has_forecast = pl.col("forecast_min_c").is_not_null()
    # Kleene's logic: no frost is no risk whatever the battery; one weak part is a risk whatever the other.
    judged = states.with_columns(is_at_risk=pl.when(has_forecast).then(is_frost & is_weak))
    columns = {
        "forecast_hours": pl.col("forecast_hours").fill_null(0),
        "soc_method": pl.col("soc_method").fill_null("none"),
        "method": pl.when(_AT_RISK.is_null())
        .then(pl.lit("none"))
        .when(is_frost)
        .then(pl.lit("forecast_and_battery"))
        .otherwise(pl.lit("forecast")),
        "confidence": pl.when(_AT_RISK.is_null())
        .then(pl.lit("none"))
        .when(pl.col("forecast_hours") < _HOURS_OF_A_DAY)
        .then(pl.lit("low"))
        .when(has_all)
        .then(pl.lit("high"))
        .otherwise(pl.lit("medium")),
        "inconclusive_reason": pl.when(~has_forecast)
        .then(pl.lit("no_forecast"))
        .when(is_frost & has_none)
        .then(pl.lit("no_battery_state"))
        .when(is_frost & ~has_all)
        .then(pl.lit("battery_state_incomplete")),
        "algo_version": pl.lit(ALGO_VERSION),
    }
    return judged.sort(*_DAYS).with_columns(**columns).select(*battery.WINTER_RISK.by_name)


_HOURS_OF_A_DAY: Final = 24
