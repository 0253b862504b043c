"""The digest of a table's rows: what changes it, and what does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
import pytest

from smartdrive_dagster.lake.audit import frame_hash, row_hash
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.tables import ALL, Table, bronze, silver
from tests.conftest import RowsOf


@pytest.fixture
def samples(rows_of: RowsOf) -> pl.DataFrame:
    return rows_of(
        silver.TELEMETRY,
        *({"message_id": "m", "sample": n, "extra_signals": {"A": 1.0, "B": float(n)}} for n in range(5)),
    )


def test_order_files_and_provenance_leave_it_as_it_is(tmp_path: Path, samples: pl.DataFrame) -> None:
    lakehouse = Lakehouse(str(tmp_path))
    for part in (samples.tail(2), samples.head(3)):
        lakehouse.append_once(silver.TELEMETRY, lambda _, part=part: part.with_columns(object_key=pl.lit("y")))
    expected = frame_hash(silver.TELEMETRY, samples.lazy())
    assert row_hash(lakehouse, silver.TELEMETRY) == expected
    lakehouse.maintain(silver.TELEMETRY)
    assert row_hash(lakehouse, silver.TELEMETRY) == expected


def test_the_order_of_a_maps_entries_leaves_it_as_it_is(samples: pl.DataFrame) -> None:
    swapped = samples.with_columns(
        extra_signals=pl.col("extra_signals").map.entries().list.reverse().cast(pl.Map(pl.String(), pl.Float64()))
    )
    assert str(swapped.row(1)) != str(samples.row(1))
    assert frame_hash(silver.TELEMETRY, swapped.lazy()) == frame_hash(silver.TELEMETRY, samples.lazy())


CHANGES: Mapping[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "a row less": lambda rows: rows.head(4),
    "a row twice": lambda rows: pl.concat([rows, rows.head(1)]),
    "a row twice and another less": lambda rows: pl.concat([rows.head(4), rows.head(1)]),
    "a value": lambda rows: rows.with_columns(sample=pl.col("sample") + 1),
    "a null": lambda rows: rows.with_columns(extra_signals=None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_any_change_of_the_rows_changes_it(
    samples: pl.DataFrame, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    changed = change(samples).cast(dict(samples.schema)).lazy()
    assert frame_hash(silver.TELEMETRY, changed) != frame_hash(silver.TELEMETRY, samples.lazy())


@pytest.mark.parametrize("table", ALL, ids=str)
def test_every_table_has_one_also_when_it_is_empty(tmp_path: Path, rows_of: RowsOf, table: Table) -> None:
    lakehouse = Lakehouse(str(tmp_path))
    nothing = row_hash(lakehouse, table)
    lakehouse.append_once(table, lambda _: rows_of(table, {}))
    assert row_hash(lakehouse, table) != nothing == "0-0-0"


def test_swapped_columns_are_another_row(rows_of: RowsOf) -> None:
    one = rows_of(bronze.OBJECTS, {"size_bytes": 1, "lines": 2})
    other = rows_of(bronze.OBJECTS, {"size_bytes": 2, "lines": 1})
    assert frame_hash(bronze.OBJECTS, one.lazy()) != frame_hash(bronze.OBJECTS, other.lazy())
