"""Engine starts: which voltage dips are starts, what the battery had been doing before, and how each start looks.

`docs/explanation/battery.md` says why the rules are what they are. The rows of a day are a function of Silver in
that day ± `HALO_DAYS`, the order of the input's rows does not matter, and more days do no harm; to the last digit,
because voltages are summed as whole microvolts and all else is a median, a smallest or a largest value.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from smartdrive_dagster.domain.identity import digest
from smartdrive_dagster.domain.surroundings import (
    DAY_US,
    MINUTE_US,
    S_US,
    around,
    first_known,
    held,
    last_known,
)
from smartdrive_dagster.domain.voltage_dips import (
    AFTER_US,
    CHARGING_V,
    MIN_PLATEAU_SAMPLES,
    NEIGHBOUR_US,
    SERIES,
    find_dips,
    is_charging,
    measure_dips,
    sampling_rate_hz,
    voltage_series,
    volts,
    without_worse_neighbours,
)
from smartdrive_dagster.tables import Days, battery

ALGO_VERSION: Final = "1"

HALO_DAYS: Final = 1
"""Days of Silver on both sides that a day's starts depend on: the engine is sought in the 24 h before a start."""

REST_US: Final = 30 * MINUTE_US
"""How long the engine must have been off for the voltage to be a resting one."""

MAX_ENGINE_SPEED_RPM: Final = 20_000.0
PARKED_PHASES: Final = ("post_drive", "sentinel", "suspended")
GOOD_PLATEAU_SAMPLES: Final = 10

_STARTED_RPM: Final = 600.0
_ENGINE_BEFORE_US: Final = 10 * S_US
_ENGINE_AFTER_US: Final = 5 * S_US
_JUST_BEFORE_US: Final = 500_000  # an engine speed asked in the dip may bear a time before the dip's first reading
_LOOK_BACK_US: Final = DAY_US
_COVERED_US: Final = 20 * MINUTE_US  # two sentinel readings
_PARKED_READING_US: Final = 60 * MINUTE_US
_TEMPERATURES: Final = ("ambient_air_temp_c", "intake_temp_c", "coolant_temp_c")
_KEY: Final = (*SERIES, "mark_us")
_START: Final = ("vehicle_id", "mark_us")
_SINCE: Final = pl.col("since_us")
_RPM: Final = pl.col("engine_speed_rpm")


def detect_cranks(telemetry: pl.LazyFrame, *, days: Days) -> pl.LazyFrame:
    """Find the engine starts of some days.

    Args:
        telemetry: rows of silver.telemetry in `days` widened by `HALO_DAYS`, in any order; more days do no harm.
            Null means not measured.
        days: UTC event days whose starts are wanted.

    Returns:
        Rows of gold.CRANKS, one per start with ``event_date`` in `days`, by vehicle and start.
    """
    samples = samples_of(telemetry)
    series = held(voltage_series(samples))
    engine = held(_engine(samples))
    dips = held(_starts_by_dip(series, engine))
    starts = pl.concat([dips, _starts_by_engine(engine, dips, series)], how="diagonal_relaxed")
    is_wanted = _instant("mark_us").dt.date().is_between(days.first, days.last)
    starts = held(starts.filter(is_wanted))
    described = _with_conditions(_with_rest(_with_engine(starts, engine), samples, series), samples)
    return _rows(described)


def running_instants(samples: pl.LazyFrame) -> pl.LazyFrame:
    """Instants at which a vehicle's engine ran, moved or charged: vehicle_id, at_us, and the same as ran_us."""
    voltage = pl.max_horizontal("adapter_voltage_v", "control_module_voltage_v")
    shown = samples.filter((_RPM > 0) | (pl.col("speed_kmh") > 0) | (voltage >= CHARGING_V))
    return shown.select("vehicle_id", "at_us", ran_us="at_us").unique()


