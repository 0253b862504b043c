"""Gold and mart days computed anew: what the ledger shows as touched, on the snapshot that is committed on.

A table is never fresher than the tables that it reads: where one of these is behind, it records no newer batch
than they have seen, and stays stale itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import polars as pl

from smartdrive_dagster.alerting.outbox import Outbox
from smartdrive_dagster.defs.computations import Computation, Scope, computations, reach_days
from smartdrive_dagster.defs.floors import frozen_before
from smartdrive_dagster.defs.outliving import without_samples
from smartdrive_dagster.domain.staleness import (
    arrivals,
    candidate_days,
    days_touched_since,
    stale_days,
    touched_pairs,
    vehicles_touching,
    with_every_day,
    with_neighbours,
)
from smartdrive_dagster.lake.frames import BatchRejectedError, Violation, empty
from smartdrive_dagster.lake.lakehouse import Commit, Lakehouse, Snapshot
from smartdrive_dagster.lake.models import failing_rows
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Days, Table, ranges, silver
from smartdrive_dagster.tables.alerts import ALERTS

CHUNK_DAYS: Final = 31


@dataclass(frozen=True)
class Ledger:
    """The ledger on one snapshot, as Gold asks it.

    Attributes:
        snapshot: of silver.messages.
        ceiling: a batch; what later ones touched does not count. None for all batches.
    """

    snapshot: Snapshot
    ceiling: int | None = None

    @property
    def batch(self) -> int:
        """The newest batch."""
        return self.snapshot.batch

    def touched(self, computation: Computation, *, floor: int) -> pl.DataFrame:
        """The (event_date, vehicle_id) pairs that batches above a floor touched, with their highest batch."""
        rows = self.snapshot.rows()
        if self.ceiling is not None:
            rows = rows.filter(pl.col("batch") <= self.ceiling)
        newer = rows.filter(pl.col("batch") > floor)
        touched = touched_pairs(newer, computation.channels).collect()
        if touched.get_column("event_date").has_nulls():
            touched = with_every_day(touched, touched_pairs(rows, ("telemetry", "events")).collect())
        return pl.concat([touched, arrivals(newer).collect()]) if computation.counts_arrivals else touched


def stale(
    lakehouse: Lakehouse, computation: Computation, ledger: Ledger, *, until: date, floor: int = 0
) -> list[date]:
    """All days of a table that the ledger shows as touched since their last computation.

    Args:
        lakehouse: the lake.
        computation: of the table.
        ledger: the ledger.
        until: the last day to look at; what lies after it has not begun.
        floor: a ledger batch up to which all days are known to be fresh.
    """
    reach = reach_days(computation, computations())
    touched, fresh = _touched_and_fresh(lakehouse, computation, ledger, reach, until, floor)
    if computation.is_history:  # computed as a whole, now: a forecast touches days to come alone
        return sorted({min(day, until) for day in candidate_days(touched, reach)})
    return stale_days(touched, fresh, reach)


def touched_since(
    lakehouse: Lakehouse, computation: Computation, ledger: Ledger, *, until: date, floor: int = 0
) -> list[date]:
    """The touched days behind a table's stale days: a run of these days computes all that they make stale.

    Args: as of `stale`.
    """
    reach = reach_days(computation, computations())
    touched, fresh = _touched_and_fresh(lakehouse, computation, ledger, reach, until, floor)
    if computation.is_history:
        days = touched.get_column("event_date").unique().to_list()
    else:
        days = days_touched_since(touched, fresh, reach)
    return sorted({min(day, until) for day in days})


def _touched_and_fresh(
    lakehouse: Lakehouse, computation: Computation, ledger: Ledger, reach: int, until: date, floor: int
) -> tuple[pl.DataFrame, dict[date, int]]:
    """What touched a table since the floor, or since its one mark; and the marks of the days in reach of that."""
    if computation.is_history:
        mark = lakehouse.history_fresh_until(computation.table)
        return ledger.touched(computation, floor=max(floor, mark)), {}
    touched = ledger.touched(computation, floor=floor)
    near = [day for day in candidate_days(touched, reach) if day <= until]
    return touched, lakehouse.fresh_until(computation.table, near)


def recompute(
    lakehouse: Lakehouse,
    computation: Computation,
    days: Sequence[date],
    settings: Settings,
    *,
    redo: bool,
    until: date,
) -> Iterator[Commit]:
    """Bring a table up to date for some days, in commits of at most `CHUNK_DAYS` days.

    A history table is brought up to date as a whole, in one commit: a touched day changes the days after it.

    Args:
        lakehouse: the lake.
        computation: of the table.
        days: days of its partition column; without `redo` touched days, which make the days around them stale.
        settings: the owner's thresholds.
        redo: compute all of these days and vehicles, and not what the ledger shows as stale in their reach.
        until: the last day that has begun.

    Raises:
        BatchRejectedError: the rows break the table's spec or a mart's data tests; that batch is not committed.
    """
    if computation.is_history:
        yield from _recompute_history(lakehouse, computation, days, settings, redo, until)
        return
    reach = reach_days(computation, computations())
    if redo:
        days = _possible(lakehouse, computation, days, reach)
    else:
        days = [day for day in with_neighbours(days, reach) if day <= until]
    for chunk in _chunks(days):
        ledger = Ledger(lakehouse.open(silver.MESSAGES))
        fresh = lakehouse.fresh_until(computation.table, chunk)
        seen = min(fresh.values())
        near = list(Days(chunk[0], chunk[-1]).widened(computation.halo_days))
        batch = _batch_of_inputs(lakehouse, computation, ledger, near, until, seen)
        touched = ledger.touched(computation, floor=seen)
        due = list(chunk) if redo else stale_days(touched, fresh, reach)
        if (frozen := frozen_before(computation, settings, until)) is not None:
            if old := [day for day in due if day < frozen]:
                yield lakehouse.replace_days(
                    computation.table, _as_they_are(computation.table, old), old, batch=batch
                )
            due = [day for day in due if day >= frozen]
        if not due:
            continue
        vehicles = None
        if computation.by_vehicle and not redo:
            vehicles = vehicles_touching(touched, {day: fresh[day] for day in due}, reach)
        computed = _computed(lakehouse, computation, ranges(due), vehicles, settings)
        merged = _merged(computation.table, set(due), vehicles, computed)
        if computation.outlives_samples:
            merged = _with_outliving(lakehouse, computation.table, set(due), merged)
        yield lakehouse.replace_days(computation.table, merged, due, batch=batch)


def _recompute_history(
    lakehouse: Lakehouse,
    computation: Computation,
    days: Sequence[date],
    settings: Settings,
    redo: bool,
    until: date,
) -> Iterator[Commit]:
    """From the earliest day that may have changed on, for the touched vehicles alone."""
    table, reach = computation.table, reach_days(computation, computations())
    column = table.partition_by or ""
    ledger = Ledger(lakehouse.open(silver.MESSAGES))
    seen = lakehouse.history_fresh_until(table)
    batch = _batch_of_inputs(lakehouse, computation, ledger, None, until, seen)
    touched = ledger.touched(computation, floor=0 if redo else seen)
    if touched.is_empty() or (batch <= seen and not redo):
        return
    named = None if redo or not computation.by_vehicle else set(touched.get_column("vehicle_id"))
    vehicles = None if named is None or None in named else named
    touched_days: list[date] = touched.get_column("event_date").to_list()
    # A row stands on the day that its episode opened, and changes when the episode goes on or ends.
    present = lakehouse.scan(table)
    if vehicles is not None:
        present = present.filter(pl.col("vehicle_id").is_in(vehicles))
    held = present.select(pl.col(column).min().alias("first"), pl.col(column).max().alias("last")).collect()
    starts: tuple[date | None, ...] = (min(touched_days) - timedelta(reach), held.item(0, "first"))
    ends: tuple[date | None, ...] = (until, max(touched_days) + timedelta(reach), held.item(0, "last"))
    first = min(day for day in starts if day is not None)
    last = max(day for day in ends if day is not None)
    if redo:
        first = max(first, min(days))
    if first > last:
        return
    window = Days(first, last)
    computed = _computed(lakehouse, computation, [window], vehicles, settings)
    merged = _merged(table, set(window), vehicles, computed)
    if (frozen := frozen_before(computation, settings, until)) is not None:
        merged = _with_frozen(table, window, frozen, merged)
    if redo and table is ALERTS:
        _tell_nobody(computed, settings)
    yield lakehouse.replace_days(table, merged, window, batch=max(batch, seen), as_history=True)


def _tell_nobody(alerts: pl.DataFrame, settings: Settings) -> None:
    """Of what a backfill or a rebuild brings up nobody is told, so it is said before the rows are there."""
    if not alerts.is_empty():
        outbox = Outbox(Lakehouse(settings.state_url))
        outbox.suppress(alerts.get_column("alert_id").to_list(), now=datetime.now(UTC))


def _computed(
    lakehouse: Lakehouse,
    computation: Computation,
    windows: Sequence[Days],
    vehicles: Collection[str] | None,
    settings: Settings,
) -> pl.DataFrame:
    table = computation.table
    named = None if vehicles is None else tuple(sorted(vehicles))
    parts = [computation.compute(lakehouse, Scope(window, named), settings) for window in windows]
    rows = pl.concat([empty(table), *parts])
    if computation.model is not None:
        counted = (
            (test, failing_rows(computation.model, test, rows, lakehouse)) for test in computation.model.data_tests
        )
        if broken := [Violation(test.name, test.column, count) for test, count in counted if count]:
            raise BatchRejectedError(table, broken)
    return rows


def _batch_of_inputs(
    lakehouse: Lakehouse,
    computation: Computation,
    ledger: Ledger,
    days: Sequence[date] | None,
    until: date,
    floor: int,
) -> int:
    """The ledger batch up to which the Gold tables that a computation reads are fresh.

    Args:
        lakehouse: the lake.
        computation: whose inputs are asked.
        ledger: the ledger.
        days: days of the inputs that matter; None for all.
        until: the last day that has begun. What touched a later one waits for it.
        floor: a batch up to which the inputs are known to be fresh.
    """
    among = computations()
    batch = ledger.batch
    for upstream in (among[table] for table in computation.reads if table in among):
        if upstream.is_history:
            mark = lakehouse.history_fresh_until(upstream.table)
            batch = batch if ledger.touched(upstream, floor=mark).is_empty() else min(batch, mark)
            continue
        reach = reach_days(upstream, among)
        touched = ledger.touched(upstream, floor=floor)
        asked = candidate_days(touched, reach) if days is None else days
        fresh = lakehouse.fresh_until(upstream.table, [day for day in asked if day <= until])
        ahead = touched.filter(pl.col("event_date") > until).get_column("batch") - 1
        batch = min([batch, *(fresh[day] for day in stale_days(touched, fresh, reach)), *ahead])
    return batch


def _possible(lakehouse: Lakehouse, computation: Computation, days: Sequence[date], reach: int) -> list[date]:
    """Those of the days that have rows or could have some: a backfill may name twenty years."""
    table = computation.table
    touched = Ledger(lakehouse.open(silver.MESSAGES)).touched(computation, floor=0)
    column = table.partition_by or ""
    present = lakehouse.scan(table).select(pl.col(column).unique()).collect().get_column(column)
    possible = {*candidate_days(touched, reach), *present}
    return [day for day in days if day in possible]


def _merged(
    table: Table, days: set[date], vehicles: Collection[str] | None, computed: pl.DataFrame
) -> Callable[[Snapshot], pl.DataFrame]:
    """The days' rows of vehicles that were not computed, as the snapshot has them, and those that were."""

    def rows(snapshot: Snapshot) -> pl.DataFrame:
        if vehicles is None:
            return computed
        column = pl.col(table.partition_by or "")
        others = column.is_in(days) & ~pl.col("vehicle_id").is_in(sorted(vehicles))
        return pl.concat([snapshot.rows().filter(others).collect(), computed])

    return rows


