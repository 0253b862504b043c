"""Tables whose spec has changed since they were written: migrated in the log, read as they are, or refused."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from smartdrive_dagster.lake.duck import connect
from smartdrive_dagster.lake.evolution import SchemaChangeError
from smartdrive_dagster.lake.frames import polars_schema
from smartdrive_dagster.lake.lakehouse import Commit, Lakehouse
from smartdrive_dagster.tables import Column, Table

DAY = date(2025, 12, 1)
V1 = Table(
    layer="gold",
    name="grown",
    description="A table that grows.",
    columns=(
        Column("name", "string", "Name", required=True),
        Column("event_date", "date", "Day", required=True, statistics=True),
        Column("speed_kmh", "double", "Speed", unit="km/h", required=True),
    ),
    key=("name",),
    partition_by="event_date",
)
ADDED = Column("gear", "integer", "Gear", statistics=True)
V2 = replace(V1, columns=(V1.columns[0], ADDED, *V1.columns[1:], Column("extra", "map<string,double>", "More")))


def write(lakehouse: Lakehouse, table: Table, name: str, **values: object) -> Commit:
    row = {"name": name, "event_date": DAY, "speed_kmh": 50.0} | values
    frame = pl.DataFrame([dict.fromkeys(table.by_name) | row], polars_schema(table))
    return lakehouse.append_once(table, lambda snapshot: frame)


def rows(lakehouse: Lakehouse, table: Table) -> list[tuple[object, ...]]:
    return sorted(lakehouse.scan(table).select("name", "gear").collect().rows())


def data_files(lakehouse: Lakehouse, table: Table) -> set[str]:
    delta = lakehouse.open(table).delta
    assert delta is not None
    return set(delta.file_uris())


def test_a_new_column_is_added_without_rewriting_a_file(root: str) -> None:
    lakehouse = Lakehouse(f"{root}/lake")
    write(lakehouse, V1, "old")
    before = data_files(lakehouse, V1)
    write(lakehouse, V2, "new", gear=3, extra={"X": 1.0})
    assert rows(lakehouse, V2) == [("new", 3), ("old", None)]
    assert before < data_files(lakehouse, V2)
    delta = lakehouse.open(V2).delta
    assert delta is not None
    assert delta.metadata().configuration["delta.dataSkippingStatsColumns"] == "gear,event_date"
    assert {field.name: field.metadata for field in delta.schema().fields}["gear"] == {"comment": "Gear"}


@pytest.mark.parametrize("folder", ["lake", "a lake of its own"])
def test_a_reader_need_not_wait_for_the_migration(tmp_path: Path, folder: str) -> None:
    lakehouse = Lakehouse(str(tmp_path / folder))
    write(lakehouse, V1, "old")
    version = lakehouse.open(V1).version
    assert rows(lakehouse, V2) == [("old", None)]
    assert lakehouse.scan(V2).collect_schema() == polars_schema(V2)
    with connect(lakehouse, time_zone="UTC", tables=[V2]) as connection:
        assert connection.sql("select name, gear, extra from gold.grown").fetchall() == [("old", None, None)]
    assert lakehouse.open(V2).version == version
    write(lakehouse, V2, "new", gear=1)
    assert rows(lakehouse, V2) == [("new", 1), ("old", None)]  # the old file lacks the column, the table has it


def test_a_reader_of_the_older_version_goes_on(tmp_path: Path) -> None:
    lakehouse = Lakehouse(str(tmp_path))
    write(lakehouse, V2, "new", gear=3)
    assert lakehouse.scan(V1).collect().rows() == [("new", DAY, 50.0)]


def test_a_table_that_fits_its_spec_is_not_migrated_again(tmp_path: Path) -> None:
    lakehouse = Lakehouse(str(tmp_path))
    write(lakehouse, V1, "old")
    first = write(lakehouse, V2, "new", gear=3)
    assert write(lakehouse, V2, "newer", gear=4).version == first.version + 1


def test_a_column_that_need_not_be_there_any_more_may_be_null(tmp_path: Path) -> None:
    lakehouse = Lakehouse(str(tmp_path))
    write(lakehouse, V1, "old")
    relaxed = replace(V1, columns=(*V1.columns[:2], replace(V1.columns[2], required=False)))
    write(lakehouse, relaxed, "new", speed_kmh=None)
    assert sorted(lakehouse.scan(relaxed).select("name", "speed_kmh").collect().rows()) == [
        ("new", None),
        ("old", 50.0),
    ]


def test_a_new_comment_and_unit_reach_the_schema(tmp_path: Path) -> None:
    lakehouse = Lakehouse(str(tmp_path))
    write(lakehouse, V1, "old")
    described = replace(V1, columns=(*V1.columns[:2], replace(V1.columns[2], description="Ground speed")))
    write(lakehouse, described, "new")
    delta = lakehouse.open(described).delta
    assert delta is not None
    assert delta.schema().fields[2].metadata == {"comment": "Ground speed [km/h]", "unit": "km/h"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (replace(V1, columns=V1.columns[:2]), "column speed_kmh that this version does not know"),
        (
            replace(V1, columns=(*V1.columns[:2], replace(V1.columns[2], name="speed_mph"))),
            "column speed_mph is required",
        ),
        (replace(V1, columns=(*V1.columns[:2], replace(V1.columns[2], dtype="long"))), "column speed_kmh is"),
        (replace(V1, columns=(*V1.columns, replace(ADDED, required=True))), "column gear is required"),
        (replace(V1, partition_by=None), "partitioned by ['event_date'], not by []"),
    ],
    ids=["dropped", "renamed", "retyped", "required", "partitioned otherwise"],
)
def test_an_incompatible_change_is_refused_with_the_reason_and_the_way_out(
    tmp_path: Path, changed: Table, words: str
) -> None:
    lakehouse = Lakehouse(str(tmp_path))
    write(lakehouse, V1, "old")
    version = lakehouse.open(V1).version
    with pytest.raises(SchemaChangeError) as refused:
        lakehouse.append_once(
            changed,
            lambda snapshot: pl.DataFrame(
                [dict.fromkeys(changed.by_name, 1) | {"name": "new", "event_date": DAY}],
                polars_schema(changed),
            ),
        )
    assert words in str(refused.value)
    assert "smartdrive rebuild" in str(refused.value)
    assert lakehouse.open(V1).version == version


def test_a_reader_that_would_take_one_type_for_another_is_refused(tmp_path: Path) -> None:
    lakehouse = Lakehouse(str(tmp_path))
    write(lakehouse, V1, "old")
    retyped = replace(V1, columns=(*V1.columns[:2], replace(V1.columns[2], dtype="string")))
    with pytest.raises(SchemaChangeError, match="speed_kmh is"):
        lakehouse.scan(retyped)


def test_writers_that_migrate_at_once_both_succeed(tmp_path: Path) -> None:
    lakehouse = Lakehouse(str(tmp_path))
    write(lakehouse, V1, "old")
    failures: list[BaseException] = []

    def migrate(name: str) -> None:
        try:
            write(Lakehouse(str(tmp_path)), V2, name, gear=1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=migrate, args=(f"new-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(rows(lakehouse, V2)) == 7