def samples_of(telemetry: pl.LazyFrame) -> pl.LazyFrame:
    """What is used of a sample, its time in microseconds, and whether it is of a parked car."""
    is_off = (pl.col("ignition") <= 0).fill_null(value=False)
    is_parked = pl.col("phase").is_in(PARKED_PHASES) | (pl.col("phase").is_null() & is_off)
    return telemetry.select(
        "vehicle_id",
        "device_id",
        "adapter_voltage_v",
        "control_module_voltage_v",
        "speed_kmh",
        *_TEMPERATURES,
        "fuel_type_code",
        "latitude_deg",
        "longitude_deg",
        pl.when(_RPM.is_between(0, MAX_ENGINE_SPEED_RPM)).then(_RPM).alias("engine_speed_rpm"),
        at_us=pl.col("event_at").dt.epoch("us"),
        is_parked=is_parked.fill_null(value=False),
    )


def _engine(samples: pl.LazyFrame) -> pl.LazyFrame:
    """Engine speed by vehicle and instant, sorted; the highest where two devices report."""
    measured = samples.filter(_RPM.is_not_null())
    return measured.group_by("vehicle_id", "at_us").agg(_RPM.max()).sort("vehicle_id", "at_us")


def _starts_by_dip(series: pl.LazyFrame, engine: pl.LazyFrame) -> pl.LazyFrame:
    """Dips after which the engine turned, and before which it did not; the best one where several show a start."""
    dips = held(measure_dips(series, held(find_dips(series))))
    seen = around(
        engine, dips.select(*_KEY), by=["vehicle_id"], before_us=_ENGINE_BEFORE_US, after_us=_ENGINE_AFTER_US + 1
    )
    turned = _SINCE >= -_JUST_BEFORE_US
    told = seen.group_by(*_KEY).agg(
        before_rpm=_RPM.filter(~turned).sort_by(_SINCE.filter(~turned)).last(),
        is_asked=turned.any(),
        is_turning=(turned & (_RPM > 0)).any(),
    )
    ran_before = pl.col("before_rpm").fill_null(0) > 0
    # Where nobody asked the engine, 13.2 V say that it ran.
    charged_before = pl.col("before_rpm").is_null() & is_charging(pl.col("before_uv"))
    is_asked, is_turning = (pl.col(name).fill_null(value=False) for name in ("is_asked", "is_turning"))
    is_charged_after = ~is_asked & is_charging(pl.col("charged_uv")).fill_null(value=False)
    confirmed = held(
        dips.join(told, on=_KEY, how="left")
        .filter(~ran_before & ~charged_before & (is_turning | is_charged_after))
        .with_columns(
            confirmed_by=pl.when(is_turning).then(pl.lit("engine_speed")).otherwise(pl.lit("charging")),
            method=pl.lit("voltage_dip"),
        )
        .drop("before_rpm", "is_asked", "is_turning")
    )
    deepest = held(without_worse_neighbours(confirmed, by=SERIES, rank=(pl.col("depth_uv"),)))
    is_of_module = pl.col("voltage_source") == "control_module"
    best_rank = (-pl.col("plateau_samples"), is_of_module.cast(pl.Int64))
    return without_worse_neighbours(deepest, by=("vehicle_id",), rank=best_rank)