def _as_they_are(table: Table, days: Sequence[date]) -> Callable[[Snapshot], pl.DataFrame]:
    """The days' rows as the snapshot has them: their inputs have expired, and they count as computed."""
    return lambda snapshot: snapshot.rows().filter(pl.col(table.partition_by or "").is_in(days)).collect()


def _with_frozen(
    table: Table, window: Days, frozen: date, merged: Callable[[Snapshot], pl.DataFrame]
) -> Callable[[Snapshot], pl.DataFrame]:
    """The rows of `merged`, and of the window's days before `frozen` those that the snapshot has."""
    day = pl.col(table.partition_by or "")

    def rows(snapshot: Snapshot) -> pl.DataFrame:
        old = snapshot.rows().filter(day.is_between(window.first, window.last), day < frozen)
        return pl.concat([old.collect(), merged(snapshot).filter(day >= frozen)])

    return rows


def _with_outliving(
    lakehouse: Lakehouse, table: Table, days: set[date], merged: Callable[[Snapshot], pl.DataFrame]
) -> Callable[[Snapshot], pl.DataFrame]:
    """The rows of `merged`, and those of the days that the snapshot has and nothing can compute again."""

    def rows(snapshot: Snapshot) -> pl.DataFrame:
        found = merged(snapshot)
        present = snapshot.rows().filter(pl.col(table.partition_by or "").is_in(days)).collect()
        dropped = present.join(found, on=list(table.key), how="anti", maintain_order="left")
        return pl.concat([found, without_samples(lakehouse, dropped)])

    return rows


def _chunks(days: Sequence[date]) -> Iterator[list[date]]:
    ordered = sorted(days)
    return (ordered[start : start + CHUNK_DAYS] for start in range(0, len(ordered), CHUNK_DAYS))
