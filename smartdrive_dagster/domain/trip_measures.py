"""What a trip measures: distances of three witnesses, time at standstill, rates, temperatures and rounded places.

Every function takes the trips' frame (``trip``, ``chain``, ``chain_ended_at_us``, ``vehicle_id``,
``started_at_us``, ``ended_at_us``) and returns one row per trip. An interval between two readings belongs to the
trip in which it begins. Sums are of integers, for the reason that `trips` gives.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from smartdrive_dagster.domain.motion import MAX_SPEED_KMH, SERIES, speed_readings, with_rate

MAX_INTERVAL_S: Final = 10.0
"""The longest time between two readings across which a quantity is taken to be known."""

NEAR_END_S: Final = 120.0
"""How far from its start or end a trip's first and last position or odometer reading may lie."""

COLD_READING_S: Final = 60.0
WALKING_KMH: Final = 3.6
"""A slower step between two positions is as likely the receiver's noise at standstill."""

_US: Final = 1_000_000
INTERVAL_US: Final = round(MAX_INTERVAL_S * _US)
_NEAR_END_US: Final = round(NEAR_END_S * _US)
_COLD_READING_US: Final = round(COLD_READING_S * _US)
_UM_PER_KMH_US: Final = 1 / 3.6
_EARTH_RADIUS_UM: Final = 6_371_008_800_000.0
_DEGREE: Final = 0.017453292519943295

_AT = pl.col("at_us")
_CHAIN = pl.col("chain")
_SPEED = pl.col("speed_kmh")
_RPM = pl.col("engine_speed_rpm")
_START, _END = pl.col("started_at_us"), pl.col("ended_at_us")


def measured(instants: pl.LazyFrame, trips: pl.LazyFrame) -> pl.LazyFrame:
    """Sum up what was measured from the start of each trip to its end, standstills included.

    Args:
        instants: one row per vehicle and instant, sorted, with the readings.
        trips: the trips.

    Returns:
        One row per trip: covered_us (time in speed intervals of at most 10 s), distance_um (null without such
        time), idle_us and stop_us (null where speed or rpm was never measured), odometer_km, gps_um,
        gps_covered_us, the temperatures at the start, the places, and the highest speed and engine speed.
    """
    placed = placed_in_trips(instants, trips).with_columns(
        took_us=_next("at_us", _SPEED.is_not_null()) - _AT,
        next_speed=_next("speed_kmh", _SPEED.is_not_null()),
        next_chain=_next("chain", _SPEED.is_not_null()),
    )
    took, next_speed = pl.col("took_us"), pl.col("next_speed")
    is_known = _SPEED.is_not_null() & (pl.col("next_chain") == _CHAIN) & (took <= INTERVAL_US)
    turned_at, turned_in = (pl.when(_RPM.is_not_null()).then(column).forward_fill() for column in (_AT, _CHAIN))
    engine_known = (turned_in == _CHAIN) & (_AT - turned_at <= INTERVAL_US)
    stands = is_known & (_SPEED == 0) & (next_speed == 0)
    moved_um = (took * (_SPEED + next_speed) * (_UM_PER_KMH_US / 2)).round().cast(pl.Int64, strict=False)
    both_measured = (_SPEED.count() > 0) & (_RPM.count() > 0)
    return (
        placed.with_columns(
            covered_us=pl.when(is_known).then(took),
            distance_um=pl.when(is_known).then(moved_um),
            idle_us=pl.when(stands & engine_known & (_RPM.forward_fill() > 0)).then(took),
            stop_us=pl.when(stands & engine_known & (_RPM.forward_fill() == 0)).then(took),
            **_gps_steps(),
        )
        .group_by("trip")
        .agg(
            pl.col("covered_us").sum(),
            distance_um=pl.when(pl.col("covered_us").count() > 0).then(pl.col("distance_um").sum()),
            idle_us=pl.when(both_measured).then(pl.col("idle_us").sum()),
            stop_us=pl.when(both_measured).then(pl.col("stop_us").sum()),
            max_speed_kmh=_SPEED.max(),
            max_engine_speed_rpm=_RPM.max(),
            gps_covered_us=pl.col("gps_covered_us").sum(),
            gps_um=pl.when(pl.col("gps_covered_us").count() > 0).then(pl.col("gps_um").sum()),
            odometer_km=_last("odometer_km", _NEAR_END_US) - _first("odometer_km", _NEAR_END_US),
            **{
                f"{name}_start_c": _first(f"{name}_c", _COLD_READING_US)
                for name in ("coolant", "ambient", "intake")
            },
            **{
                f"{end}_{axis}_deg": find(f"{axis}_deg", _NEAR_END_US).round(2)
                for end, find in (("start", _first), ("end", _last))
                for axis in ("latitude", "longitude")
            },
        )
    )


