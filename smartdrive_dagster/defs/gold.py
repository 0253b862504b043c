"""Gold: event days that the ledger shows as touched, computed anew for the vehicles that touched them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import dagster as dg

from smartdrive_dagster.defs.partitions import EVENT_DAYS
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.specs import (
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
from smartdrive_dagster.domain.identity import digest
from smartdrive_dagster.lake.model_files import DataTest
from smartdrive_dagster.lake.models import Model, load_models
from smartdrive_dagster.tables import Table, gold, silver

if TYPE_CHECKING:
    from smartdrive_dagster.lake.lakehouse import Commit


@dg.multi_asset(
    name="gold_trips",
    specs=[
        asset_spec(
            gold.TRIPS,
            kinds={"delta", "polars"},
            deps=[any_day_of(silver.TELEMETRY), any_day_of(silver.MESSAGES)],
            partitions_def=EVENT_DAYS,
            code_version="1",
        )
    ],
    check_specs=[batch_check_spec(gold.TRIPS)],
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=pool(gold.TRIPS),
)
def trips(
    context: dg.AssetExecutionContext, lake: LakeResource
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:  # type: ignore[type-arg]
    """One row per trip, on the day that it began."""
    from smartdrive_dagster.defs.recomputation import recompute_trips

    days = [date.fromisoformat(partition) for partition in context.partition_keys]
    yield from _recomputed(
        context,
        lake,
        gold.TRIPS,
        recompute_trips(lake.lakehouse(), days, lake.trip_gap_s, redo=is_backfill(context.run)),
    )


def _mart(model: Model) -> dg.AssetsDefinition:
    table = model.table

    @dg.multi_asset(
        name=f"marts_{table.name}",
        specs=[
            asset_spec(
                table,
                kinds={"delta", "duckdb", "sql"},
                deps=[_mart_dep(upstream) for upstream in model.reads],
                partitions_def=EVENT_DAYS,
                code_version=digest(repr((model.sql, model.views)).encode())[:8],
            )
        ],
        check_specs=[batch_check_spec(table), *(_data_test_spec(table, test) for test in model.data_tests)],
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=pool(table),
    )
    def mart(
        context: dg.AssetExecutionContext, lake: LakeResource
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:  # type: ignore[type-arg]
        from smartdrive_dagster.defs.recomputation import recompute_mart

        days = [date.fromisoformat(partition) for partition in context.partition_keys]
        commits = recompute_mart(
            lake.lakehouse(),
            model,
            days,
            lake.time_zone,
            redo=is_backfill(context.run),
            until=datetime.now(UTC).date(),
        )
        yield from _recomputed(context, lake, table, commits, data_tests=model.data_tests)

    return mart


def _mart_dep(upstream: Table) -> dg.AssetDep:
    return any_day_of(upstream) if upstream.layer == "silver" else near_day_of(upstream)


def _data_test_spec(table: Table, test: DataTest) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        test.name, asset=key(table), description=f"{test.kind} of {test.column}, on each batch before its commit."
    )


def marts() -> list[dg.AssetsDefinition]:
    """One asset per mart in `dbt_like_models/marts`."""
    return [_mart(model) for model in load_models().values()]


def _recomputed(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    table: Table,
    commits: Iterator["Commit"],
    data_tests: Sequence[DataTest] = (),
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
        check_results=[
            batch_passed(table, rows),
            *(dg.AssetCheckResult(asset_key=key(table), check_name=test.name, passed=True) for test in data_tests),
        ],
    )
