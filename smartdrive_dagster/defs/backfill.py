"""Gold and mart days computed anew on request, and after them what reads those tables.

Staleness cannot see that an algorithm or a setting has changed: the ledger is as before. So a backfill names days,
and brings every reader of a table that it changed up to date for the days around them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from smartdrive_dagster.defs.computations import Computation, computations, reach_days
from smartdrive_dagster.defs.floors import frozen_before
from smartdrive_dagster.defs.recomputation import CHUNK_DAYS, Ledger, recompute, stale
from smartdrive_dagster.domain.staleness import candidate_days
from smartdrive_dagster.lake.lakehouse import Commit, Lakehouse
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import Days, Table, silver

Redo = Callable[[Lakehouse, Sequence[date]], Iterator[Commit]]


@dataclass(frozen=True, slots=True)
class Recomputation:
    """How a table's days are computed anew.

    Attributes:
        computation: what the table is made of.
        reads: the tables that its rows depend on.
        reach_days: days of Silver on both sides of a day that its rows depend on.
        redo: computes days for all vehicles, and commits them in chunks.
        frozen_before: days before this one are left as they are, since what they were made of may have expired.
    """

    computation: Computation
    reads: tuple[Table, ...]
    reach_days: int
    redo: Redo
    frozen_before: date | None = None

    @property
    def table(self) -> Table:
        """Partitioned by a date."""
        return self.computation.table


def recomputations(settings: Settings, *, until: date) -> dict[str, Recomputation]:
    """Every table whose days can be computed anew, by name, each after those that it reads.

    Args:
        settings: the owner's thresholds and time zone.
        until: the last day that has begun.
    """
    among = computations()

    def redo_of(computation: Computation) -> Redo:
        def redo(lakehouse: Lakehouse, days: Sequence[date]) -> Iterator[Commit]:
            return recompute(lakehouse, computation, days, settings, redo=True, until=until) if days else iter(())

        return redo

    return {
        str(table): Recomputation(
            computation,
            computation.reads if computation.model else (*computation.reads, silver.MESSAGES),
            reach_days(computation, among),
            redo_of(computation),
            frozen_before(computation, settings, until),
        )
        for table, computation in among.items()
    }


def possible_days(lakehouse: Lakehouse, entry: Recomputation, days: Days) -> list[date]:
    """Those of the days that have rows or could have some: a backfill may name twenty years."""
    touched = Ledger(lakehouse.open(silver.MESSAGES)).touched(entry.computation, floor=0)
    possible = {*candidate_days(touched, entry.reach_days), *present_days(lakehouse, entry.table)}
    return sorted(day for day in possible if day in days)


def present_days(lakehouse: Lakehouse, table: Table) -> set[date]:
    """The days on which a table has rows."""
    column = table.partition_by or ""
    return set(lakehouse.scan(table).select(pl.col(column).unique()).collect().get_column(column))


def chunks(days: Sequence[date]) -> list[list[date]]:
    """Days in order, so many together as are computed at once."""
    ordered = sorted(days)
    return [ordered[start : start + CHUNK_DAYS] for start in range(0, len(ordered), CHUNK_DAYS)]


def bring_up_to_date(
    lakehouse: Lakehouse, known: Mapping[str, Recomputation], *, until: date
) -> Iterator[tuple[Table, list[date], Commit]]:
    """Compute every stale day of every table; yields the table, its stale days and a commit of some of them."""
    for entry in known.values():
        ledger = Ledger(lakehouse.open(silver.MESSAGES))
        days = stale(lakehouse, entry.computation, ledger, until=until)
        yield from ((entry.table, days, commit) for commit in entry.redo(lakehouse, days))


def redo_readers(
    lakehouse: Lakehouse, known: Mapping[str, Recomputation], table: Table, days: Collection[date]
) -> Iterator[Commit]:
    """Bring all that reads a table, itself or through others, up to date for the days around some days."""
    affected: dict[str, set[date]] = {str(table): set(days)}
    for name, entry in known.items():
        near = {
            day + timedelta(offset)
            for upstream in entry.reads
            for day in affected.get(str(upstream), ())
            for offset in range(-entry.computation.halo_days, entry.computation.halo_days + 1)
        }
        if near and entry.computation.is_history:  # a day changes all that come after it
            near |= {day for day in present_days(lakehouse, entry.table) if day >= min(near)}
        if near and name != str(table):
            affected[name] = near
            yield from entry.redo(lakehouse, sorted(near))