def event_coverage(telemetry: pl.LazyFrame, trips: pl.LazyFrame) -> pl.LazyFrame:
    """Where in a trip driving events can be seen: the time with a speed reading a second, by one device.

    Returns:
        One row per trip with a speed reading: speed_rate_hz, seen_us and seen_um of the device that saw most.
    """
    readings = with_rate(speed_readings(telemetry))
    follows = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in SERIES)
    step = pl.when(follows).then(_AT.diff())
    is_seen = pl.col("rate_hz").is_not_null()
    moved_um = (step * (_SPEED + _SPEED.shift()) * (_UM_PER_KMH_US / 2)).round().cast(pl.Int64, strict=False)
    intervals = readings.with_columns(
        seen_us=pl.when(is_seen).then(step), seen_um=pl.when(is_seen).then(moved_um), step_us=step
    )
    is_within = _AT - pl.col("step_us") >= _START
    return (
        placed_in_trips(intervals.sort("vehicle_id", "at_us", "device_id"), trips)
        .filter(_AT <= _END)
        .with_columns(pl.when(is_within).then(pl.col("seen_us", "seen_um", "step_us")))
        .group_by("trip", "device_id")
        .agg(
            pl.col("seen_us", "seen_um").sum(),
            speed_rate_hz=(_US / pl.col("step_us").median()).round(6),
        )
        .group_by("trip")
        .agg(
            pl.col("seen_us").max(),
            seen_um=pl.col("seen_um").filter(pl.col("seen_us") == pl.col("seen_us").max()).max(),
            speed_rate_hz=pl.col("speed_rate_hz").max(),
        )
    )


def placed_in_trips(rows: pl.LazyFrame, trips: pl.LazyFrame) -> pl.LazyFrame:
    """Give each row, sorted by vehicle and time, the trip in whose chain it lies; drop the others."""
    return rows.join_asof(
        trips.select(
            "trip",
            "chain",
            "chain_ended_at_us",
            "vehicle_id",
            "started_at_us",
            "ended_at_us",
            at_us="started_at_us",
        ),
        on="at_us",
        by="vehicle_id",
        strategy="backward",
        check_sortedness=False,  # both are sorted by vehicle and time
    ).filter(pl.col("chain_ended_at_us") >= _AT)


def _next(name: str, is_reading: pl.Expr) -> pl.Expr:
    """The value of a column in the next row that has the reading."""
    return pl.when(is_reading).then(pl.col(name)).shift(-1).backward_fill()


def _gps_steps() -> dict[str, pl.Expr]:
    """Steps from one position to the next, at most 10 s apart, along the great circle."""
    has_fix = pl.col("latitude_deg").is_not_null() & pl.col("longitude_deg").is_not_null()
    latitude, longitude = (pl.col(f"{axis}_deg") * _DEGREE for axis in ("latitude", "longitude"))
    then_latitude, then_longitude = (_next(f"{axis}_deg", has_fix) * _DEGREE for axis in ("latitude", "longitude"))
    took = _next("at_us", has_fix) - _AT
    is_known = has_fix & (_next("chain", has_fix) == _CHAIN) & (took <= INTERVAL_US)
    half = ((then_latitude - latitude) * 0.5).sin().pow(2) + latitude.cos() * then_latitude.cos() * (
        (then_longitude - longitude) * 0.5
    ).sin().pow(2)
    step_um = half.sqrt().arcsin() * (2 * _EARTH_RADIUS_UM)
    slow, fast = (took * (kmh * _UM_PER_KMH_US) for kmh in (WALKING_KMH, MAX_SPEED_KMH))
    moved = pl.when(step_um.is_between(slow, fast)).then(step_um.round().cast(pl.Int64, strict=False)).otherwise(0)
    return {"gps_covered_us": pl.when(is_known).then(took), "gps_um": pl.when(is_known).then(moved)}


def _first(name: str, within_us: int) -> pl.Expr:
    """The earliest value of a trip, at most so long after its start. Instants are unique, so there is one."""
    in_reach = pl.col(name).is_not_null() & (within_us >= _AT - _START)
    return pl.col(name).filter(in_reach & (_AT.filter(in_reach).min() == _AT)).max()


def _last(name: str, within_us: int) -> pl.Expr:
    in_reach = pl.col(name).is_not_null() & (within_us >= _END - _AT) & (_AT <= _END)
    return pl.col(name).filter(in_reach & (_AT.filter(in_reach).max() == _AT)).max()
