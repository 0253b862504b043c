"""Trips: which samples show a running vehicle, how they join into trips, and what a trip measures.

A trip is a run of *running* samples of one vehicle without a gap over the limit; `docs/explanation/trips.md` says
why the rules are what they are. Two properties hold for all input, and incremental runs stand on them: the rows of
a day are a function of Silver in that day ± `HALO_DAYS`, and the order of the input's rows does not matter. They
hold to the last digit because times and distances are summed as integers (a sum of floats depends on its order),
and nothing is divided by a constant (Polars 2.1 multiplies by the reciprocal, but not in a frame of one row).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from smartdrive_dagster.domain.identity import digest
from smartdrive_dagster.domain.motion import MAX_ENGINE_SPEED_RPM, MAX_SPEED_KMH, optional, plausible
from smartdrive_dagster.domain.trip_corrections import corrected_starts, labels
from smartdrive_dagster.domain.trip_measures import event_coverage, measured
from smartdrive_dagster.tables import Days, gold

ALGO_VERSION: Final = "2"

HALO_DAYS: Final = 2
"""Days of Silver on both sides that a day's trips depend on: one for the chain, one for the longest gap."""

MAX_GAP_S: Final = 86_400.0
"""A longer gap would let a chain pass over a UTC day without a sample on it, and no halo would be enough."""

WELL_COVERED_PCT: Final = 95.0
"""Where speed covers less of a trip, its distance is a lower bound, and an odometer's is taken instead."""

COLD_ABOVE_AMBIENT_C: Final = 7.0
COLD_COOLANT_C: Final = 35.0
"""Cold starts as on-board diagnostics define them: at most 35 °C and at most 7 °C above the ambient air."""
SOAK_S: Final = 6 * 3600.0
"""Without a running sample for so long, an engine that is not over 35 °C has cooled down."""

_S_US: Final = 1_000_000
_DAY_US: Final = 86_400 * _S_US
# Polars rounds the last bits of a quotient otherwise where a whole column divides by the same: a trip's rates
# would depend on the trips that were computed with it.
_DIGITS: Final = 9
_DRIVING_PHASES: Final = ("cranking", "running")
_MEASURES: Final = (
    "odometer_km",
    "latitude_deg",
    "longitude_deg",
    "coolant_temp_c",
    "ambient_air_temp_c",
    "intake_temp_c",
)

_AT = pl.col("at_us")
_CHAIN = pl.col("chain")
_SPEED = pl.col("speed_kmh")
_RPM = pl.col("engine_speed_rpm")


def segment_trips(
    telemetry: pl.LazyFrame, *, days: Days, gap_s: float, corrections: pl.LazyFrame | None = None
) -> pl.LazyFrame:
    """Find the trips that began within some days.

    Args:
        telemetry: rows of silver.telemetry in `days` widened by `HALO_DAYS`, in any order; more days do no harm.
            Used are ``vehicle_id``, ``event_at``, ``engine_speed_rpm``, ``speed_kmh``, ``ignition`` and, where
            they are there, ``device_id``, ``phase``, the odometer, positions and the temperatures of coolant,
            ambient and intake air. Null means not measured.
        days: UTC event days whose trips are wanted.
        gap_s: the longest time between two running samples of one trip, in seconds.
        corrections: rows of silver.corrections, all of those vehicles or more; None for none.

    Returns:
        Rows of gold.TRIPS, one per trip with ``event_date`` in `days`, by vehicle and start.

    Raises:
        ValueError: `gap_s` is not above 0 and at most `MAX_GAP_S`.
    """
    if not 0 < gap_s <= MAX_GAP_S:
        raise ValueError(f"the gap limit must be above 0 and at most {MAX_GAP_S:.0f} s, not {gap_s}")
    instants = _instants(_judged(telemetry)).cache()
    found = _segments(_boundaries(instants.filter("running"), round(gap_s * _S_US), corrections))
    began = _instant("started_at_us").dt.date().is_between(days.first, days.last)
    # The measures are of all trips: what follows a trip decides where its last interval ends.
    return _rows(
        found.filter(began)
        .join(measured(instants, found), on="trip", how="left")
        .join(event_coverage(telemetry, found), on="trip", how="left")
        .join(labels(found, corrections), on="trip", how="left")
    )


