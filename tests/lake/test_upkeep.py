"""Maintenance: what it merges, deletes and gives up, and what it leaves alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from smartdrive_dagster.lake import evolution
from smartdrive_dagster.lake.audit import row_hash
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.maintenance import MaintenanceError, merge_where_fragmented
from smartdrive_dagster.lake.upkeep import excess_files, maintain
from smartdrive_dagster.tables import bronze
from tests.conftest import RowsOf

Append = Callable[..., None]
TABLE = bronze.OBJECTS
DAY = date(2025, 12, 1)


@pytest.fixture
def lakehouse(tmp_path: Path) -> Lakehouse:
    return Lakehouse(str(tmp_path / "lake"))


@pytest.fixture
def append(lakehouse: Lakehouse, rows_of: RowsOf) -> Append:
    def one(name: str, day: date = DAY) -> None:
        rows = rows_of(TABLE, {"object_key": name, "landing_date": day})
        lakehouse.append_once(TABLE, lambda _: rows)

    return one


def delta_of(lakehouse: Lakehouse) -> DeltaTable:
    delta = lakehouse.open(TABLE).delta
    assert delta is not None
    return delta


def test_excess_files_are_those_beyond_the_first_of_each_day(lakehouse: Lakehouse, append: Append) -> None:
    append("a")
    assert excess_files(delta_of(lakehouse)) == 0
    append("b", DAY + timedelta(1))
    assert excess_files(delta_of(lakehouse)) == 0
    for name in "cde":
        append(name)
    assert excess_files(delta_of(lakehouse)) == 3
    lakehouse.merge(TABLE)
    assert excess_files(delta_of(lakehouse)) == 0


def test_a_table_without_files_has_none_in_excess(lakehouse: Lakehouse, rows_of: RowsOf) -> None:
    lakehouse.append_once(TABLE, lambda _: rows_of(TABLE).clear())
    assert excess_files(delta_of(lakehouse)) == 0


def test_a_fragmented_table_is_merged_and_no_other(
    lakehouse: Lakehouse,
    append: Append,
    rows_of: RowsOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("smartdrive_dagster.lake.upkeep.MERGE_AT", 3)
    lakehouse.append_once(bronze.MESSAGES, lambda _: rows_of(bronze.MESSAGES, {}))
    for name in "abc":
        append(name)
    tables = (bronze.MESSAGES, TABLE)
    assert merge_where_fragmented(lakehouse, tables) == {}
    append("d")
    before, others = row_hash(lakehouse, TABLE), lakehouse.open(bronze.MESSAGES).version
    done = merge_where_fragmented(lakehouse, tables)
    assert done.pop("peak_memory_bytes") > 0
    assert done == {"merged_files": 4, "lost_races": 0}
    assert lakehouse.open(TABLE).files() == 1
    assert row_hash(lakehouse, TABLE) == before
    assert lakehouse.open(bronze.MESSAGES).version == others
    assert merge_where_fragmented(lakehouse, tables) == {}


def test_a_merge_without_memory_is_an_error_that_leaves_the_rows(
    lakehouse: Lakehouse,
    append: Append,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("smartdrive_dagster.lake.upkeep.MERGE_AT", 1)
    for name in "ab":
        append(name)
    with pytest.raises(MaintenanceError, match=r"bronze\.objects: maintenance ended with"):
        merge_where_fragmented(lakehouse, [TABLE], memory_bytes=16 << 20)
    assert lakehouse.scan(TABLE).select(pl.len()).collect().item() == 2


def test_files_of_a_writer_that_died_before_its_commit_go_once_they_are_old(
    lakehouse: Lakehouse, append: Append
) -> None:
    append("a")
    folder = Path(lakehouse.uri(TABLE), f"landing_date={DAY}")
    (committed,) = folder.glob("*.parquet")
    young, old = folder / "part-00000-young.parquet", folder / "part-00000-old.parquet"
    for orphan in (young, old):
        orphan.write_bytes(committed.read_bytes())
    eight_days_ago = time.time() - 8 * 86_400
    for path in (old, committed):
        os.utime(path, (eight_days_ago, eight_days_ago))
    done = lakehouse.maintain(TABLE)
    assert done.deleted_files == 1
    assert not old.exists()
    assert young.exists(), "a writer may be about to commit it"
    assert committed.exists()


def test_the_log_and_the_files_of_old_versions_live_equally_long(lakehouse: Lakehouse, append: Append) -> None:
    append("a")
    configuration = delta_of(lakehouse).metadata().configuration
    assert configuration["delta.logRetentionDuration"] == configuration["delta.deletedFileRetentionDuration"]
    assert configuration["delta.logRetentionDuration"] == evolution.RETENTION == "interval 168 hours"


def test_old_versions_go_with_their_files_and_log_when_the_retention_is_over(
    lakehouse: Lakehouse,
    append: Append,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evolution, "RETENTION", "interval 1 seconds")
    for name in "abc":
        append(name)
    lakehouse.maintain(TABLE)
    first = delta_of(lakehouse).version()
    time.sleep(1.5)
    append("d")
    done = lakehouse.maintain(TABLE)
    assert done.deleted_files >= 3
    log = sorted(path.name for path in Path(lakehouse.uri(TABLE), "_delta_log").glob("*.json"))
    assert min(int(name.removesuffix(".json")) for name in log) >= first
    assert lakehouse.scan(TABLE).collect().height == 4


class _Losing:
    """Opens a table, and replaces its rows behind the back of those who opened it some of the times."""

    def __init__(self, lakehouse: Lakehouse, times: range) -> None:
        self.lakehouse, self.times, self.opened = lakehouse, times, 0

    def __call__(self) -> DeltaTable:
        delta = delta_of(self.lakehouse)
        self.opened += 1
        if self.opened in self.times:
            rows = self.lakehouse.scan(TABLE).collect()
            self.lakehouse.replace(TABLE, lambda _: rows.head(1), predicate="true")
            self.lakehouse.append_once(TABLE, lambda _: rows.tail(-1))
        return delta


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (range(0), (3, 1, 0)),
        (range(1, 3), (2, 1, 2)),
        (range(1, 6), (0, 1, 5)),
        (range(2, 4), (3, 1, 2)),
        (range(2, 7), (3, 0, 5)),
    ],
    ids=["nothing", "two merges", "all merges", "two deletions", "all deletions"],
)
def test_what_loses_to_a_writer_is_tried_again_and_given_up_in_peace(
    lakehouse: Lakehouse,
    append: Append,
    times: range,
    expected: tuple[int, int, int],
) -> None:
    for name in "abc":
        append(name)
    before = row_hash(lakehouse, TABLE)
    orphan = Path(lakehouse.uri(TABLE), "part-of-a-writer-that-died.parquet")
    orphan.write_bytes(b"")
    os.utime(orphan, (0, 0))
    done = maintain(_Losing(lakehouse, times), is_remote=False)
    assert (done.merged_files, done.deleted_files, done.lost_races) == expected
    assert orphan.exists() is (done.deleted_files == 0)
    assert row_hash(lakehouse, TABLE) == before


@pytest.mark.parametrize(("times", "lost"), [(1, 1), (9, 5)])
def test_log_entries_that_another_clean_up_took_fail_nobody(
    lakehouse: Lakehouse, append: Append, monkeypatch: pytest.MonkeyPatch, times: int, lost: int
) -> None:
    append("a")
    clean_up, left = DeltaTable.cleanup_metadata, iter(range(times))

    def overtaken(delta: DeltaTable) -> None:
        if next(left, None) is not None:
            raise FileNotFoundError(
                f"Object at location {delta.table_uri}/_delta_log/00000000000000000000.json not found"
            )
        clean_up(delta)

    monkeypatch.setattr(DeltaTable, "cleanup_metadata", overtaken)
    done = maintain(lambda: delta_of(lakehouse), is_remote=False)
    assert (done.files, done.lost_races) == (1, lost)


def test_a_file_that_is_missing_for_good_is_told(lakehouse: Lakehouse, append: Append) -> None:
    append("a")
    append("b")
    next(Path(lakehouse.uri(TABLE)).rglob("part-*.parquet")).unlink()
    with pytest.raises((DeltaError, FileNotFoundError), match="parquet"):
        maintain(lambda: delta_of(lakehouse), is_remote=False)
