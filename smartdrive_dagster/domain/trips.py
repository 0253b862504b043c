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
from smartdrive_dagster.tables import Days, gold

ALGO_VERSION: Final = "1"

HALO_DAYS: Final = 2
"""Days of Silver on both sides that a day's trips depend on: one for the chain, one for the longest gap."""

MAX_GAP_S: Final = 86_400.0

# Beyond what road cars do (record speeds are near 500 km/h) and PIDs 0D and 0C can say (255 km/h, 16,384 rpm).
MAX_SPEED_KMH: Final = 500.0
MAX_ENGINE_SPEED_RPM: Final = 20_000.0
"""A longer gap would let a chain pass over a UTC day without a sample on it, and no halo would be enough."""

MAX_INTERVAL_S: Final = 10.0
"""The longest time between two readings across which a quantity is taken to be known."""

_S_US: Final = 1_000_000
_DAY_US: Final = 86_400 * _S_US
_INTERVAL_US: Final = round(MAX_INTERVAL_S * _S_US)
_UM_PER_KMH_US: Final = 1 / 3.6
# Polars rounds the last bit of a quotient otherwise where all rows divide by the same: a trip's rates would
# depend on the trips that were computed with it.
_DIGITS: Final = 9
_DRIVING_PHASES: Final = ("cranking", "running")

_AT = pl.col("at_us")
_CHAIN = pl.col("chain")
_SPEED = pl.col("speed_kmh")
_RPM = pl.col("engine_speed_rpm")


def segment_trips(telemetry: pl.LazyFrame, *, days: Days, gap_s: float) -> pl.LazyFrame:
    """Find the trips that began within some days.

    Args:
        telemetry: rows of silver.telemetry in `days` widened by `HALO_DAYS`, in any order; more days do no harm.
            Used are ``vehicle_id``, ``event_at``, ``engine_speed_rpm``, ``speed_kmh``, ``ignition`` and, if it is
            there, ``phase``. Null means not measured.
        days: UTC event days whose trips are wanted.
        gap_s: the longest time between two running samples of one trip, in seconds.

    Returns:
        Rows of gold.TRIPS, one per trip with ``event_date`` in `days`, by vehicle and start.

    Raises:
        ValueError: `gap_s` is not above 0 and at most `MAX_GAP_S`.
    """
    if not 0 < gap_s <= MAX_GAP_S:
        raise ValueError(f"the gap limit must be above 0 and at most {MAX_GAP_S:.0f} s, not {gap_s}")
    instants = _instants(_judged(telemetry)).cache()
    trips = _segments(instants.filter("running"), gap_us=round(gap_s * _S_US))
    measured = _measured(instants, trips)
    began = _instant("started_at_us").dt.date().is_between(days.first, days.last)
    return _rows(trips.filter(began).join(measured, on="trip", how="left"))