def _starts_by_engine(engine: pl.LazyFrame, dips: pl.LazyFrame, series: pl.LazyFrame) -> pl.LazyFrame:
    """Engine speeds that rise from 0 without a dip nearby: the voltage was read too slowly or not at all."""
    previous_rpm, previous_at = (pl.col(name).shift().over("vehicle_id") for name in ("engine_speed_rpm", "at_us"))
    rises = held(
        engine.filter((_RPM > 0) & (previous_rpm == 0) & (pl.col("at_us") - previous_at <= _ENGINE_BEFORE_US))
        .with_columns(since_last_us=pl.col("at_us").diff().over("vehicle_id"))
        .filter(pl.col("since_last_us").is_null() | (pl.col("since_last_us") > NEIGHBOUR_US))
        .select("vehicle_id", mark_us="at_us")
    )
    explained = around(
        dips.select("vehicle_id", at_us="mark_us"),
        rises,
        by=["vehicle_id"],
        before_us=NEIGHBOUR_US,
        after_us=NEIGHBOUR_US + 1,
    )
    alone = held(rises.join(explained.select(*_START).unique(), on=_START, how="anti"))
    near = around(series, alone, by=["vehicle_id"], before_us=S_US, after_us=600_000)
    counted = near.group_by(*_START).agg(samples_near=pl.len().cast(pl.Int64))
    return alone.join(counted, on=_START, how="left").with_columns(
        pl.col("samples_near").fill_null(0),
        method=pl.lit("engine_speed_rise"),
        confirmed_by=pl.lit("engine_speed"),
        voltage_source=pl.lit("none"),
        device_id=pl.lit(""),
        inrush_samples=pl.lit(0, dtype=pl.Int64),
        plateau_samples=pl.lit(0, dtype=pl.Int64),
    )


def _with_engine(starts: pl.LazyFrame, engine: pl.LazyFrame) -> pl.LazyFrame:
    """How fast the engine came up."""
    after = around(engine, starts.select(*_START), by=["vehicle_id"], before_us=0, after_us=AFTER_US)
    measured = after.group_by(*_START).agg(
        engine_speed_rise_rpm=_RPM.max(), engine_started_us=_SINCE.filter(_RPM >= _STARTED_RPM).min()
    )
    return starts.join(measured, on=_START, how="left")


def _with_rest(starts: pl.LazyFrame, samples: pl.LazyFrame, series: pl.LazyFrame) -> pl.LazyFrame:
    """How long the engine had been off, how well that is known, and the resting voltage."""
    ran = running_instants(samples)
    dated = last_known(starts, ran, until_us=-S_US, within_us=_LOOK_BACK_US - S_US, names=["ran_us"])
    dated = held(dated)
    seen = around(
        samples.select("vehicle_id", "at_us").unique(),
        dated.select(*_START),
        by=["vehicle_id"],
        before_us=REST_US + _COVERED_US,
        after_us=0,
    )
    covered = seen.group_by(*_START).agg(
        is_covered=(_SINCE < -REST_US).any()
        & _SINCE.is_between(-REST_US, -REST_US + _COVERED_US, closed="left").any()
    )
    parked = (
        around(
            series.filter("is_parked").drop("is_parked"),
            dated.select(*_KEY, "ran_us"),
            by=SERIES,
            before_us=_PARKED_READING_US,
            after_us=0,
        )
        .filter(pl.col("ran_us").is_null() | (pl.col("at_us") >= pl.col("ran_us") + REST_US))
        .group_by(*_KEY)
        .agg(parked_uv=pl.col("uv").median())
    )
    return (
        dated.join(covered, on=_START, how="left")
        .join(parked, on=_KEY, how="left")
        .with_columns(off_us=pl.col("mark_us") - pl.col("ran_us"))
    )


def _with_conditions(starts: pl.LazyFrame, samples: pl.LazyFrame) -> pl.LazyFrame:
    """Temperatures and fuel type as first told at the start, and where the vehicle was last known to be."""
    for name in _TEMPERATURES:
        known = _by_instant(samples, name)
        starts = first_known(starts, known, from_us=-MINUTE_US, within_us=6 * MINUTE_US, names=[name])
    fuel = _by_instant(samples, "fuel_type_code")
    starts = first_known(starts, fuel, from_us=-MINUTE_US, within_us=31 * MINUTE_US, names=["fuel_type_code"])
    # Tenths of a degree before anything else: of two devices' positions the middle one could be anywhere.
    place = pl.struct(
        (pl.col(name) * 10).round().cast(pl.Int64).alias(f"place_{name}")
        for name in ("latitude_deg", "longitude_deg")
    )
    places = (
        samples.filter(pl.col("latitude_deg").is_between(-90, 90) & pl.col("longitude_deg").is_between(-180, 180))
        .select("vehicle_id", "at_us", place=place)
        .group_by("vehicle_id", "at_us")
        .agg(pl.col("place").sort().first())
    )
    until, within = 10 * MINUTE_US, _LOOK_BACK_US
    return last_known(starts, places, until_us=until, within_us=within, names=["place"]).unnest("place")


