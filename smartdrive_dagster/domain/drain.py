"""Drain episodes: a parked vehicle that loses charge faster than a parked car explains, or is flat.

What a parked car explains: 50 mA through sleeping control units, which workshops commonly accept, take 1.2 Ah a
day; of the smallest common battery, 45 Ah, that is 2.7 %, with self-discharge 3 %; at 7.6 mV for each percent (the
line of charge over resting voltage) 23 mV a day. The limit is 25 mV.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from smartdrive_dagster.domain.identity import digest
from smartdrive_dagster.domain.parked_days import SETTLED_US
from smartdrive_dagster.tables import battery

ALGO_VERSION: Final = "1"

PARKED_SLOPE_V_PER_DAY: Final = -0.025
MIN_FALL_V: Final = 0.1
"""What the rest must have lost for sure: one step of an ELM327's voltmeter, which a temperature could make too."""

FLAT_READINGS: Final = 3

_DAY_S: Final = 86_400.0
_STEEP: Final = pl.col("is_steep")
_FLAT: Final = pl.col("is_flat")
_EPISODE: Final = ("vehicle_id", "episode")


def find_drain_episodes(parked_days: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
    """Join the days with a sign of a drain into episodes.

    Args:
        parked_days: rows of gold.PARKED_DAYS, the whole history of these vehicles, in any order.
        events: rows of silver.events of these vehicles: ``external_drain`` and ``resumed`` are used.

    Returns:
        All rows of gold.DRAIN_EPISODES of these vehicles, by vehicle and begin.
    """
    judged = _judged(parked_days)
    signs = pl.concat([_signs_of_days(judged), _signs_of_events(events)], how="diagonal_relaxed").sort(
        "vehicle_id", "event_date", "sign_at", "source"
    )
    gap = pl.col("event_date").diff().over("vehicle_id").dt.total_days()
    numbered = signs.with_columns(episode=(gap.fill_null(2) > 1).cum_sum().over("vehicle_id"))
    return _rows(_closed(_episodes(numbered), judged, events))


def _judged(parked_days: pl.LazyFrame) -> pl.LazyFrame:
    """Say of each day whether the voltage fell too steeply for sure, and whether the battery was flat."""
    span_days = (pl.col("rested_s") - SETTLED_US * 1e-6) * (1 / _DAY_S)
    surely = pl.col("slope_high_v_per_day")
    is_steep = (surely <= PARKED_SLOPE_V_PER_DAY) & (surely * span_days <= -MIN_FALL_V)
    return parked_days.with_columns(
        is_steep=is_steep.fill_null(value=False), is_flat=pl.col("flat_readings") >= FLAT_READINGS
    )


def _signs_of_days(judged: pl.LazyFrame) -> pl.LazyFrame:
    # A steep slope is known at the day's last reading; a flat battery from its first low one on.
    return judged.filter(_STEEP | _FLAT).select(
        "vehicle_id",
        "event_date",
        "is_steep",
        "is_flat",
        "min_voltage_v",
        "slope_v_per_day",
        "slope_low_v_per_day",
        "slope_high_v_per_day",
        "inconclusive_reason",
        sign_at=pl.when(_FLAT).then(pl.col("flat_since")).otherwise(pl.col("last_reading_at")),
        seen_at=pl.col("last_reading_at"),
        source=pl.lit("day"),
    )


def _signs_of_events(events: pl.LazyFrame) -> pl.LazyFrame:
    voltage = pl.col("detail").str.json_path_match("$.voltage_v").cast(pl.Float64, strict=False)
    return events.filter(pl.col("type") == "external_drain").select(
        "vehicle_id",
        "event_date",
        is_steep=pl.lit(value=False),
        is_flat=pl.lit(value=False),
        min_voltage_v=voltage,
        sign_at=pl.col("event_at"),
        seen_at=pl.col("event_at"),
        source=pl.lit("event"),
    )


def _episodes(numbered: pl.LazyFrame) -> pl.LazyFrame:
    """One row per episode; its slope is that of the steepest day, and of the earliest of equals."""
    order = ("slope_v_per_day", "event_date")

    def steepest(name: str) -> pl.Expr:
        of_steep = (pl.col(key).filter(_STEEP) for key in order)
        return pl.col(name).filter(_STEEP).sort_by(*of_steep).first()

    return numbered.group_by(*_EPISODE).agg(
        *(steepest(name) for name in ("slope_v_per_day", "slope_low_v_per_day", "slope_high_v_per_day")),
        pl.col("min_voltage_v").min(),
        pl.col("is_steep", "is_flat").any(),
        opened_at=pl.col("sign_at").min(),
        last_seen_at=pl.col("seen_at").max(),
        days=pl.col("event_date").n_unique().cast(pl.Int64),
        steep_days=_STEEP.sum().cast(pl.Int64),
        is_reported=(pl.col("source") == "event").any(),
        reason=pl.col("inconclusive_reason").max(),
    )


def _closed(episodes: pl.LazyFrame, judged: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
    """Add when the episode ended: at the next parked day without a sign, or when the device resumed."""
    ends = pl.concat(
        [
            judged.filter(~_STEEP & ~_FLAT).select("vehicle_id", end_at="last_reading_at"),
            events.filter(pl.col("type") == "resumed").select("vehicle_id", end_at="event_at"),
        ]
    )
    closed = (
        episodes.select(*_EPISODE, "last_seen_at")
        .join(ends, on="vehicle_id", how="inner")
        .filter(pl.col("end_at") > pl.col("last_seen_at"))
        .group_by(*_EPISODE)
        .agg(closed_at=pl.col("end_at").min())
    )
    return episodes.join(closed, on=_EPISODE, how="left")


def _rows(episodes: pl.LazyFrame) -> pl.LazyFrame:
    """Name and order the columns as gold.DRAIN_EPISODES has them."""
    is_low = _FLAT | pl.col("is_reported")
    is_twice_steep = pl.col("steep_days") > 1
    columns = {
        "drain_episode_id": pl.struct("vehicle_id", pl.col("opened_at").dt.epoch("us")).map_batches(
            _episode_ids, return_dtype=pl.String
        ),
        "event_date": pl.col("opened_at").dt.date(),
        "is_open": pl.col("closed_at").is_null(),
        "method": pl.when(_STEEP & is_low)
        .then(pl.lit("slope_and_flat"))
        .when(_STEEP)
        .then(pl.lit("slope"))
        .when(_FLAT)
        .then(pl.lit("flat_readings"))
        .otherwise(pl.lit("event")),
        "severity": pl.when(is_low).then(pl.lit("critical")).otherwise(pl.lit("warning")),
        # A worn battery can be flat without a drain; a slope that held for two days is no such thing.
        "confidence": pl.when(_STEEP & (is_low | is_twice_steep)).then(pl.lit("high")).otherwise(pl.lit("medium")),
        "inconclusive_reason": pl.when(~_STEEP).then(pl.col("reason").fill_null("no_slope")),
        "algo_version": pl.lit(ALGO_VERSION),
    }
    return episodes.sort(*_EPISODE).with_columns(**columns).select(*battery.DRAIN_EPISODES.by_name)


def _episode_ids(keys: pl.Series) -> pl.Series:
    """Name episodes by the 128-bit digest of vehicle and begin (UTC epoch µs); the same in every rebuild."""
    names = [digest(f"drain\x1f{key['vehicle_id']}\x1f{key['opened_at']}".encode()) for key in keys]
    return pl.Series(names, dtype=pl.String)
