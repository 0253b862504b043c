"""Gold: event days that the ledger shows as touched, computed anew for the vehicles that touched them."""

from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import dagster as dg

from smartdrive_dagster.defs.computations import Computation, computations
from smartdrive_dagster.defs.partitions import EVENT_DAYS
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.specs import (
    BATCH_CHECK,
    any_day_of,
    asset_spec,
    batch_check_spec,
    batch_failed,
    batch_passed,
    is_backfill,
    key,
    near_day_of,
    pool,
)
from smartdrive_dagster.tables import Table, silver

if TYPE_CHECKING:
    from smartdrive_dagster.lake.lakehouse import Commit


def _asset(computation: Computation) -> dg.AssetsDefinition:
    table, model = computation.table, computation.model

    @dg.multi_asset(
        name=f"{table.layer}_{table.name}",
        specs=[
            asset_spec(
                table,
                kinds={"delta", "duckdb", "sql"} if model else {"delta", "polars"},
                deps=[*(_dep(computation, upstream) for upstream in _reads(computation))],
                partitions_def=EVENT_DAYS,
                code_version=computation.version,
            )
        ],
        check_specs=[batch_check_spec(table, [test.name for test in model.data_tests] if model else [])],
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=pool(table),
    )
    def asset(
        context: dg.AssetExecutionContext, lake: LakeResource
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:  # type: ignore[type-arg]
        from smartdrive_dagster.defs.recomputation import recompute

        commits = recompute(
            lake.retractions().lakehouse(lake.lake_url),
            computation,
            [date.fromisoformat(partition) for partition in context.partition_keys],
            lake.settings,
            redo=is_backfill(context.run),
            until=datetime.now(UTC).date(),
        )
        yield from _recomputed(context, lake, table, commits)

    return asset


def gold_assets() -> list[dg.AssetsDefinition]:
    """One asset per Gold table and per mart in `dbt_like_models/marts`."""
    return [_asset(computation) for computation in computations().values()]


def batch_checks(tables: Collection[str]) -> list[dg.AssetCheckKey]:
    """The checks that a run of some tables makes, each on a batch before its commit; the nightly ones are none."""
    return [dg.AssetCheckKey(key(table), BATCH_CHECK) for table in computations() if str(table) in tables]


def _reads(computation: Computation) -> tuple[Table, ...]:
    """What it depends on: its inputs, and for a table of Gold the ledger, which says what is stale."""
    return computation.reads if computation.model else (*computation.reads, silver.MESSAGES)


def _dep(computation: Computation, upstream: Table) -> dg.AssetDep:
    """A day of Gold needs any arrival day of Silver; a mart's local date needs the UTC days that it overlaps."""
    if upstream.layer == "silver" or computation.is_history:
        return any_day_of(upstream)
    return near_day_of(upstream)


def _recomputed(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    table: Table,
    commits: Iterator["Commit"],
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:  # type: ignore[type-arg]
    """Run the commits one by one, showing progress, and report the table."""
    from smartdrive_dagster.lake.frames import BatchRejectedError

    rows = 0
    try:
        for commit in commits:
            rows += commit.rows
            context.log.info(f"{table}: version {commit.version}, {commit.rows} rows written")
    except BatchRejectedError as error:
        yield batch_failed(error)
        raise dg.Failure(str(error), allow_retries=False) from error
    snapshot = lake.lakehouse().open(table)
    yield dg.MaterializeResult(
        asset_key=key(table),
        metadata={
            "dagster/row_count": snapshot.count(),
            "rows written": rows,
            "delta version": snapshot.version,
        },
        check_results=[batch_passed(table, rows)],
    )
