"""From a Table to everything that Dagster shows of it, so that no asset repeats what its spec says."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import dagster as dg

from smartdrive_dagster.tables import Column, Table

if TYPE_CHECKING:
    from smartdrive_dagster.lake.frames import BatchRejectedError

OWNERS: Final = ["team:smartdrive"]
BATCH_CHECK: Final = "batch_follows_spec"
_FRESHNESS: Final = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=72), warn_window=timedelta(hours=36)
)


def key(table: Table | str) -> dg.AssetKey:
    """The asset key of a table, given as itself or as ``layer.name``."""
    return dg.AssetKey(str(table).split("."))


def pool(table: Table) -> str:
    """The pool that lets one run at a time write the table."""
    return f"{table.layer}_{table.name}"


def any_day_of(table: Table | str) -> dg.AssetDep:
    """A dependency on all days of a table.

    Event days and arrival days have nothing to do with one another, although both are days; Dagster's default
    mapping would pair equal dates.
    """
    return dg.AssetDep(key(table), partition_mapping=dg.AllPartitionMapping())


def near_day_of(table: Table | str) -> dg.AssetDep:
    """A dependency of a local day on the UTC days that it overlaps: the same one and its neighbours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # tomorrow has no partition yet, and nothing to read
        neighbours = dg.TimeWindowPartitionMapping(
            start_offset=-1, end_offset=1, allow_nonexistent_upstream_partitions=True
        )
    return dg.AssetDep(key(table), partition_mapping=neighbours)


def asset_spec(
    table: Table,
    *,
    kinds: set[str],
    deps: Iterable[dg.AssetDep] = (),
    partitions_def: dg.PartitionsDefinition[str],
    code_version: str,
) -> dg.AssetSpec:
    """The full specification of a table's asset."""
    return dg.AssetSpec(
        key(table),
        deps=list(deps),
        description=table.description,
        group_name=table.layer,
        kinds=kinds,
        owners=OWNERS,
        code_version=code_version,
        partitions_def=partitions_def,
        freshness_policy=_FRESHNESS,
        metadata={
            "dagster/column_schema": _column_schema(table),
            "dagster/table_name": str(table),
            "key": ", ".join(table.key),
            "partitioned by": table.partition_by or "nothing",
        },
    )


def batch_check_spec(table: Table, data_tests: Iterable[str] = ()) -> dg.AssetCheckSpec:
    """The check that every batch passes before its commit, with what the data tests of its model ask for.

    One check for all of them: it names whatever breaks, and each further check would be three events in each run.
    """
    also = f" Data tests: {', '.join(data_tests)}." if data_tests else ""
    return dg.AssetCheckSpec(
        BATCH_CHECK,
        asset=key(table),
        description="Before each commit: columns and types of the spec, no null where one is required, accepted "
        f"values only, no key twice. A batch that fails is not committed.{also}",
    )


def batch_passed(table: Table, rows: int) -> dg.AssetCheckResult:
    """Report that all batches of a run followed the spec (one that had not would have ended it)."""
    return dg.AssetCheckResult(asset_key=key(table), check_name=BATCH_CHECK, passed=True, metadata={"rows": rows})


def batch_failed(error: BatchRejectedError) -> dg.AssetCheckResult:
    """Report the rules that a refused batch breaks: counts, no rows."""
    return dg.AssetCheckResult(
        asset_key=key(error.table),
        check_name=BATCH_CHECK,
        passed=False,
        metadata={violation.column: str(violation) for violation in error.violations},
    )


def is_backfill(run: dg.DagsterRun) -> bool:
    """Whether a run was launched by a backfill, which computes anew; every other run does what is left to do."""
    return "dagster/backfill" in run.tags


def _column_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema(columns=[_table_column(column, table) for column in table.columns])


def _table_column(column: Column, table: Table) -> dg.TableColumn:
    return dg.TableColumn(
        column.name,
        column.dtype,
        column.comment,
        constraints=dg.TableColumnConstraints(
            nullable=not column.required,
            unique=table.key == (column.name,),
            other=list(_other_constraints(column)),
        ),
    )


def _other_constraints(column: Column) -> Iterator[str]:
    if column.accepted is not None:
        yield f"one of {', '.join(column.accepted)}"
