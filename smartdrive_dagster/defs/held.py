"""What a table holds already of rows that are about to be written, and where in it to look for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import polars as pl

from smartdrive_dagster.defs.landed import BronzeObject, Lines
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.tables import Table, bronze


def missing(
    rows: pl.DataFrame, table: Table, replacing: Collection[Lines] | None
) -> Callable[[Snapshot], pl.DataFrame]:
    """What of `rows` a snapshot does not hold yet, by the table's key, looking only where they could be."""
    key = list(table.key)
    partition = table.partition_by or ""

    def absent(snapshot: Snapshot) -> pl.DataFrame:
        if rows.is_empty() or replacing is not None:
            return rows.select(list(table.by_name))
        near = [pl.col(partition).is_in(rows.get_column(partition).unique().to_list())]
        if "object_key" in key:
            near.append(between_keys(rows))
        held = snapshot.rows().filter(near).select(key).collect()
        return rows.select(list(table.by_name)).join(held, on=key, how="anti")

    return absent


def with_lines(lakehouse: Lakehouse, objects: Sequence[BronzeObject]) -> list[BronzeObject]:
    """Those of some objects whose lines Bronze holds: its retention may have ended for the others."""
    days = sorted({entry.landing_date for entry in objects})
    lines = lakehouse.scan(bronze.MESSAGES).filter(pl.col("landing_date").is_in(days))
    counted = dict(lines.group_by("object_key").len().collect(engine="streaming").iter_rows())
    return [entry for entry in objects if counted.get(entry.key, 0) >= entry.lines]


def between_keys(rows: pl.DataFrame) -> pl.Expr:
    """A range instead of a list: the log knows each file's smallest and largest key, and others are not opened."""
    keys = rows.get_column("object_key")
    return pl.col("object_key").is_between(pl.lit(keys.min()), pl.lit(keys.max()))


def where_copies_are(table: Table, batch: pl.DataFrame) -> pl.Expr:
    """Copies of a message have its instants: what the log says of these spares most files."""
    if "event_date" in table.by_name:
        return pl.col("event_date").is_in(sorted(set(batch.get_column("event_date").drop_nulls())))
    said_at = "set_at" if "set_at" in table.by_name else "forecast_at"
    instants = batch.get_column(said_at)
    return pl.col(said_at).is_between(pl.lit(instants.min()), pl.lit(instants.max()))