def _judged(telemetry: pl.LazyFrame) -> pl.LazyFrame:
    """Say of each sample whether it shows a running vehicle.

    What is "in the data" is asked per vehicle and UTC day: wide enough that a signal sent in few samples counts as
    measured in all, and never wider than the whole days of Silver that the halo holds.
    """
    ignition = pl.col("ignition")
    samples = telemetry.select(
        "vehicle_id",
        optional(telemetry, "device_id", pl.String()).fill_null(""),
        plausible(_SPEED, MAX_SPEED_KMH),
        plausible(_RPM, MAX_ENGINE_SPEED_RPM),
        ignition,
        optional(telemetry, "phase", pl.String()),
        *(optional(telemetry, name) for name in _MEASURES),
        at_us=pl.col("event_at").dt.epoch("us"),
    )
    of_day = ("vehicle_id", _AT // _DAY_US)
    rpm_in_data = _RPM.is_not_null().any().over(*of_day)
    ignition_in_data = ignition.is_not_null().any().over(*of_day)
    is_off = (ignition <= 0).fill_null(value=False)
    moves = (_RPM > 0).fill_null(value=False) | (_SPEED > 0).fill_null(value=False)
    # A collector samples a parked car too: in its other phases a sample proves nothing by being there.
    is_driving = pl.col("phase").is_null() | pl.col("phase").is_in(_DRIVING_PHASES)
    is_there = ~rpm_in_data & (ignition.is_not_null() | ~ignition_in_data) & is_driving
    return samples.select(
        "vehicle_id",
        "device_id",
        "at_us",
        _SPEED,
        _RPM,
        *_MEASURES,
        running=~is_off & (moves | is_there),
    )


def _instants(samples: pl.LazyFrame) -> pl.LazyFrame:
    """Join the samples of one vehicle at one instant, sorted by vehicle and time.

    Two devices that report the same second must not count twice. The middle of the lowest and the highest speed is
    their mean, and unlike a mean of three it does not depend on the order in which they are added. Positions are
    those of one device a day, since a path that jumps between two receivers is longer than either saw.
    """
    middle = [
        (pl.col(name).min() + pl.col(name).max()) * 0.5 for name in ("speed_kmh", "latitude_deg", "longitude_deg")
    ]
    return (
        _with_one_receiver(samples)
        .group_by("vehicle_id", "at_us")
        .agg(
            *middle,
            _RPM.max(),
            pl.col("odometer_km").max(),
            pl.col("running").any(),
            coolant_c=pl.col("coolant_temp_c").max(),
            ambient_c=pl.col("ambient_air_temp_c").max(),
            intake_c=pl.col("intake_temp_c").max(),
            samples=pl.col("running").sum().cast(pl.Int64),
            first_device=pl.col("device_id").min(),
            last_device=pl.col("device_id").max(),
        )
        .sort("vehicle_id", "at_us")
    )


def _with_one_receiver(samples: pl.LazyFrame) -> pl.LazyFrame:
    """Keep the positions of the device with the most on the UTC day; none that is out of range or at 0°, 0°."""
    latitude, longitude = pl.col("latitude_deg"), pl.col("longitude_deg")
    is_fix = latitude.is_between(-90, 90) & longitude.is_between(-180, 180) & ((latitude != 0) | (longitude != 0))
    of_day = ("vehicle_id", _AT // _DAY_US)
    fixes = is_fix.sum().over(*of_day, "device_id")
    is_best = fixes == fixes.max().over(*of_day)
    receiver = pl.when(is_best).then("device_id").min().over(*of_day)
    is_kept = is_fix & (pl.col("device_id") == receiver)
    return samples.with_columns(pl.when(is_kept).then(column) for column in (latitude, longitude))


def _boundaries(running: pl.LazyFrame, gap_us: int, corrections: pl.LazyFrame | None) -> pl.LazyFrame:
    """Chain running instants whose gaps keep to the limit, or as their owner says."""
    follows = pl.col("vehicle_id") == pl.col("vehicle_id").shift()
    starts = running.with_columns(previous_us=pl.when(follows).then(_AT.shift())).with_columns(
        is_new=(_AT - pl.col("previous_us") > gap_us).fill_null(value=True)
    )
    ends = (pl.col("is_new") & pl.col("is_corrected")).shift(-1, fill_value=False)
    return corrected_starts(starts, corrections, longest_us=round(MAX_GAP_S * _S_US)).with_columns(
        chain=pl.col("is_new").cum_sum(), is_corrected=pl.col("is_corrected") | ends
    )


def _segments(running: pl.LazyFrame) -> pl.LazyFrame:
    """Cut chains that cover a whole UTC day.

    A day is covered by a chain that was running at or before its first midnight and at or after its last; both
    midnights are then cuts. A day that a chain passes has an instant on it, since no gap exceeds a day.

    Returns:
        One row per trip, by vehicle and start: trip and chain (running numbers), vehicle_id, started_at_us,
        ended_at_us, chain_ended_at_us, soaked_us (since the running instant before; null without one), goes_on
        (whether it is the next part of a chain), samples, has_several_devices, is_corrected, is_cut_at_midnight.
    """
    days = (
        running.with_columns(day=_AT // _DAY_US)
        .group_by("chain", "day")
        .agg(
            pl.col("vehicle_id").first(),
            pl.col("samples").sum(),
            pl.col("is_corrected").any(),
            first=_AT.min(),
            last=_AT.max(),
            previous_us=pl.col("previous_us").filter("is_new").min(),
            first_device=pl.col("first_device").min(),
            last_device=pl.col("last_device").max(),
        )
        .sort("chain", "day")
    )
    chain_first, chain_last = pl.col("first").min().over("chain"), pl.col("last").max().over("chain")
    starts_at_midnight = chain_first <= pl.col("day") * _DAY_US
    is_covered = starts_at_midnight & (chain_last >= (pl.col("day") + 1) * _DAY_US)
    goes_on = (_CHAIN.shift() == _CHAIN).fill_null(value=False)
    is_start = ~goes_on | pl.col("covered") | pl.col("covered").shift()
    follows, is_followed = (_CHAIN.shift(n, fill_value=0) == _CHAIN for n in (1, -1))
    return (
        days.with_columns(covered=is_covered, chain_ended_at_us=chain_last)
        .with_columns(trip=is_start.cum_sum())
        .group_by("trip")
        .agg(
            pl.col("vehicle_id", "chain", "chain_ended_at_us").first(),
            pl.col("samples").sum(),
            pl.col("is_corrected").any(),
            started_at_us=pl.col("first").min(),
            ended_at_us=pl.col("last").max(),
            soaked_us=pl.col("first").min() - pl.col("previous_us").min(),
            has_several_devices=pl.col("first_device").min() != pl.col("last_device").max(),
        )
        .sort("trip")
        .with_columns(goes_on=follows, is_cut_at_midnight=follows | is_followed)
    )


def _is_cold() -> pl.Expr:
    """Whether the engine began cold. The intake's air tells the ambient air's only while the engine is cold."""
    coolant, ambient, intake = (pl.col(f"{name}_start_c") for name in ("coolant", "ambient", "intake"))
    is_soaked = (pl.col("soaked_us") >= round(SOAK_S * _S_US)).fill_null(value=True)
    return (
        pl.when(coolant.is_null())
        .then(None)
        .when("goes_on")
        .then(pl.lit(value=False))
        .when(ambient.is_not_null())
        .then(coolant <= ambient + COLD_ABOVE_AMBIENT_C)
        .when(intake.is_not_null())
        .then((coolant <= COLD_COOLANT_C) & (coolant <= intake + COLD_ABOVE_AMBIENT_C))
        .otherwise((coolant <= COLD_COOLANT_C) & is_soaked)
    )


def _distances() -> dict[str, pl.Expr]:
    """The distance of each witness, which of them is taken, and how far the next best is from it."""
    duration_us = pl.col("ended_at_us") - pl.col("started_at_us")
    speed_km, gps_km = ((pl.col(name) * 1e-9).round(9) for name in ("distance_um", "gps_um"))
    longest_km = duration_us * (MAX_SPEED_KMH * 1e-6) / 3600
    odometer_km = pl.when(pl.col("odometer_km").is_between(0, longest_km)).then(pl.col("odometer_km").round(3))
    is_well_covered = 100 * pl.col("covered_us") >= WELL_COVERED_PCT * duration_us
    gps_saw_more = pl.col("gps_covered_us") > pl.col("covered_us")
    method = (
        pl.when(speed_km.is_not_null() & is_well_covered)
        .then(pl.lit("speed"))
        .when(odometer_km.is_not_null())
        .then(pl.lit("odometer"))
        .when(gps_km.is_not_null() & (speed_km.is_null() | gps_saw_more))
        .then(pl.lit("gps"))
        .when(speed_km.is_not_null())
        .then(pl.lit("speed"))
        .otherwise(pl.lit("none"))
    )
    return {
        "speed_distance_km": speed_km,
        "gps_distance_km": gps_km,
        "odometer_distance_km": odometer_km,
        "distance_method": method,
    }


def _rows(trips: pl.LazyFrame) -> pl.LazyFrame:
    """Name, scale and order the columns as gold.TRIPS has them."""
    duration_s = _seconds(pl.col("ended_at_us") - pl.col("started_at_us"))
    covered_s, seen_s = _seconds(pl.col("covered_us")), _seconds(pl.col("seen_us"))
    # The interval over a cut is counted to the trip before the cut, though it ends after that trip's last sample.
    coverage_pct = pl.min_horizontal(100.0, 100 * covered_s / duration_s).round(_DIGITS)
    method = pl.col("distance_method")
    witnesses = {name: pl.col(f"{name}_distance_km") for name in ("odometer", "gps", "speed")}
    distance_km = pl.coalesce(pl.when(method == name).then(km) for name, km in witnesses.items())
    other_km = pl.coalesce(pl.when(method != name).then(km) for name, km in witnesses.items())
    columns = {
        "trip_id": pl.struct("vehicle_id", "started_at_us").map_batches(_trip_ids, return_dtype=pl.String),
        "started_at": _instant("started_at_us"),
        "ended_at": _instant("ended_at_us"),
        "event_date": _instant("started_at_us").dt.date(),
        "duration_s": duration_s,
        "distance_km": distance_km,
        "distance_difference_km": (distance_km - other_km).round(9),
        "speed_coverage_pct": pl.when(pl.col("max_speed_kmh").is_not_null() & (duration_s > 0)).then(coverage_pct),
        "mean_speed_kmh": (3600 * pl.col("speed_distance_km") / covered_s).round(_DIGITS),
        "idle_s": _seconds(pl.col("idle_us")),
        "stop_start_s": _seconds(pl.col("stop_us")),
        "event_coverage_pct": pl.when(pl.col("max_speed_kmh").is_not_null() & (duration_s > 0)).then(
            pl.min_horizontal(100.0, 100 * seen_s.fill_null(0.0) / duration_s).round(_DIGITS)
        ),
        "event_distance_km": (pl.col("seen_um") * 1e-9).round(9),
        "is_cold_start": _is_cold(),
        "algo_version": pl.lit(ALGO_VERSION),
    }
    ordered = trips.sort("vehicle_id", "started_at_us").with_columns(**_distances())
    return ordered.with_columns(**columns).select(*gold.TRIPS.by_name)


def _instant(us: str) -> pl.Expr:
    return pl.from_epoch(us, time_unit="us").dt.replace_time_zone("UTC")


def _seconds(us: pl.Expr) -> pl.Expr:
    return (us * 1e-6).round(6)


def _trip_ids(keys: pl.Series) -> pl.Series:
    """Name trips by the 128-bit digest of vehicle and start (UTC epoch µs); the same in every rebuild."""
    names = [digest(f"{key['vehicle_id']}\x1f{key['started_at_us']}".encode()) for key in keys]
    return pl.Series(names, dtype=pl.String)
