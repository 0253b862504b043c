"""Driving events: hard braking, acceleration and cornering, one row per manoeuvre.

`docs/explanation/driving.md` says why the thresholds are what they are and how well they do on real drives. A
manoeuvre is a chain of windows over the lower limit, at most `MERGE_S` apart, of which one at least is over the
threshold. Windows of all devices and sources join in one chain, so that a manoeuvre seen twice counts once. It
ends `MAX_DURATION_S` after its begin at the latest: no manoeuvre lasts longer, and so a day's rows are a function
of Silver in that day ± `HALO_DAYS`.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from smartdrive_dagster.domain.identity import digest
from smartdrive_dagster.domain.motion import (
    NO_BRAKE_G,
    level_accelerations,
    mean_accelerations,
    speed_accelerations,
    speed_readings,
)
from smartdrive_dagster.tables import Days, driving

ALGO_VERSION: Final = "1"

HALO_DAYS: Final = 2
"""Days of Silver on both sides that a day's events depend on: a manoeuvre may reach over midnight, and what is
asked of that other day (its rates, its sensors' bias) is asked of the whole of it and a few seconds more."""

BRAKING_G: Final = -0.30
ACCELERATION_G: Final = 0.25
ACCELEROMETER_G: Final = 0.35
"""For both axes and signs of an accelerometer: its reading at 1 Hz is an instant's, with the road's unevenness."""

RELEASE: Final = 0.5
"""The lower limit as a share of the threshold: a manoeuvre goes on until it falls below."""

MERGE_S: Final = 2.0
MAX_DURATION_S: Final = 120.0
MOVING_KMH: Final = 1.0
MOVING_WITHIN_S: Final = 2.0

_US: Final = 1_000_000
_CHAIN: Final = ("vehicle_id", "kind", "side")
_A = pl.col("acceleration_g")


def detect_driving_events(telemetry: pl.LazyFrame, *, days: Days) -> pl.LazyFrame:
    """Find the manoeuvres that began within some days.

    Args:
        telemetry: rows of silver.telemetry in `days` widened by `HALO_DAYS`, in any order; more days do no harm.
            Used are ``vehicle_id``, ``event_at``, ``speed_kmh`` and, if they are there, ``device_id``, ``phase``,
            ``accel_x_mps2`` and ``accel_y_mps2``.
        days: UTC event days whose events are wanted.

    Returns:
        Rows of driving.DRIVING_EVENTS, by vehicle and start. None is found where speed (for braking and
        acceleration) or the accelerometer comes less often than once a second.
    """
    windows = pl.concat([_of_speed(telemetry), _of_accelerometer(telemetry)])
    began = _instant("started_us").dt.date().is_between(days.first, days.last)
    return _rows(_manoeuvres(windows).filter(began))


def _of_speed(telemetry: pl.LazyFrame) -> pl.LazyFrame:
    """Windows over the lower limits by speed; beyond `NO_BRAKE_G` it is a fault or a crash, and no manoeuvre."""
    windows = speed_accelerations(telemetry).filter(_A.abs() <= NO_BRAKE_G)
    return pl.concat(
        [
            _over(windows, "braking", BRAKING_G, "speed"),
            _over(windows, "acceleration", ACCELERATION_G, "speed"),
        ]
    )


def _of_accelerometer(telemetry: pl.LazyFrame) -> pl.LazyFrame:
    """Windows over the lower limits by accelerometer, while the vehicle moves: a slammed door is no manoeuvre."""
    level = level_accelerations(telemetry)
    along, across = mean_accelerations(level, "x_g"), mean_accelerations(level, "y_g")
    moving = (
        speed_readings(telemetry)
        .filter(pl.col("speed_kmh") >= MOVING_KMH)
        .group_by("vehicle_id", "at_us")
        .agg(pl.col("speed_kmh").max())
        .sort("vehicle_id", "at_us")
    )
    found = pl.concat(
        [
            _over(along, "braking", -ACCELEROMETER_G, "accelerometer"),
            _over(along, "acceleration", ACCELEROMETER_G, "accelerometer"),
            _over(across, "cornering", ACCELEROMETER_G, "accelerometer"),
            _over(across, "cornering", -ACCELEROMETER_G, "accelerometer"),
        ]
    )
    return (
        found.sort("vehicle_id", "at_us")
        .join_asof(
            moving,
            on="at_us",
            by="vehicle_id",
            strategy="nearest",
            tolerance=round(MOVING_WITHIN_S * _US),
            check_sortedness=False,  # both are sorted by vehicle and time
        )
        .filter(pl.col("speed_kmh").is_not_null())
        .with_columns(window_speed_kmh="speed_kmh")
        .drop("speed_kmh")
    )


def _over(windows: pl.LazyFrame, kind: str, threshold_g: float, source: str) -> pl.LazyFrame:
    strength = _A * (1 if threshold_g > 0 else -1)
    speed = pl.col("speed_kmh") if source == "speed" else pl.lit(None, pl.Float64)
    # A window tells of its middle, and a reading of the time around it: a second at 1 Hz, less at higher rates.
    middle = pl.col("at_us") - _US // 2
    half = pl.min_horizontal((pl.lit(_US // 2) / pl.col("rate_hz")).round().cast(pl.Int64), pl.lit(_US // 2))
    return windows.filter(strength >= RELEASE * abs(threshold_g)).select(
        "vehicle_id",
        "at_us",
        "rate_hz",
        _A,
        kind=pl.lit(kind),
        side=pl.lit(1 if threshold_g > 0 else -1, pl.Int8),
        source=pl.lit(source),
        window_speed_kmh=speed,
        is_hard=strength >= abs(threshold_g),
        begin_us=middle - half,
        end_us=middle + half,
    )


def _manoeuvres(windows: pl.LazyFrame) -> pl.LazyFrame:
    """Join windows into manoeuvres.

    Returns:
        One row per manoeuvre: vehicle_id, kind, side, started_us, ended_us, acceleration_g and rate_hz (of the
        strongest window of the source), source, speed_kmh, hard_us (time between the first and the last window
        over the threshold) and hard_windows.
    """
    is_new = pl.col("at_us").diff() > round(MERGE_S * _US)
    for name in _CHAIN:
        is_new |= pl.col(name) != pl.col(name).shift()
    ordered = windows.sort(*_CHAIN, "at_us", "source", "acceleration_g", "rate_hz")
    chained = ordered.with_columns(chain=is_new.fill_null(value=True).cum_sum()).filter(
        pl.col("at_us") <= pl.col("at_us").min().over("chain") + round(MAX_DURATION_S * _US)
    )
    hard, by_speed, speed = pl.col("is_hard"), pl.col("source") == "speed", pl.col("window_speed_kmh")
    # Where both sources saw it, the peak is that of speed: it means the same in every car.
    speed_is_hard = (hard & by_speed).any().over("chain")
    of_source = hard & (by_speed == speed_is_hard)
    strength = pl.when(of_source).then(_A.abs())
    strongest = of_source & (strength == strength.max().over("chain"))
    return (
        chained.with_columns(strongest=strongest)
        .group_by("chain")
        .agg(
            pl.col("vehicle_id", "kind", "side").first(),
            started_us=pl.col("begin_us").min(),
            ended_us=pl.col("end_us").max(),
            acceleration_g=_A.filter("strongest").max(),
            rate_hz=pl.col("rate_hz").filter("strongest").max(),
            has_speed=(hard & by_speed).any(),
            has_accelerometer=(hard & ~by_speed).any(),
            speed_kmh=speed.filter(pl.col("at_us") == pl.col("at_us").filter(speed.is_not_null()).min()).max(),
            hard_us=pl.col("at_us").filter(hard).max() - pl.col("at_us").filter(hard).min(),
            hard_windows=hard.sum(),
        )
        .filter(pl.col("hard_windows") > 0)
    )


def _rows(found: pl.LazyFrame) -> pl.LazyFrame:
    both = pl.col("has_speed") & pl.col("has_accelerometer")
    is_sure = both | (pl.col("hard_us") >= _US)
    source = (
        pl.when(both)
        .then(pl.lit("both"))
        .when("has_speed")
        .then(pl.lit("speed"))
        .otherwise(pl.lit("accelerometer"))
    )
    columns = {
        "event_id": pl.struct("vehicle_id", "kind", "side", "started_us").map_batches(
            _event_ids, return_dtype=pl.String
        ),
        "started_at": _instant("started_us"),
        "ended_at": _instant("ended_us"),
        "event_date": _instant("started_us").dt.date(),
        "duration_s": ((pl.col("ended_us") - pl.col("started_us")) * 1e-6).round(6),
        "peak_g": _A,
        "source": source,
        "method": pl.when("has_speed")
        .then(pl.lit("speed_difference_1s"))
        .otherwise(pl.lit("accelerometer_mean_1s")),
        "confidence": pl.when(is_sure)
        .then(pl.lit("high"))
        .when(pl.col("hard_windows") > 1)
        .then(pl.lit("medium"))
        .otherwise(pl.lit("low")),
        "algo_version": pl.lit(ALGO_VERSION),
    }
    ordered = found.sort("vehicle_id", "started_us", "kind", "side")
    return ordered.with_columns(**columns).select(*driving.DRIVING_EVENTS.by_name)


def _instant(us: str) -> pl.Expr:
    return pl.from_epoch(us, time_unit="us").dt.replace_time_zone("UTC")


def _event_ids(keys: pl.Series) -> pl.Series:
    names = [
        digest(f"{key['vehicle_id']}\x1f{key['kind']}\x1f{key['side']}\x1f{key['started_us']}".encode())
        for key in keys
    ]
    return pl.Series(names, dtype=pl.String)
