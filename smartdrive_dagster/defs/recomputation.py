"""Gold and mart days computed anew: what the ledger shows as touched, on the snapshot that is committed on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date
from typing import Final

import polars as pl

from smartdrive_dagster.domain import trips as trips_domain
from smartdrive_dagster.domain.staleness import candidate_days, stale_days, touched_pairs, vehicles_touching
from smartdrive_dagster.lake.frames import BatchRejectedError, Violation, empty
from smartdrive_dagster.lake.lakehouse import Commit, Lakehouse, Snapshot
from smartdrive_dagster.lake.models import Model, failing_rows, run_model
from smartdrive_dagster.tables import Days, Table, gold, ranges, silver

CHUNK_DAYS: Final = 31
# A local day overlaps the UTC days before and after it; its trips depend on their own halo.
MART_HALO_DAYS: Final = 1 + trips_domain.HALO_DAYS
Compute = Callable[[Days, Collection[str] | None], pl.DataFrame]


def stale(
    lakehouse: Lakehouse, table: Table, halo: int, *, until: date, floor: int = 0, ceiling: int | None = None
) -> list[date]:
    """All days of a table that the ledger shows as touched since their last computation.

    Args:
        lakehouse: the lake.
        table: a Gold table or mart.
        halo: days on both sides of a day that its rows depend on.
        until: the last day to look at; what lies after it has not begun.
        floor: a ledger batch up to which all days are known to be fresh.
        ceiling: a ledger batch; what later ones touched does not count. None for all batches.
    """
    ledger = lakehouse.open(silver.MESSAGES).rows().filter(pl.col("batch") > floor)
    if ceiling is not None:
        ledger = ledger.filter(pl.col("batch") <= ceiling)
    touched = touched_pairs(ledger).collect()
    candidates = [day for day in candidate_days(touched, halo) if day <= until]
    return stale_days(touched, lakehouse.fresh_until(table, candidates), halo)


def recompute_trips(lakehouse: Lakehouse, days: Sequence[date], gap_s: float, *, redo: bool) -> Iterator[Commit]:
    """Bring gold.trips up to date for some event days, in commits of at most `CHUNK_DAYS` days.

    Args:
        lakehouse: the lake.
        days: event days to look at.
        gap_s: a longer pause ends a trip (seconds).
        redo: compute all of these days and vehicles, not only what the ledger shows as stale.
    """

    def compute(window: Days, vehicles: Collection[str] | None) -> pl.DataFrame:
        telemetry = lakehouse.scan(silver.TELEMETRY, window.widened(trips_domain.HALO_DAYS))
        if vehicles is not None:
            telemetry = telemetry.filter(pl.col("vehicle_id").is_in(sorted(vehicles)))
        return trips_domain.segment_trips(telemetry, days=window, gap_s=gap_s).collect(engine="streaming")

    return _recompute(lakehouse, gold.TRIPS, days, trips_domain.HALO_DAYS, compute, redo=redo)


def recompute_mart(
    lakehouse: Lakehouse, model: Model, days: Sequence[date], time_zone: str, *, redo: bool, until: date
) -> Iterator[Commit]:
    """Bring a mart up to date for some local days, in commits of at most `CHUNK_DAYS` days.

    A mart is never fresher than the Gold days it reads: where one of these is still stale, the mart's day keeps
    being stale too.
    """
    table = model.table
    if redo:
        days = _possible(lakehouse, table, days, MART_HALO_DAYS)
    for chunk in _chunks(days):
        upstream = [
            day
            for day in Days(chunk[0], chunk[-1]).widened(1)
            if day <= until and str(gold.TRIPS) in map(str, model.reads)
        ]
        ledger = lakehouse.open(silver.MESSAGES)
        fresh = lakehouse.fresh_until(table, chunk)
        trips_fresh = lakehouse.fresh_until(gold.TRIPS, upstream)
        floor = min([*fresh.values(), *trips_fresh.values()])
        touched = touched_pairs(ledger.rows().filter(pl.col("batch") > floor)).collect()
        behind = stale_days(touched, trips_fresh, trips_domain.HALO_DAYS)
        batch = min([ledger.batch, *(trips_fresh[day] for day in behind)])
        due = list(chunk) if redo else stale_days(touched, fresh, MART_HALO_DAYS)
        if due:
            parts = [run_model(model, lakehouse, part, time_zone=time_zone) for part in ranges(due)]
            computed = pl.concat([empty(table), *parts])
            if broken := _broken_promises(model, computed, lakehouse):
                raise BatchRejectedError(table, broken)
            yield lakehouse.replace_days(table, _merged(table, due, None, computed), due, batch=batch)


def _broken_promises(model: Model, rows: pl.DataFrame, lakehouse: Lakehouse) -> list[Violation]:
    """The data tests of a mart's .yml twin that its rows break."""
    counted = ((test, failing_rows(model, test, rows, lakehouse)) for test in model.data_tests)
    return [Violation(test.name, test.column, count) for test, count in counted if count]


def _recompute(
    lakehouse: Lakehouse, table: Table, days: Sequence[date], halo: int, compute: Compute, *, redo: bool
) -> Iterator[Commit]:
    if redo:
        days = _possible(lakehouse, table, days, halo)
    for chunk in _chunks(days):
        ledger = lakehouse.open(silver.MESSAGES)
        fresh = lakehouse.fresh_until(table, chunk)
        touched = touched_pairs(ledger.rows().filter(pl.col("batch") > min(fresh.values()))).collect()
        due = list(chunk) if redo else stale_days(touched, fresh, halo)
        if not due:
            continue
        vehicles = None if redo else vehicles_touching(touched, {day: fresh[day] for day in due}, halo)
        computed = pl.concat([empty(table), *(compute(part, vehicles) for part in ranges(due))])
        yield lakehouse.replace_days(table, _merged(table, due, vehicles, computed), due, batch=ledger.batch)


def _possible(lakehouse: Lakehouse, table: Table, days: Sequence[date], halo: int) -> list[date]:
    """Those of the days that have rows or could have some: a backfill may name twenty years."""
    touched = touched_pairs(lakehouse.scan(silver.MESSAGES)).collect()
    column = table.partition_by or ""
    present = lakehouse.scan(table).select(pl.col(column).unique()).collect().get_column(column)
    possible = {*candidate_days(touched, halo), *present}
    return [day for day in days if day in possible]


def _merged(
    table: Table, days: list[date], vehicles: Collection[str] | None, computed: pl.DataFrame
) -> Callable[[Snapshot], pl.DataFrame]:
    """The days' rows of vehicles that were not computed, as the snapshot has them, and those that were."""

    def rows(snapshot: Snapshot) -> pl.DataFrame:
        if vehicles is None:
            return computed
        others = pl.col(table.partition_by or "").is_in(days) & ~pl.col("vehicle_id").is_in(sorted(vehicles))
        return pl.concat([snapshot.rows().filter(others).collect(), computed])

    return rows


def _chunks(days: Sequence[date]) -> Iterator[list[date]]:
    ordered = sorted(days)
    return (ordered[start : start + CHUNK_DAYS] for start in range(0, len(ordered), CHUNK_DAYS))