def _by_instant(samples: pl.LazyFrame, name: str) -> pl.LazyFrame:
    return samples.filter(pl.col(name).is_finite()).group_by("vehicle_id", "at_us").agg(pl.col(name).min())


def _rows(starts: pl.LazyFrame) -> pl.LazyFrame:
    """Name, scale and order the columns as gold.CRANKS has them."""
    is_known_running = pl.col("off_us").is_not_null() & (pl.col("off_us") < REST_US)
    is_covered = pl.col("is_covered").fill_null(value=False)
    off_method = (
        pl.when(is_known_running)
        .then(pl.lit("none"))
        .when(is_covered)
        .then(pl.lit("observed"))
        .otherwise(pl.lit("assumed"))
    )
    resting_uv = pl.coalesce("parked_uv", "before_uv")
    is_rested = ~is_known_running & resting_uv.is_not_null()
    resting_method = (
        pl.when(~is_rested)
        .then(pl.lit("none"))
        .when(pl.col("parked_uv").is_not_null())
        .then(pl.lit("parked"))
        .otherwise(pl.lit("before_start"))
    )
    is_conclusive = pl.col("plateau_samples") >= MIN_PLATEAU_SAMPLES
    columns = {
        "crank_id": pl.struct("vehicle_id", "mark_us").map_batches(_crank_ids, return_dtype=pl.String),
        "started_at": _instant("mark_us"),
        "event_date": _instant("mark_us").dt.date(),
        "resting_voltage_v": pl.when(is_rested).then(volts(resting_uv)),
        "resting_method": resting_method,
        "off_s": _seconds("off_us"),
        "off_method": off_method,
        "voltage_before_v": volts(pl.col("before_uv")),
        "inrush_min_v": volts(pl.col("inrush_uv")),
        "sampling_rate_hz": sampling_rate_hz(pl.col("samples_near")),
        "duration_s": _seconds("released_us"),
        "recovery_voltage_v": volts(pl.col("recovery_uv")),
        "engine_started_after_s": _seconds("engine_started_us"),
        "place_latitude_deg": (pl.col("place_latitude_deg") * 0.1).round(1),
        "place_longitude_deg": (pl.col("place_longitude_deg") * 0.1).round(1),
        "quality": pl.when(pl.col("plateau_samples") >= GOOD_PLATEAU_SAMPLES)
        .then(pl.lit("good"))
        .when(is_conclusive)
        .then(pl.lit("fair"))
        .otherwise(pl.lit("poor")),
        "inconclusive_reason": pl.when(pl.col("samples_near") == 0)
        .then(pl.lit("no_voltage"))
        .when(pl.col("method") == "engine_speed_rise")
        .then(pl.lit("no_dip"))
        .when(~is_conclusive)
        .then(pl.lit("too_few_samples")),
        "algo_version": pl.lit(ALGO_VERSION),
    }
    return starts.sort("vehicle_id", "mark_us").with_columns(**columns).select(*battery.CRANKS.by_name)


def _instant(us: str) -> pl.Expr:
    return pl.from_epoch(us, time_unit="us").dt.replace_time_zone("UTC")


def _seconds(us: str) -> pl.Expr:
    return (pl.col(us) * 1e-6).round(6)


def _crank_ids(keys: pl.Series) -> pl.Series:
    """Name starts by the 128-bit digest of vehicle and start (UTC epoch µs); the same in every rebuild."""
    names = [digest(f"crank\x1f{key['vehicle_id']}\x1f{key['mark_us']}".encode()) for key in keys]
    return pl.Series(names, dtype=pl.String)
