"""Numbers of applications, read at once, are those that delta-rs reads one by one."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import boto3
import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from smartdrive_dagster.lake.frames import empty
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.lake.transactions import recorded
from smartdrive_dagster.tables import gold
from tests.object_store import fresh_bucket

APPS = [f"gold.trips/{number}" for number in range(5)]
VERSIONS = 12
CHECKPOINT_EACH = 5


@pytest.fixture
def table(root: str) -> DeltaTable:
    """A table with a commit for each of some applications in turn, of which each tells two numbers."""
    uri, options = f"{root}/table", Lakehouse(root).storage_options
    row = pl.DataFrame({"x": [1]})
    configuration = {"delta.checkpointInterval": str(CHECKPOINT_EACH)}
    for version in range(VERSIONS):
        told = [Transaction(APPS[version % 3], version), Transaction(APPS[3], -version)]
        write_deltalake(
            uri,
            row,
            mode="append",
            configuration=configuration,
            storage_options=options,
            commit_properties=CommitProperties(app_transactions=told),
        )
    return DeltaTable(uri, storage_options=options)


def read(table: DeltaTable, root: str) -> dict[str, int] | None:
    return recorded(f"{root}/table", table.version(), Lakehouse(root).storage_options)


def one_by_one(table: DeltaTable) -> dict[str, int]:
    found = {app_id: table.transaction_version(app_id) for app_id in APPS}
    return {app_id: number for app_id, number in found.items() if number is not None}


def test_they_are_those_of_delta_rs(table: DeltaTable, root: str) -> None:
    assert read(table, root) == one_by_one(table) == {APPS[0]: 9, APPS[1]: 10, APPS[2]: 11, APPS[3]: -11}


@pytest.mark.parametrize("root", ["disk"], indirect=True)
def test_of_an_older_version_they_are_its_own_or_nothing(table: DeltaTable, root: str) -> None:
    checkpoint = json.loads(Path(root, "table/_delta_log/_last_checkpoint").read_text())["version"]
    assert 0 < checkpoint < VERSIONS - 1
    for version in range(VERSIONS):
        table.load_as_version(version)
        assert read(table, root) == (None if version < checkpoint else one_by_one(table))


@pytest.mark.parametrize("root", ["disk"], indirect=True)
@pytest.mark.parametrize("lost", ["_last_checkpoint", "{:020}.json", "{:020}.checkpoint.parquet"])
def test_a_log_that_lies_otherwise_is_left_to_delta_rs(table: DeltaTable, root: str, lost: str) -> None:
    log = Path(root, "table/_delta_log")
    checkpoint = json.loads((log / "_last_checkpoint").read_text())["version"]
    (log / lost.format(VERSIONS - 1 if "json" in lost else checkpoint)).unlink()
    whole = one_by_one(DeltaTable(f"{root}/table")) if lost == "_last_checkpoint" else None
    assert recorded(f"{root}/table", VERSIONS - 1, {}) == whole


def test_a_table_that_was_never_told_anything_has_none(root: str) -> None:
    options = Lakehouse(root).storage_options
    write_deltalake(f"{root}/table", pl.DataFrame({"x": [1]}), storage_options=options)
    assert recorded(f"{root}/table", 0, options) == {}


def test_days_are_read_at_once_where_each_layer_has_a_bucket(
    s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = fresh_bucket(s3_endpoint).split("/")[2]
    boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1").create_bucket(Bucket=f"{bucket}-gold")
    lakehouse = Lakehouse(f"s3://{bucket}-{{layer}}/lake")
    days = [date(2025, 12, day) for day in range(1, 6)]
    lakehouse.replace_days(gold.TRIPS, lambda _: empty(gold.TRIPS), days, batch=3)

    def one_by_one(self: Snapshot, app_id: str) -> int:
        raise AssertionError(f"{app_id} was asked for alone")

    monkeypatch.setattr(Snapshot, "transaction", one_by_one)
    assert lakehouse.fresh_until(gold.TRIPS, days) == dict.fromkeys(days, 3)
