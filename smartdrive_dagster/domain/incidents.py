"""Incidents: crash-like events, each with the telemetry around it and a digest over that.

An incident begins with a sign of a crash that no other sign precedes by up to `KEEP_S`: a reading of the
accelerometer at or over `IMPACT_G`, a speed that falls at that rate over a second, or one that falls as no brake
makes it. Signs within `KEEP_S` after it belong to
it, so a sensor that stays mad makes one incident and not thousands. `docs/explanation/driving.md` has the limits.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec
import polars as pl

from smartdrive_dagster.domain.identity import digest
from smartdrive_dagster.domain.motion import (
    NO_BRAKE_G,
    SERIES,
    STANDARD_GRAVITY_MPS2,
    level_accelerations,
    speed_accelerations,
    speed_readings,
)
from smartdrive_dagster.tables import Days, driving
from smartdrive_dagster.tables.signals import SIGNALS

ALGO_VERSION: Final = "1"

HALO_DAYS: Final = 2
"""Days of Silver on both sides that a day's incidents depend on: 30 s of the days beside it, and what those need
of their own (a whole day for a sensor's bias, seconds for a speed that falls)."""

IMPACT_G: Final = 0.8
KEEP_S: Final = 30.0
MAX_FALL_S: Final = 10.0
"""A fall of speed between readings further apart says nothing of how it fell."""
LEAST_FALL_KMH: Final = 15.0
REBOUND_S: Final = 5.0
"""After a crash the speed stays low. A speed that is back above half within this time was never lost."""
AROUND_S: Final = 5.0
MOVING_KMH: Final = 5.0

_US: Final = 1_000_000
_KEEP_US: Final = round(KEEP_S * _US)
_AT = pl.col("at_us")
_SPEED = pl.col("speed_kmh")
_G_PER_KMH_US: Final = _US / (3.6 * STANDARD_GRAVITY_MPS2)
_SIGNAL_NAMES: Final = tuple(column.name for column in SIGNALS)


def detect_incidents(telemetry: pl.LazyFrame, *, days: Days) -> pl.LazyFrame:
    """Find the crash-like events that began within some days.

    Args:
        telemetry: rows of silver.telemetry in `days` widened by `HALO_DAYS`, in any order; more days do no harm.
            Used are ``vehicle_id``, ``event_at``, ``speed_kmh`` and, if they are there, ``message_id``,
            ``sample``, ``device_id``, ``phase`` and every signal. Phases other than driving count too: a parked
            car can be hit.
        days: UTC event days whose incidents are wanted.

    Returns:
        Rows of driving.INCIDENTS, by vehicle and start.
    """
    speeds = (
        speed_readings(telemetry)
        .group_by("vehicle_id", "at_us")
        .agg(lowest_kmh=_SPEED.min(), highest_kmh=_SPEED.max())
        .sort("vehicle_id", "at_us")
        .cache()
    )
    signs = pl.concat([_impacts(telemetry), _drops(telemetry)])
    began = _instant("started_us").dt.date().is_between(days.first, days.last)
    found = _with_speeds(_incidents(signs).filter(began), speeds)
    return _rows(_with_telemetry(found, telemetry))


def altered_incidents(incidents: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of driving.INCIDENTS whose telemetry is not what its digest was made of."""
    made_of = pl.col("telemetry").map_batches(_sha256, return_dtype=pl.String)
    return incidents.filter(made_of != pl.col("telemetry_sha256"))


def _impacts(telemetry: pl.LazyFrame) -> pl.LazyFrame:
    """Single readings over the limit: a crash's pulse lasts a tenth of a second, and a mean would flatten it."""
    strength = (pl.col("x_g").fill_null(0.0).pow(2) + pl.col("y_g").fill_null(0.0).pow(2)).sqrt()
    return (
        level_accelerations(telemetry)
        .select("vehicle_id", "at_us", strength_g=strength, kind=pl.lit("impact"))
        .filter(pl.col("strength_g") >= IMPACT_G)
    )


def _drops(telemetry: pl.LazyFrame) -> pl.LazyFrame:
    """Falls of one device's speed that no brake makes, from one reading to the next, and stops at its limit.

    A speed that comes back was never lost: the reading failed, or a wheel locked.
    """
    readings = speed_readings(telemetry)
    took = _AT.diff().over(*SERIES)
    fell = _SPEED.shift().over(*SERIES) - _SPEED
    is_fall = (
        (took <= round(MAX_FALL_S * _US)) & (fell >= LEAST_FALL_KMH) & (fell * _G_PER_KMH_US >= NO_BRAKE_G * took)
    )
    falls = readings.filter(is_fall.fill_null(value=False)).join(
        readings.with_columns(strength_g=_per_us(fell * _G_PER_KMH_US, took), half_kmh=_SPEED + fell * 0.5),
        on=[*SERIES, "at_us"],
    )
    strength = -pl.col("acceleration_g")
    stops = speed_accelerations(telemetry).filter(strength.is_between(IMPACT_G, NO_BRAKE_G))
    columns = (*SERIES, "at_us", "strength_g", "half_kmh")
    drops = pl.concat(
        [
            falls.select(*columns, kind=pl.lit("speed_drop")),
            stops.with_columns(
                strength_g=strength, half_kmh=_SPEED - strength * (_US / _G_PER_KMH_US * 0.5)
            ).select(*columns, kind=pl.lit("hard_stop")),
        ]
    ).cache()
    back = (
        drops.join(readings.select(*SERIES, later_us="at_us", later_kmh="speed_kmh"), on=list(SERIES))
        .filter(pl.col("later_us").is_between(_AT, _AT + round(REBOUND_S * _US)))
        .filter(pl.col("later_kmh") > pl.col("half_kmh"))
        .select(*SERIES, "at_us", "kind")
        .unique()
    )
    return drops.join(back, on=[*SERIES, "at_us", "kind"], how="anti").select(
        "vehicle_id", "at_us", "strength_g", "kind"
    )


def _per_us(amount: pl.Expr, us: pl.Expr) -> pl.Expr:
    """A quotient to a millionth, of integers: see `motion`."""
    return ((amount * 1e6).round().cast(pl.Int64) // us * 1e-6).round(6)


def _incidents(signs: pl.LazyFrame) -> pl.LazyFrame:
    """Join signs: one row per incident with vehicle_id, started_us, ended_us, strengths and sources."""
    is_new = (_AT.diff() > _KEEP_US) | (pl.col("vehicle_id") != pl.col("vehicle_id").shift())
    return (
        signs.sort("vehicle_id", "at_us", "kind", "strength_g")
        .with_columns(chain=is_new.fill_null(value=True).cum_sum())
        .filter(_AT.min().over("chain") + _KEEP_US >= _AT)
        .group_by("chain")
        .agg(
            pl.col("vehicle_id").first(),
            started_us=_AT.min(),
            ended_us=_AT.max(),
            strength_g=pl.col("strength_g").max(),
            has_drop=(pl.col("kind") == "speed_drop").any(),
            has_speed=(pl.col("kind") != "impact").any(),
            has_accelerometer=(pl.col("kind") == "impact").any(),
        )
    )


def _with_speeds(incidents: pl.LazyFrame, speeds: pl.LazyFrame) -> pl.LazyFrame:
    """Add speed_before_kmh and speed_after_kmh, and whether it moved within `KEEP_S` before."""
    start = pl.col("started_us")
    around = round(AROUND_S * _US)
    before = _AT.is_between(start - around, start, closed="left")
    after = _AT.is_between(start, start + around)
    near = (
        incidents.select("chain", "vehicle_id", "started_us")
        .join(speeds, on="vehicle_id")
        .filter(_AT.is_between(start - _KEEP_US, start + around))
        .group_by("chain")
        .agg(
            speed_before_kmh=pl.col("highest_kmh").filter(before).max(),
            speed_after_kmh=pl.col("lowest_kmh").filter(after).min(),
            is_moving=(pl.col("highest_kmh").filter(start >= _AT) >= MOVING_KMH).any(),
        )
    )
    return incidents.join(near, on="chain", how="left")


def _with_telemetry(incidents: pl.LazyFrame, telemetry: pl.LazyFrame) -> pl.LazyFrame:
    """Add the samples around each incident as JSON, their number and their digest."""
    present = telemetry.collect_schema().names()
    kept = [name for name in ("message_id", "sample", "phase", *_SIGNAL_NAMES, "extra_signals") if name in present]
    start = pl.col("started_us")
    around = (
        incidents.select("chain", "vehicle_id", "started_us")
        .join(telemetry.select("vehicle_id", *kept, at_us=pl.col("event_at").dt.epoch("us")), on="vehicle_id")
        .filter(_AT.is_between(start - _KEEP_US, start + _KEEP_US))
        .group_by("chain")
        .agg(samples=pl.len().cast(pl.Int64), rows=pl.struct("at_us", *kept))
        .with_columns(telemetry=pl.col("rows").map_batches(_as_json, return_dtype=pl.String))
        .drop("rows")
        .with_columns(telemetry_sha256=pl.col("telemetry").map_batches(_sha256, return_dtype=pl.String))
    )
    return incidents.join(around, on="chain")


def _as_json(batches: pl.Series) -> pl.Series:
    return pl.Series([incident_json(rows) for rows in batches.to_list()], dtype=pl.String)


def incident_json(rows: list[dict[str, Any]]) -> str:
    """Write samples column by column, in one way only: by time and identity, signals that were measured, by name.

    Args:
        rows: ``at_us`` and any of ``message_id``, ``sample``, ``phase``, the signals' columns and
            ``extra_signals`` (pairs of name and value).
    """
    ordered = sorted(rows, key=lambda row: (row["at_us"], row.get("message_id") or "", row.get("sample") or 0))
    signals: dict[str, list[Any]] = {}
    for name in ("phase", *_SIGNAL_NAMES):
        values = [row.get(name) for row in ordered]
        if any(value is not None for value in values):
            signals[name] = values
    extras = [_pairs(row.get("extra_signals")) for row in ordered]
    for name in sorted({name for extra in extras for name in extra}):
        signals[name] = [extra.get(name) for extra in extras]
    content = {
        "schema": "incident-telemetry.v1",
        "t_us": [row["at_us"] for row in ordered],
        "signals": dict(sorted(signals.items())),
    }
    return msgspec.json.encode(content).decode()


def _pairs(extra: Any) -> dict[str, float | None]:
    """A map as Polars gives it: a dictionary, or a list of its pairs."""
    if not extra:
        return {}
    if isinstance(extra, dict):
        return extra
    return {
        pair["key"] if isinstance(pair, dict) else pair[0]: pair["value"] if isinstance(pair, dict) else pair[1]
        for pair in extra
    }


def _sha256(texts: pl.Series) -> pl.Series:
    return pl.Series([hashlib.sha256(text.encode()).hexdigest() for text in texts], dtype=pl.String)


def _rows(found: pl.LazyFrame) -> pl.LazyFrame:
    both = pl.col("has_speed") & pl.col("has_accelerometer")
    source = (
        pl.when(both)
        .then(pl.lit("both"))
        .when("has_speed")
        .then(pl.lit("speed"))
        .otherwise(pl.lit("accelerometer"))
    )
    moved = pl.col("has_speed") | pl.col("is_moving").fill_null(value=False)
    columns = {
        "incident_id": pl.struct("vehicle_id", "started_us").map_batches(_incident_ids, return_dtype=pl.String),
        "kind": pl.when("has_accelerometer")
        .then(pl.lit("impact"))
        .when("has_drop")
        .then(pl.lit("speed_drop"))
        .otherwise(pl.lit("hard_stop")),
        "started_at": _instant("started_us"),
        "ended_at": _instant("ended_us"),
        "event_date": _instant("started_us").dt.date(),
        "peak_g": pl.col("strength_g"),
        "source": source,
        "confidence": pl.when(both)
        .then(pl.lit("high"))
        .when(moved)
        .then(pl.lit("medium"))
        .otherwise(pl.lit("low")),
        "algo_version": pl.lit(ALGO_VERSION),
    }
    ordered = found.sort("vehicle_id", "started_us")
    return ordered.with_columns(**columns).select(*driving.INCIDENTS.by_name)


def _instant(us: str) -> pl.Expr:
    return pl.from_epoch(us, time_unit="us").dt.replace_time_zone("UTC")


def _incident_ids(keys: pl.Series) -> pl.Series:
    names = [digest(f"{key['vehicle_id']}\x1f{key['started_us']}".encode()) for key in keys]
    return pl.Series(names, dtype=pl.String)
