"""Parked days: how a resting battery's voltage goes, day by day, with the interval of its slope.

The slope is Theil and Sen's: the median over all pairs of points, which some wild points do not move. Points are
means of 3 h, because an adapter prints tenths of a volt and only means resolve less. A day's row is a function
of Silver in that day and the `HALO_DAYS` before it.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from smartdrive_dagster.domain.cranks import REST_US, running_instants, samples_of
from smartdrive_dagster.domain.surroundings import DAY_US, MINUTE_US, held, last_known
from smartdrive_dagster.domain.voltage_dips import voltage_series, volts
from smartdrive_dagster.tables import Days, battery

ALGO_VERSION: Final = "1"

HALO_DAYS: Final = 7
"""Days of Silver that a day's rest may reach back."""

FLAT_V: Final = 11.5
SETTLED_US: Final = 360 * MINUTE_US
"""How long surface charge is given to fade before a voltage counts for the slope."""

POINT_US: Final = 180 * MINUTE_US
MIN_POINTS: Final = 6

_Z99: Final = 2.576
_RESTING_US: Final = 360 * MINUTE_US
_AT: Final = pl.col("at_us")
_KEY: Final = ("vehicle_id", "day")


def summarise_parked_days(telemetry: pl.LazyFrame, *, days: Days) -> pl.LazyFrame:
    """Sum up the parked readings of some days.

    Args:
        telemetry: rows of silver.telemetry in `days` widened by `HALO_DAYS`, in any order; more days do no harm.
        days: UTC event days that are wanted.

    Returns:
        Rows of gold.PARKED_DAYS, one per vehicle and day with a parked voltage reading, by vehicle and day.
    """
    samples = samples_of(telemetry)
    readings = held(_parked_readings(samples))
    first, last = (pl.lit(day).cast(pl.Datetime("us")).dt.epoch("us") // DAY_US for day in (days.first, days.last))
    wanted = held(_daily(readings.filter((_AT // DAY_US).is_between(first, last))))
    resting = _of_rest(readings, wanted)
    settled = resting.group_by(*_KEY).agg(
        resting_uv=pl.col("uv").filter(pl.col("last_us") - _RESTING_US < _AT).median()
    )
    points = resting.group_by(*_KEY, point=_AT // POINT_US).agg(uv=pl.col("uv").sum() // pl.len().cast(pl.Int64))
    slopes = _slopes(held(points))
    return _rows(wanted.join(settled, on=_KEY, how="left").join(slopes, on=_KEY, how="left"))


def _parked_readings(samples: pl.LazyFrame) -> pl.LazyFrame:
    """Adapter readings of parked cars, with the last instant before that showed a running engine.

    Only the adapter's: a sleeping control unit tells nothing.
    """
    parked = (
        voltage_series(samples)
        .filter(pl.col("is_parked") & (pl.col("voltage_source") == "adapter"))
        .group_by("vehicle_id", "at_us")
        .agg(uv=(pl.col("uv").min() + pl.col("uv").max()) // 2)
        .with_columns(mark_us="at_us")
    )
    ran = running_instants(samples)
    return last_known(parked, ran, until_us=0, within_us=HALO_DAYS * DAY_US, names=["ran_us"]).drop("mark_us")


def _daily(readings: pl.LazyFrame) -> pl.LazyFrame:
    """Counts and extremes of each vehicle's day, and where the rest that reaches its last reading began."""
    is_rested = pl.col("ran_us").is_null() | (pl.col("ran_us") + REST_US <= _AT)
    is_flat = is_rested & (pl.col("uv") <= round(FLAT_V * 1e6))
    return (
        readings.group_by("vehicle_id", day=_AT // DAY_US)
        .agg(
            readings=pl.len().cast(pl.Int64),
            min_uv=pl.col("uv").min(),
            flat_readings=is_flat.sum().cast(pl.Int64),
            flat_us=_AT.filter(is_flat).min(),
            last_us=_AT.max(),
            ran_us=pl.col("ran_us").filter(_AT.max() == _AT).max(),
        )
        # A rest that began earlier is looked at from the window's begin on.
        .with_columns(began_us=pl.max_horizontal("ran_us", (pl.col("day") + 1 - HALO_DAYS) * DAY_US))
    )


def _of_rest(readings: pl.LazyFrame, wanted: pl.LazyFrame) -> pl.LazyFrame:
    """Each day's readings of the rest that reaches its last one, from 6 h after the engine on."""
    ahead = pl.int_ranges(0, HALO_DAYS)
    return (
        readings.select("vehicle_id", "at_us", "uv", day=(_AT // DAY_US) + ahead)
        .explode("day")
        .join(wanted.select(*_KEY, "began_us", "last_us"), on=_KEY, how="inner")
        .filter(pl.col("began_us") + SETTLED_US <= _AT)
    )


def _slopes(points: pl.LazyFrame) -> pl.LazyFrame:
    """Theil-Sen slope of each day's points with Sen's interval from the ranks of the slopes, µV per point.

    The interval takes the points for independent. The day's warm and cold hours are not, which is why it is one of
    99 %, and why nothing but `drain_episodes` with its margin decides on it.
    """
    later = points.select(*_KEY, later="point", later_uv="uv")
    n = pl.col("points")
    half = _Z99 * (n * (n - 1) * (2 * n + 5) / 18).sqrt()
    pairs = pl.col("slopes").list.len()
    low = (((pairs - half) * 0.5).floor().cast(pl.Int64) - 1).clip(lower_bound=0)
    counted = points.group_by(*_KEY).agg(points=pl.len().cast(pl.Int64))
    return (
        points.join(later, on=_KEY, how="inner")
        .filter(pl.col("later") > pl.col("point"))
        .group_by(*_KEY)
        .agg(slopes=((pl.col("later_uv") - pl.col("uv")) / (pl.col("later") - pl.col("point"))).sort())
        .join(counted, on=_KEY, how="full", coalesce=True)
        .with_columns(
            slope=pl.col("slopes").list.median(),
            slope_low=pl.col("slopes").list.get(low, null_on_oob=True),
            slope_high=pl.col("slopes").list.get(pairs.cast(pl.Int64) - 1 - low, null_on_oob=True),
        )
        .drop("slopes")
    )


def _rows(daily: pl.LazyFrame) -> pl.LazyFrame:
    """Name, scale and order the columns as gold.PARKED_DAYS has them."""
    points = pl.col("points").fill_null(0)
    is_fitted = points >= MIN_POINTS
    rested_us = pl.col("last_us") - pl.col("began_us")
    is_long = rested_us >= SETTLED_US + MIN_POINTS * POINT_US

    def per_day(name: str) -> pl.Expr:
        return pl.when(is_fitted).then((pl.col(name) * (DAY_US // POINT_US * 1e-6)).round(6))

    columns = {
        "event_date": pl.from_epoch(pl.col("day").cast(pl.Int32), time_unit="d"),
        "min_voltage_v": volts(pl.col("min_uv")),
        "flat_since": _instant("flat_us"),
        "last_reading_at": _instant("last_us"),
        "resting_voltage_v": volts(pl.col("resting_uv")),
        "rested_s": (rested_us * 1e-6).round(6),
        "slope_v_per_day": per_day("slope"),
        "slope_low_v_per_day": per_day("slope_low"),
        "slope_high_v_per_day": per_day("slope_high"),
        "slope_points": points,
        "method": pl.when(is_fitted).then(pl.lit("theil_sen")).otherwise(pl.lit("none")),
        "inconclusive_reason": pl.when(~is_fitted & is_long)
        .then(pl.lit("too_few_readings"))
        .when(~is_fitted)
        .then(pl.lit("too_short")),
        "algo_version": pl.lit(ALGO_VERSION),
    }
    return daily.sort("vehicle_id", "day").with_columns(**columns).select(*battery.PARKED_DAYS.by_name)


def _instant(us: str) -> pl.Expr:
    return pl.from_epoch(us, time_unit="us").dt.replace_time_zone("UTC")
