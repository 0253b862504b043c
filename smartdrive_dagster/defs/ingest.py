"""Ingestion: one looping run per arrival day takes landing objects into Bronze and Silver."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

import dagster as dg
from pydantic import Field

from smartdrive_dagster.defs.measuring import added, of_progress, tell
from smartdrive_dagster.defs.partitions import ARRIVAL_DAYS
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.specs import (
    asset_spec,
    batch_check_spec,
    batch_failed,
    batch_passed,
    is_backfill,
    key,
)
from smartdrive_dagster.metrics.catalogue import Values
from smartdrive_dagster.tables import Table, bronze, facts, silver

if TYPE_CHECKING:
    from smartdrive_dagster.defs.ingestion import Progress

POOL: Final = "ingest"
UNREADABLE_TAG: Final = "smartdrive/unreadable"  # on a run: how many objects it had to leave
LANDING: Final = dg.AssetSpec(
    dg.AssetKey(["landing", "objects"]),
    description="Immutable objects of messages, as the lander or an importer wrote them.",
    group_name="landing",
    kinds={"json"},
    owners=["team:smartdrive"],
    partitions_def=ARRIVAL_DAYS,
)
_LOOK_EVERY: Final = 64  # steps between looks at how fragmented the tables are
_CODE_VERSION: Final = "1"
_BRONZE: Final = (bronze.MESSAGES, bronze.OBJECTS)
_SILVER: Final = (
    *(silver.TELEMETRY, silver.EVENTS, silver.DTC_READINGS),
    *(facts.CORRECTIONS, facts.PROFILES, facts.WEATHER, facts.VEHICLES),
    *(silver.QUARANTINE, silver.MESSAGES),
)
TABLES: Final[tuple[Table, ...]] = (*_BRONZE, *_SILVER)


class IngestConfig(dg.Config):
    """How long a looping run goes on."""

    idle_s: float = Field(45.0, ge=0, description="End after so many seconds without new objects")
    budget_s: float = Field(600.0, gt=0, description="End after so many seconds in all")
    poll_s: float = Field(1.0, gt=0, description="Wait so long between looks at the landing zone")
    makes_way: bool = Field(True, description="End when another run waits for the pool")
    report_s: float = Field(60.0, gt=0, description="Report materializations at most this often")


@dataclass(frozen=True, slots=True)
class LoopState:
    """What decides whether a looping run goes on; times in seconds of one monotonic clock."""

    now: float
    started: float
    last_work: float
    is_over: bool
    is_awaited: bool


def reason_to_stop(state: LoopState, config: IngestConfig) -> str | None:
    """Why a looping run ends now, or None."""
    if state.is_over:
        return "its day is over and nothing is left of it"
    if state.is_awaited:
        return "another run waits for its pool"
    if state.now - state.started >= config.budget_s:
        return f"its budget of {config.budget_s:g} s is used up"
    if state.now - state.last_work > config.idle_s:  # 0 while it works, even for idle_s = 0
        return f"nothing came for {config.idle_s:g} s"
    return None


def _specs() -> Iterator[dg.AssetSpec]:
    # One upstream each. Dagster 1.13 compares the partitions targeted by a backfill with `!=` on tuples that also
    # hold a cached count, so an asset with two upstreams in the selection "does not match" its siblings.
    for table in TABLES:
        yield asset_spec(
            table,
            kinds={"delta", "polars"},
            deps=[dg.AssetDep(LANDING.key if table in _BRONZE else key(bronze.MESSAGES))],
            partitions_def=ARRIVAL_DAYS,
            code_version=_CODE_VERSION,
        )


@dg.multi_asset(
    name="bronze_and_silver",
    specs=list(_specs()),
    check_specs=[batch_check_spec(table) for table in TABLES],
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=POOL,
)
def bronze_and_silver(
    context: dg.AssetExecutionContext, config: IngestConfig, lake: LakeResource
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:  # type: ignore[type-arg]
    """Take what landed into Bronze and Silver.

    A backfill computes its arrival days anew; every other run does what is left to do, and goes on looking for
    more until it is idle.
    """
    from smartdrive_dagster.defs.ingestion import Progress
    from smartdrive_dagster.lake.frames import BatchRejectedError

    days = [date.fromisoformat(partition) for partition in context.partition_keys]
    progress = Progress()
    try:
        if is_backfill(context.run):
            _redo(context, lake, days, progress)
        else:
            _loop(context, config, lake, days, progress)
    except BatchRejectedError as error:
        yield batch_failed(error)
        raise dg.Failure(str(error), allow_retries=False) from error
    if progress.unreadable or progress.unlisted:
        context.instance.add_run_tags(context.run.run_id, {UNREADABLE_TAG: str(len(progress.unreadable))})
        raise dg.Failure(_unreadable(progress), allow_retries=False)
    lakehouse = lake.lakehouse()
    for table in TABLES:
        rows = progress.rows.get(str(table), 0)
        yield dg.MaterializeResult(
            asset_key=key(table),
            metadata={
                "dagster/row_count": lakehouse.open(table).count(),
                "rows written": rows,
                "delta version": lakehouse.open(table).version,
                **({"verdicts": progress.verdicts} if table is silver.MESSAGES else {}),
            },
            check_results=[batch_passed(table, rows)],
        )


def _unreadable(progress: "Progress") -> str:
    folders = [f"folder {name}" for name in sorted(progress.unlisted)]
    objects = [f"{name}: {reason}" for name, reason in progress.unreadable.items()]
    return (
        f"{len(objects)} landing objects and {len(folders)} folders cannot be read, the first is "
        f"{[*folders, *objects][0]}. All others were taken in; the next run tries these again."
    )


def _redo(context: dg.AssetExecutionContext, lake: LakeResource, days: list[date], progress: "Progress") -> None:
    ingestion = lake.ingestion()
    for number, day in enumerate(days, start=1):
        ingestion.redo(day, progress)
        context.log.info(f"{day} computed anew ({number} of {len(days)}): {progress.lines} lines so far")


def _loop(
    context: dg.AssetExecutionContext,
    config: IngestConfig,
    lake: LakeResource,
    days: list[date],
    progress: "Progress",
) -> None:
    started = last_work = last_report = time.monotonic()
    worked, taken = False, 0
    told: Values = {}
    steps = _steps(lake, days, progress)
    while True:
        took_in = next(steps, None)  # None: the pass is over, and what has landed meanwhile is for the next one
        if took_in:
            worked = True
            if taken % _LOOK_EVERY == 0:
                _merge(context, lake)
            taken += 1
        now = time.monotonic()
        last_work = now if took_in else last_work
        if now - last_report >= config.report_s:
            last_report = now
            _report(context, progress)
            told = _tell(lake, progress, told)
        is_idle = took_in is None and not worked
        state = LoopState(
            now=now,
            started=started,
            last_work=last_work,
            is_over=is_idle and days[-1] < datetime.now(UTC).date(),
            is_awaited=config.makes_way and _is_awaited(context),
        )
        if reason := reason_to_stop(state, config):
            context.log.info(f"ends: {reason}; {progress.objects} objects, {progress.lines} lines judged")
            _tell(lake, progress, told)
            return
        if is_idle:
            time.sleep(config.poll_s)
        if took_in is None:
            worked = False
            steps = _steps(lake, days, progress)


def _steps(lake: LakeResource, days: list[date], progress: "Progress") -> Iterator[bool]:
    from smartdrive_dagster.defs.retraction import settle_retractions
    from smartdrive_dagster.lake.retractions import ErasureBegunError

    ingestion = lake.ingestion()
    try:
        if settle_retractions(ingestion, progress):
            yield True
        for day in days:
            yield from ingestion.steps(day, progress)
    except ErasureBegunError:  # the next pass knows of it
        yield True


def _merge(context: dg.AssetExecutionContext, lake: LakeResource) -> None:
    """Merge small files where there are many, since every step reads its day's. It may fail: no row changes."""
    from smartdrive_dagster.lake.maintenance import MaintenanceError, merge_where_fragmented

    try:
        if done := merge_where_fragmented(lake.lakehouse(), TABLES):
            context.log.info(f"small files merged: {done}")
    except MaintenanceError as error:
        context.log.warning(f"small files stay as they are for now: {error}")


def _report(context: dg.AssetExecutionContext, progress: "Progress") -> None:
    """Show that a long run is alive: the tables are ahead of these events, never behind."""
    for table in TABLES:
        context.log_event(
            dg.AssetMaterialization(
                asset_key=key(table),
                partition=context.partition_keys[-1],
                metadata={"rows written": progress.rows.get(str(table), 0)},
            )
        )


def _tell(lake: LakeResource, progress: "Progress", told: Values) -> Values:
    """Write metrics of what was taken in since they were told last; all that has been told by now."""
    now = of_progress(progress)
    tell(lambda: added(now, told), lake.settings, datetime.now(UTC))
    return now


def _is_awaited(context: dg.AssetExecutionContext) -> bool:
    queued = context.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]), limit=50)
    return any(run.run_op_concurrency and POOL in run.run_op_concurrency.all_pools for run in queued)
