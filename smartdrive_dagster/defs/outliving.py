"""Rows of Gold that are kept when the samples that they were made of have gone: an incident carries its own."""

from __future__ import annotations

from typing import Final

import polars as pl

from smartdrive_dagster.domain.staleness import touched_pairs
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.tables import Days, Table, silver

_PAIR: Final = ["event_date", "vehicle_id"]


def without_samples(lakehouse: Lakehouse, rows: pl.DataFrame) -> pl.DataFrame:
    """Those of some rows that nothing can compute again: Silver has no sample of their vehicle and day any more.

    Where the ledger still holds lines of that vehicle and day and accepts none of them, the samples have not gone
    but were never good: such rows are not among them.

    Args:
        lakehouse: the lake.
        rows: of a table with `event_date` and `vehicle_id`.
    """
    if rows.is_empty():
        return rows
    day = rows.get_column("event_date")
    days = Days(day.min(), day.max())  # type: ignore[arg-type]
    vehicles = pl.col("vehicle_id").is_in(rows.get_column("vehicle_id").unique().to_list())
    sampled = lakehouse.scan(silver.TELEMETRY, days).filter(vehicles).select(_PAIR).unique()
    left = rows.join(sampled.collect(engine="streaming"), on=_PAIR, how="anti", maintain_order="left")
    if left.is_empty():
        return left
    lines = lakehouse.scan(silver.MESSAGES)
    accepted = touched_pairs(lines.filter(pl.col("verdict") == "accepted"), ("telemetry",))
    rejected = touched_pairs(lines, ("telemetry",)).join(accepted, on=_PAIR, how="anti")
    return left.join(rejected.collect(engine="streaming"), on=_PAIR, how="anti", maintain_order="left")


def carry_over(source: Lakehouse, target: Lakehouse, table: Table, days: Days | None = None) -> None:
    """Copy what no computation brings back from a lake into another, which has samples but not these rows.

    Args:
        source: holds the rows.
        target: what is asked for samples, and written to; what it holds already is left as it is.
        table: of Gold.
        days: event days; all, if None.
    """
    rows = without_samples(target, source.scan(table, days).collect())
    key = list(table.key)

    def absent(snapshot: Snapshot) -> pl.DataFrame:
        return rows.join(snapshot.rows().select(key).collect(), on=key, how="anti", maintain_order="left")

    if not rows.is_empty():
        target.append_once(table, absent)
