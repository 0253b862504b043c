"""Which days of a Gold table or mart must be computed anew, derived from the ledger alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import polars as pl

TOUCHED_SCHEMA = pl.Schema({"event_date": pl.Date(), "vehicle_id": pl.String(), "batch": pl.Int64()})


def touched_pairs(ledger: pl.LazyFrame) -> pl.LazyFrame:
    """From ledger rows to (event_date, vehicle_id) with the highest batch that touched the pair."""
    return (
        ledger.filter(pl.col("touched").list.len() > 0)
        .select("touched", "batch")
        .explode("touched")
        .unnest("touched")
        .group_by("event_date", "vehicle_id")
        .agg(pl.col("batch").max())
    )


def candidate_days(touched: pl.DataFrame, halo: int) -> list[date]:
    """All days whose window (the day and `halo` days on both sides) holds a touched day."""
    days = touched.get_column("event_date").unique().to_list()
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


def vehicles_touching(touched: pl.DataFrame, fresh_until: Mapping[date, int], halo: int) -> set[str]:
    """Vehicles with a pair in the window of any of the days, touched after that day's last computation."""
    found: set[str] = set()
    for day, seen in fresh_until.items():
        window = pl.col("event_date").is_between(day - timedelta(halo), day + timedelta(halo))
        found |= set(touched.filter(window & (pl.col("batch") > seen)).get_column("vehicle_id"))
    return found