def _judged(telemetry: pl.LazyFrame) -> pl.LazyFrame:
    """Say of each sample whether it shows a running vehicle.

    What is "in the data" is asked per vehicle and UTC day: wide enough that a signal sent in few samples counts as
    measured in all, and never wider than the whole days of Silver that the halo holds.
    """
    has_phase = "phase" in telemetry.collect_schema()
    phase = pl.col("phase") if has_phase else pl.lit(None, dtype=pl.String)
    ignition = pl.col("ignition")
    samples = telemetry.select(
        "vehicle_id",
        _plausible(_SPEED, MAX_SPEED_KMH),
        _plausible(_RPM, MAX_ENGINE_SPEED_RPM),
        ignition,
        phase.alias("phase"),
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
    return samples.select("vehicle_id", "at_us", _SPEED, _RPM, running=~is_off & (moves | is_there))


def _plausible(value: pl.Expr, largest: float) -> pl.Expr:
    """A reading that no car can have counts as not measured: it would outweigh every true one."""
    return pl.when(value.is_between(0, largest)).then(value)


def _instants(samples: pl.LazyFrame) -> pl.LazyFrame:
    """Join the samples of one vehicle at one instant, sorted by vehicle and time.

    Two devices that report the same second must not count twice. The middle of the lowest and the highest speed is
    their mean, and unlike a mean of three it does not depend on the order in which they are added.
    """
    return (
        samples.group_by("vehicle_id", "at_us")
        .agg(
            (_SPEED.min() + _SPEED.max()) * 0.5,
            _RPM.max(),
            pl.col("running").any(),
            samples=pl.col("running").sum().cast(pl.Int64),
        )
        .sort("vehicle_id", "at_us")
    )


def _segments(running: pl.LazyFrame, *, gap_us: int) -> pl.LazyFrame:
    """Chain running instants whose gaps keep to the limit, and cut chains that cover a whole UTC day.

    A day is covered by a chain that was running at or before its first midnight and at or after its last; both
    midnights are then cuts. A day that a chain passes has an instant on it, since no gap exceeds a day.

    Returns:
        One row per trip, by vehicle and start: trip and chain (running numbers), vehicle_id, started_at_us,
        ended_at_us, chain_ended_at_us, samples, is_cut_at_midnight.
    """
    is_new = (_AT.diff() > gap_us) | (pl.col("vehicle_id") != pl.col("vehicle_id").shift())
    days = (
        running.with_columns(chain=is_new.fill_null(value=True).cum_sum(), day=_AT // _DAY_US)
        .group_by("chain", "day")
        .agg(pl.col("vehicle_id").first(), pl.col("samples").sum(), first=_AT.min(), last=_AT.max())
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
            started_at_us=pl.col("first").min(),
            ended_at_us=pl.col("last").max(),
        )
        .sort("trip")
        .with_columns(is_cut_at_midnight=follows | is_followed)
    )


def _measured(instants: pl.LazyFrame, trips: pl.LazyFrame) -> pl.LazyFrame:
    """Sum up what was measured from the start of each trip to its end, standstills included.

    An interval between two speed readings belongs to the trip in which it begins, so that a cut loses none.

    Returns:
        One row per trip: covered_us (time in intervals of at most 10 s), distance_um (null without such time),
        idle_us (null where speed or rpm was never measured), and the highest speed and engine speed.
    """
    placed = instants.join_asof(
        trips.select("trip", "chain", "chain_ended_at_us", "vehicle_id", at_us="started_at_us"),
        on="at_us",
        by="vehicle_id",
        strategy="backward",
        check_sortedness=False,  # both are sorted by vehicle and time
    ).filter(pl.col("at_us") <= pl.col("chain_ended_at_us"))
    read_at, read_in = (pl.when(_SPEED.is_not_null()).then(column) for column in (_AT, _CHAIN))
    turned_at, turned_in = (pl.when(_RPM.is_not_null()).then(column) for column in (_AT, _CHAIN))
    next_speed, next_at, next_in = (column.shift(-1).backward_fill() for column in (_SPEED, read_at, read_in))
    took = next_at - _AT
    is_known = _SPEED.is_not_null() & (next_in == _CHAIN) & (took <= _INTERVAL_US)
    is_turning = (
        (_RPM.forward_fill() > 0)
        & (turned_in.forward_fill() == _CHAIN)
        & (_AT - turned_at.forward_fill() <= _INTERVAL_US)
    )
    stands = (_SPEED == 0) & (next_speed == 0)
    moved_um = (took * (_SPEED + next_speed) * (_UM_PER_KMH_US / 2)).round().cast(pl.Int64, strict=False)
    return (
        placed.with_columns(
            covered_us=pl.when(is_known).then(took),
            distance_um=pl.when(is_known).then(moved_um),
            idle_us=pl.when(is_known & stands & is_turning).then(took),
        )
        .group_by("trip")
        .agg(
            pl.col("covered_us").sum(),
            distance_um=pl.when(pl.col("covered_us").count() > 0).then(pl.col("distance_um").sum()),
            idle_us=pl.when((_SPEED.count() > 0) & (_RPM.count() > 0)).then(pl.col("idle_us").sum()),
            max_speed_kmh=_SPEED.max(),
            max_engine_speed_rpm=_RPM.max(),
        )
    )


def _rows(trips: pl.LazyFrame) -> pl.LazyFrame:
    """Name, scale and order the columns as gold.TRIPS has them."""
    duration_s = _seconds(pl.col("ended_at_us") - pl.col("started_at_us"))
    covered_s = _seconds(pl.col("covered_us"))
    distance_km = (pl.col("distance_um") * 1e-9).round(_DIGITS)
    # The interval over a cut is counted to the trip before the cut, though it ends after that trip's last sample.
    coverage_pct = pl.min_horizontal(100.0, 100 * covered_s / duration_s).round(_DIGITS)
    columns = {
        "trip_id": pl.struct("vehicle_id", "started_at_us").map_batches(_trip_ids, return_dtype=pl.String),
        "started_at": _instant("started_at_us"),
        "ended_at": _instant("ended_at_us"),
        "event_date": _instant("started_at_us").dt.date(),
        "duration_s": duration_s,
        "distance_km": distance_km,
        "distance_method": pl.when(distance_km.is_null()).then(pl.lit("none")).otherwise(pl.lit("speed")),
        "speed_coverage_pct": pl.when(pl.col("max_speed_kmh").is_not_null() & (duration_s > 0)).then(coverage_pct),
        "mean_speed_kmh": (3600 * distance_km / covered_s).round(_DIGITS),
        "idle_s": _seconds(pl.col("idle_us")),
        "algo_version": pl.lit(ALGO_VERSION),
    }
    return trips.sort("vehicle_id", "started_at_us").with_columns(**columns).select(*gold.TRIPS.by_name)


def _instant(us: str) -> pl.Expr:
    return pl.from_epoch(us, time_unit="us").dt.replace_time_zone("UTC")


def _seconds(us: pl.Expr) -> pl.Expr:
    return (us * 1e-6).round(6)


def _trip_ids(keys: pl.Series) -> pl.Series:
    """Name trips by the 128-bit digest of vehicle and start (UTC epoch µs); the same in every rebuild."""
    names = [digest(f"{key['vehicle_id']}\x1f{key['started_at_us']}".encode()) for key in keys]
    return pl.Series(names, dtype=pl.String)
