"""What Dagster loads: a change of the graph shows in the snapshot, and every tool can load it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from smartdrive_dagster.definitions import definitions
from smartdrive_dagster.defs.ingest import TABLES
from smartdrive_dagster.defs.specs import key
from smartdrive_dagster.lake.models import readable_tables
from smartdrive_dagster.settings import Settings

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def loaded() -> dg.Definitions:
    return definitions(Settings())


def described(spec: dg.AssetSpec) -> dict[str, object]:
    schema = spec.metadata.get("dagster/column_schema")
    return {
        "group": spec.group_name,
        "kinds": sorted(spec.kinds),
        "owners": list(spec.owners),
        "description": spec.description,
        "code_version": spec.code_version,
        "partitions": repr(spec.partitions_def),
        "freshness": repr(spec.freshness_policy),
        "deps": {dep.asset_key.to_user_string(): type(dep.partition_mapping).__name__ for dep in spec.deps},
        "columns": [column.name for column in schema.columns] if schema else None,
        "key": spec.metadata.get("key"),
    }


def test_every_asset_spec_is_as_reviewed(snapshot: SnapshotAssertion) -> None:
    specs = {spec.key.to_user_string(): described(spec) for spec in loaded().resolve_all_asset_specs()}
    assert dict(sorted(specs.items())) == snapshot


def test_jobs_sensors_schedules_and_checks_are_as_reviewed(snapshot: SnapshotAssertion) -> None:
    repository = loaded().get_repository_def()
    checks = repository.asset_graph.asset_check_keys
    assert {
        "jobs": sorted(name for name in repository.job_names if not name.startswith("__")),
        "sensors": sorted(
            f"{s.name}: {', '.join(target.job_name for target in s.targets)}, {s.default_status.name}"
            for s in repository.sensor_defs
        ),
        "schedules": sorted(f"{s.name}: {s.cron_schedule}" for s in repository.schedule_defs),
        "checks": sorted(f"{check.asset_key.to_user_string()}: {check.name}" for check in checks),
    } == snapshot


def test_every_table_that_a_reader_may_name_is_an_asset_with_its_columns_described() -> None:
    specs = {spec.key: spec for spec in loaded().resolve_all_asset_specs()}
    for table in readable_tables():
        schema = specs[key(table)].metadata["dagster/column_schema"]
        assert [column.name for column in schema.columns] == [column.name for column in table.columns]
        assert all(column.description for column in schema.columns)


def test_gold_takes_any_arrival_day_and_never_the_same_day_of_silver() -> None:
    for spec in loaded().resolve_all_asset_specs():
        if spec.group_name in {"gold", "marts"}:
            for dep in spec.deps:
                if dep.asset_key.path[0] == "silver":
                    assert isinstance(dep.partition_mapping, dg.AllPartitionMapping)


def test_one_run_at_a_time_writes_a_table() -> None:
    graph = loaded().resolve_asset_graph()
    pools = {asset.to_user_string(): graph.get(asset).pools for asset in graph.materializable_asset_keys}
    assert all(len(pool) == 1 for pool in pools.values())
    assert pools["silver/telemetry"] == pools["bronze/messages"] != pools["gold/trips"]


@pytest.mark.parametrize("job", ["erase", "expire"])
def test_what_deletes_rows_keeps_ingestion_and_gold_waiting(job: str) -> None:
    graph = loaded().resolve_asset_graph()
    pools = {pool for asset in graph.materializable_asset_keys for pool in graph.get(asset).pools}
    held = {node.definition.pool for node in loaded().resolve_job_def(job).nodes}  # type: ignore[union-attr]
    assert held == pools


@pytest.mark.parametrize(
    "command",
    [
        [str(BIN / "dagster"), "definitions", "validate", "-w", "workspace.yaml"],
        [str(BIN / "dg"), "check", "defs"],
    ],
    ids=["dagster-definitions-validate", "dg-check-defs"],
)
def test_the_code_location_loads(command: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path), "DAGSTER_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_loading_the_definitions_imports_neither_polars_nor_deltalake() -> None:
    program = (
        "import sys, smartdrive_dagster.definitions as d; d.defs().get_repository_def();"
        "print(sorted({'polars', 'deltalake', 'boto3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_a_backfill_of_a_range_targets_the_same_days_of_all_bronze_and_silver_tables(
    seed: str, tmp_path: Path
) -> None:
    program = """
import sys, time, dagster as dg
from dagster._core.execution.asset_backfill import AssetBackfillData
from smartdrive_dagster.definitions import definitions
from smartdrive_dagster.settings import Settings
graph = definitions(Settings()).resolve_asset_graph()
chosen = [key for key in graph.materializable_asset_keys if key.path[0] in ("bronze", "silver")]
with dg.DagsterInstance.local_temp(sys.argv[1]) as instance:
    data = AssetBackfillData.from_asset_partitions(
        graph, ["2025-12-01", "2025-12-02"], chosen, instance, time.time(), False)
    subsets = [data.target_subset.partitions_subsets_by_asset_key[key] for key in chosen]
    print(len(subsets), sum(subset != subsets[0] for subset in subsets), len(subsets[0]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [str(len(TABLES)), "0", "2"], done.stderr
