"""What a recomputation changes: rows before and after, told per vehicle and day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from smartdrive_dagster.tables import Table

_OLD, _NEW = "\x1fold", "\x1fnew"
_NUMERIC: Final = ("integer", "long", "double")


@dataclass(frozen=True, slots=True)
class Change:
    """What changes for one vehicle on one day.

    Attributes:
        vehicle_id: None where the table has no vehicles.
        day: of the table's partition column.
        added: rows whose key is new.
        removed: rows whose key is gone.
        changed: rows of the same key and other content.
        columns: the columns that differ in those, in the table's order.
        values: numeric columns of the day that differ, before and after: the sum, or what a name that begins with
            ``max_``, ``min_`` or ``mean_`` says; of a share (``_pct``) the mean. None is null, or no row.
    """

    vehicle_id: str | None
    day: date
    added: int
    removed: int
    changed: int
    columns: tuple[str, ...]
    values: dict[str, tuple[float | None, float | None]]


def changes(table: Table, old: pl.DataFrame, new: pl.DataFrame) -> Iterator[Change]:
    """Compare a table's rows of the same days, provenance aside; vehicles and days that are equal are left out.

    Args:
        table: partitioned by a date.
        old: its rows as they are.
        new: its rows as they would be.
    """
    column = table.partition_by or ""
    group = [name for name in ("vehicle_id", column) if name in table.by_name]
    rest = [name for name in table.content if name not in table.key]
    both = _side(table, old, _OLD).join(
        _side(table, new, _NEW), on=list(table.key), how="full", coalesce=True, nulls_equal=True
    )
    was, is_there = pl.col(_OLD).is_not_null(), pl.col(_NEW).is_not_null()
    differs = {name: was & is_there & pl.col(name + _OLD).ne_missing(pl.col(name + _NEW)) for name in rest}
    where = [
        pl.col(name) if name in table.key else pl.coalesce(name + _NEW, name + _OLD).alias(name) for name in group
    ]
    numeric = [name for name in table.content if name in rest and table.by_name[name].dtype in _NUMERIC]
    counted = (
        both.with_columns(where)
        .group_by(group)
        .agg(
            (~was).sum().alias("added"),
            (~is_there).sum().alias("removed"),
            pl.any_horizontal(False, *differs.values()).sum().alias("changed"),
            *(expression.any().alias(name + "\x1fdiffers") for name, expression in differs.items()),
            *(_total(name + side, name) for name in numeric for side in (_OLD, _NEW)),
        )
        .filter(pl.col("added") + pl.col("removed") + pl.col("changed") > 0)
        .sort(column, *group)
    )
    for row in counted.iter_rows(named=True):
        pairs = {name: (row[name + _OLD], row[name + _NEW]) for name in numeric}
        yield Change(
            row.get("vehicle_id"),
            row[column],
            row["added"],
            row["removed"],
            row["changed"],
            tuple(name for name in rest if row[name + "\x1fdiffers"]),
            {name: pair for name, pair in pairs.items() if pair[0] != pair[1]},
        )


def _side(table: Table, rows: pl.DataFrame, side: str) -> pl.DataFrame:
    return rows.select(
        *table.key,
        *(pl.col(name).alias(name + side) for name in table.content if name not in table.key),
        pl.lit(True).alias(side),
    )


def _total(column: str, name: str) -> pl.Expr:
    values = pl.col(column)
    if name.endswith("_pct"):
        return values.mean()
    for prefix, total in (("max_", values.max()), ("min_", values.min()), ("mean_", values.mean())):
        if name.startswith(prefix):
            return total
    return pl.when(values.count() > 0).then(values.sum())
