"""Which days of a Gold table or mart must be computed anew, derived from the ledger alone.

A ledger row names the (event day, vehicle) pairs that it touched. A pair without a day stands for all days of its
vehicle (its profile has changed), one without a vehicle for all vehicles (a forecast).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, timedelta

import polars as pl

TOUCHED_SCHEMA = pl.Schema({"event_date": pl.Date(), "vehicle_id": pl.String(), "batch": pl.Int64()})


def touched_pairs(ledger: pl.LazyFrame, channels: Collection[str]) -> pl.LazyFrame:
    """From ledger rows to (event_date, vehicle_id) with the highest batch that touched the pair.

    Args:
        ledger: rows of silver.messages.
        channels: the landing channels that matter.
    """
    return (
        ledger.filter(pl.col("channel").is_in(list(channels)), pl.col("touched").list.len() > 0)
        .select("touched", "batch")
        .explode("touched")
        .unnest("touched")
        .group_by("event_date", "vehicle_id")
        .agg(pl.col("batch").max())
    )


def arrivals(ledger: pl.LazyFrame) -> pl.LazyFrame:
    """From ledger rows to the days on which lines arrived: event_date, vehicle_id (null, all of them) and batch.

    Args:
        ledger: rows of silver.messages.
    """
    days = ledger.group_by(event_date="landing_date").agg(pl.col("batch").max())
    return days.with_columns(vehicle_id=pl.lit(None, dtype=pl.String())).select(list(TOUCHED_SCHEMA))


def with_every_day(touched: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Replace pairs without a day by all days of the vehicle.

    Args:
        touched: `touched_pairs` of newer ledger rows.
        known: `touched_pairs` of the whole ledger.
    """
    whole = touched.filter(pl.col("event_date").is_null()).select("vehicle_id", "batch")
    days = known.drop_nulls().select("event_date", "vehicle_id")
    spread = whole.join(days, on="vehicle_id").select(list(TOUCHED_SCHEMA))
    return (
        pl.concat([touched.drop_nulls("event_date"), spread])
        .group_by("event_date", "vehicle_id")
        .agg(pl.col("batch").max())
    )


def candidate_days(touched: pl.DataFrame, halo: int) -> list[date]:
    """All days whose window (the day and `halo` days on both sides) holds a touched day."""
    return with_neighbours(touched.get_column("event_date").unique().to_list(), halo)


def with_neighbours(days: Collection[date], halo: int) -> list[date]:
    """The days, and `halo` days on both sides of each."""
    return sorted({day + timedelta(offset) for day in days for offset in range(-halo, halo + 1)})


def stale_days(touched: pl.DataFrame, fresh_until: Mapping[date, int], halo: int) -> list[date]:
    """Days that a later batch touched than the one their last computation had seen.

    Args:
        touched: event_date and batch.
        fresh_until: per candidate day the batch its last computation had seen; 0 for never.
        halo: days on both sides that a day's rows depend on.
    """
    newest: dict[date, int] = {}
    for day, batch in touched.group_by("event_date").agg(pl.col("batch").max()).iter_rows():
        for offset in range(-halo, halo + 1):
            near = day + timedelta(offset)
            newest[near] = max(newest.get(near, 0), batch)
    return sorted(day for day, seen in fresh_until.items() if newest.get(day, 0) > seen)


def days_touched_since(touched: pl.DataFrame, fresh_until: Mapping[date, int], halo: int) -> list[date]:
    """Touched days that make a day stale: a batch touched them which a day within `halo` days has not seen.

    Args:
        touched: event_date and batch.
        fresh_until: per day the batch its last computation had seen; 0 for never.
        halo: days on both sides that a day's rows depend on.
    """
    newest = touched.group_by("event_date").agg(pl.col("batch").max())
    near = [timedelta(offset) for offset in range(-halo, halo + 1)]
    return sorted(
        day
        for day, batch in newest.iter_rows()
        if any(batch > fresh_until[day + offset] for offset in near if day + offset in fresh_until)
    )


def vehicles_touching(touched: pl.DataFrame, fresh_until: Mapping[date, int], halo: int) -> set[str] | None:
    """Vehicles with a pair in the window of any of the days, touched after that day's last computation.

    Returns:
        Their ids; None where a pair stands for all vehicles.
    """
    found: set[str | None] = set()
    for day, seen in fresh_until.items():
        window = pl.col("event_date").is_between(day - timedelta(halo), day + timedelta(halo))
        found |= set(touched.filter(window & (pl.col("batch") > seen)).get_column("vehicle_id"))
    named = {vehicle for vehicle in found if vehicle is not None}
    return named if len(named) == len(found) else None
