"""The lake: Delta tables below one root, on a disk or on S3, and the few verbs that touch them.

Writers never trust that a commit which failed did not land, nor that one which landed was theirs. They read,
decide and write on one snapshot; where another writer was faster they reload and decide again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Final

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from smartdrive_dagster.lake.evolution import migrate, plan_migration, table_properties
from smartdrive_dagster.lake.frames import conform, delta_schema
from smartdrive_dagster.lake.parts import Part, sql_date
from smartdrive_dagster.lake.retries import Faults, attempts, is_behind_a_purge, past_faults
from smartdrive_dagster.lake.snapshot import Snapshot
from smartdrive_dagster.lake.storage_options import storage_options
from smartdrive_dagster.lake.time_travel import at_instant
from smartdrive_dagster.lake.upkeep import Maintenance, maintain, merge
from smartdrive_dagster.tables import LAYERS, Days, Table

__all__ = ["HISTORY", "LAYER", "Commit", "LakeConflictError", "Lakehouse", "Snapshot"]

_MAX_ATTEMPTS = 100  # of 20 writers at once the unluckiest may lose dozens of races
_MAX_PURGES = 3  # that a writer may meet: an erasure purges a table once
HISTORY = "history"
LAYER: Final = "{layer}"


@dataclass(frozen=True, slots=True)
class Commit:
    """What a write did.

    Attributes:
        table: the table written.
        version: the Delta version after it.
        rows: rows written; 0 where there was nothing left to write.
    """

    table: Table
    version: int
    rows: int


class LakeConflictError(RuntimeError):
    """Other writers kept winning; the work is still to do and a retry does no harm."""


class Lakehouse:
    """Delta tables below one root.

    Args:
        url: a local path or ``s3://bucket/prefix``, in which ``{layer}`` stands for a table's layer, so that each
            may have a bucket of its own. S3 is reached as the usual ``AWS_…`` variables say.
        guard: asked each time after the version was loaded on which rows will be committed; raises where what the
            rows were made of may not be there any more.
    """

    def __init__(self, url: str, guard: Callable[[], None] = lambda: None) -> None:
        self.url = url.rstrip("/") if "://" in url else str(Path(url).absolute())
        self.storage_options = storage_options(url)
        self._is_remote = "://" in url
        self.guard = guard

    def uri(self, table: Table) -> str:
        """Where a table lies."""
        return f"{self.root_of(table.layer)}/{table.path}"

    def root_of(self, layer: str) -> str:
        """Where all tables of a layer lie, and nothing of another lake."""
        return self.url.replace(LAYER, layer) if self._is_remote else self.url

    def roots(self) -> tuple[str, ...]:
        """All places in which tables of the medallion's layers lie: one, or one for each layer."""
        return tuple(dict.fromkeys(self.root_of(layer) for layer in LAYERS))

    def exists(self, table: Table) -> bool:
        """Whether the table has been created."""
        return DeltaTable.is_deltatable(self.uri(table), storage_options=self.storage_options)

    def open(self, table: Table, *, as_of: datetime | None = None) -> Snapshot:
        """Load the newest version of a table, or the one that it had at an instant.

        A table that does not exist yet, or did not then, is empty. Reading creates nothing.

        Raises:
            TooLongAgoError: the log does not reach back to `as_of`.
        """
        try:
            delta = past_faults(lambda: self._load(table), is_remote=self._is_remote)
        except TableNotFoundError:
            delta = None
        if delta is not None and as_of is not None:
            delta = at_instant(delta, str(table), as_of)
        return Snapshot(table, delta, self.uri(table), self.storage_options)

    def scan(self, table: Table, days: Days | None = None) -> pl.LazyFrame:
        """Read the newest version lazily, of some days of its partition column only where these are given."""
        rows = self.open(table).rows()
        if days is None:
            return rows
        if table.partition_by is None:
            raise ValueError(f"{table} is not partitioned: it has no days to choose")
        return rows.filter(pl.col(table.partition_by).is_between(days.first, days.last))

    def append_once(self, table: Table, rows: Callable[[Snapshot], pl.DataFrame]) -> Commit:
        """Append what `rows` finds missing on a snapshot, in one commit on that snapshot, or one per 64 days.

        `rows` must leave out what the snapshot holds already: after a lost race, or an answer lost on the way, or
        where others wrote between two of the commits, it is asked again on the newer snapshot and may return
        nothing.

        Raises:
            BatchRejectedError: the rows break the table's spec.
            LakeConflictError: other writers won every time.
        """
        return self._commit(table, rows, predicate=None)

    def replace(
        self,
        table: Table,
        rows: Callable[[Snapshot], pl.DataFrame],
        *,
        predicate: str,
    ) -> Commit:
        """Replace the rows that an SQL predicate selects by `rows`, in one commit, or one per 64 days.

        Each day's rows are replaced in one. The predicate stands in the Delta log, so it may name days and object
        keys but never a vehicle.

        Raises:
            BatchRejectedError: the rows break the table's spec.
            LakeConflictError: other writers won every time.
        """
        return self._commit(table, rows, predicate=predicate)

    def delete(self, table: Table, predicate: Callable[[Snapshot], str | None]) -> Commit:
        """Delete the rows that an SQL predicate selects, reading and writing no more than a few at a time.

        The predicate stands in the Delta log and may name a vehicle: `purging.purge` takes it out of there.

        Args:
            table: the table.
            predicate: of a snapshot; None where it holds no such row.

        Returns:
            The commit; its rows are those deleted.
        """

        def write(snapshot: Snapshot) -> Commit | None:
            chosen = predicate(snapshot)
            if snapshot.delta is None or chosen is None:
                return Commit(table, snapshot.version, 0)
            number = Transaction(str(table), snapshot.batch + 1)
            before = snapshot.count()
            try:
                snapshot.delta.delete(chosen, commit_properties=CommitProperties(app_transactions=[number]))
            except CommitFailedError:
                return None
            return Commit(table, snapshot.version, before - snapshot.count())

        return self._until_written(table, write)

    def replace_days(
        self,
        table: Table,
        rows: Callable[[Snapshot], pl.DataFrame],
        days: Iterable[date],
        *,
        batch: int,
        as_history: bool = False,
    ) -> Commit:
        """Replace whole days of a table, and record for each the ledger batch up to which it is now fresh.

        Days whose rows are as before are not rewritten; their batch is recorded all the same. Days for which a
        newer batch is recorded are left as they are.

        Args:
            table: partitioned by a date.
            rows: all rows of those days, computed on the snapshot.
            days: the days.
            batch: the ledger's batch that `rows` has seen.
            as_history: record one batch for the whole table: all its days are fresh up to there.
        """
        column = table.partition_by or ""
        asked = sorted(set(days))

        def write(snapshot: Snapshot) -> Commit | None:
            frame = conform(table, rows(snapshot))
            if stray := set(frame.get_column(column)) - set(asked):
                raise ValueError(f"{table}: rows of days that are not being replaced: {sorted(stray)}")
            mark = {day: f"{table}/{HISTORY}" if as_history else f"{table}/{day}" for day in asked}
            seen = snapshot.transactions(set(mark.values()))
            # Somebody has computed the others from newer data.
            ours = [day for day in asked if seen[mark[day]] <= batch]
            changed = _changed_days(snapshot, frame, ours)
            marks = {mark[day]: batch for day in ours if seen[mark[day]] < batch}
            if not changed and not marks:
                return Commit(table, snapshot.version, 0)
            kept = frame.filter(pl.col(column).is_in(changed))
            predicate = _in_list(column, changed) if changed else None
            return self._try_write(snapshot, kept, predicate, marks)

        return self._until_written(table, write)

    def maintain(self, table: Table) -> Maintenance:
        """Merge small files, delete files that no version within the retention needs, shorten the log.

        Readers and writers may go on meanwhile: the rows stay the same. Time travel reaches back as far as the
        retention, which is a property of the table.
        """
        return maintain(lambda: self._load(table), is_remote=self._is_remote)

    def merge(self, table: Table) -> tuple[int, int]:
        """Merge small files only; how many were, and how often a writer was in the way."""
        return merge(lambda: self._load(table), is_remote=self._is_remote)

    def batch_at(self, table: Table, moment: datetime) -> int:
        """The table's own transaction number as it was at a moment; 0 where there was no such table yet."""
        snapshot = self.open(table)
        if snapshot.delta is not None:
            snapshot.delta.load_as_version(moment)  # of a moment before the first version: the first, still empty
        return snapshot.batch

    def fresh_until(self, table: Table, days: Iterable[date]) -> dict[date, int]:
        """For each day the ledger batch that its last computation had seen; 0 for a day never computed."""
        marks = {day: f"{table}/{day}" for day in days}
        numbers = self.open(table).transactions(marks.values())
        return {day: numbers[mark] for day, mark in marks.items()}

    def history_fresh_until(self, table: Table) -> int:
        """The ledger batch that the last computation of a history table had seen; 0 where there was none."""
        return self.open(table).transaction(f"{table}/{HISTORY}")

    def _commit(
        self,
        table: Table,
        rows: Callable[[Snapshot], pl.DataFrame],
        predicate: str | None,
    ) -> Commit:
        part, written = Part(table), 0
        left: tuple[int, pl.DataFrame] | None = None  # what the own commit of a version left to write

        def write(snapshot: Snapshot) -> Commit | None:
            nonlocal left
            # Read anew after each of many commits, days would cost their square; a batch's number is its commit's.
            if left is None or left[0] != snapshot.version or "batch" in table.by_name:
                left = snapshot.version, conform(table, rows(snapshot))
            frame = part.of(left[1])
            where = part.within(predicate)
            if frame.is_empty() and (where is None or snapshot.files() == 0):
                return Commit(table, snapshot.version, 0)
            return self._try_write(snapshot, frame, where, {str(table): snapshot.batch + 1})

        while True:
            commit = self._until_written(table, write)
            written += commit.rows
            if part.last is None or left is None:
                return replace(commit, rows=written)
            part.after = part.last
            left = commit.version, left[1]

    def _until_written(self, table: Table, write: Callable[[Snapshot], Commit | None]) -> Commit:
        """Open, decide and write; after a lost race or a passing fault anew, on what is there by then."""
        faults, purges = Faults(is_remote=self._is_remote), _MAX_PURGES
        for _ in attempts(_MAX_ATTEMPTS):
            try:
                if commit := write(self._open_to_write(table)):
                    return commit
            except Exception as error:
                if is_behind_a_purge(error) and purges:
                    purges -= 1
                elif not faults.allow(error):
                    raise
        raise LakeConflictError(f"{table}: {_MAX_ATTEMPTS} attempts to commit lost to other writers")

    def _try_write(
        self, snapshot: Snapshot, frame: pl.DataFrame, predicate: str | None, marks: Mapping[str, int]
    ) -> Commit | None:
        """Commit on the snapshot; None where another writer was faster."""
        if snapshot.delta is None:
            raise ValueError(f"{snapshot.table} does not exist: it is created before it is written")
        properties = CommitProperties(
            app_transactions=[Transaction(app_id, number) for app_id, number in marks.items()]
        )
        try:
            if predicate is None:
                write_deltalake(snapshot.delta, frame, mode="append", commit_properties=properties)
            else:
                write_deltalake(
                    snapshot.delta,
                    frame,
                    mode="overwrite",
                    predicate=predicate,
                    commit_properties=properties,
                )
        except CommitFailedError:
            return None
        return Commit(snapshot.table, snapshot.version, frame.height)

    def _open_to_write(self, table: Table) -> Snapshot:
        """The newest version, created or migrated first where it lags behind its spec.

        Raises:
            SchemaChangeError: the spec has changed in a way that old rows cannot follow.
        """
        snapshot = self.open(table)
        if snapshot.delta is None:
            self._create(table)
            snapshot = self.open(table)
        while snapshot.delta is not None and (migration := plan_migration(table, snapshot.delta)):
            try:
                migrate(snapshot.delta, migration)
            except DeltaError:
                # Another process may have migrated it first: then nothing is left to plan.
                if plan_migration(table, self._load(table)) == migration:
                    raise
            snapshot = self.open(table)
        self.guard()
        return snapshot

    def _load(self, table: Table) -> DeltaTable:
        return DeltaTable(self.uri(table), storage_options=self.storage_options)

    def _create(self, table: Table) -> None:
        if "://" not in self.url:
            Path(self.uri(table)).mkdir(parents=True, exist_ok=True)
        try:
            DeltaTable.create(
                self.uri(table),
                schema=delta_schema(table),
                mode="ignore",
                partition_by=[table.partition_by] if table.partition_by else None,
                name=str(table),
                description=table.description,
                configuration=table_properties(table),
                storage_options=self.storage_options,
            )
        except DeltaError:
            # Two processes may create at once: what counts is that it is there now.
            if not self.exists(table):
                raise


def _changed_days(snapshot: Snapshot, frame: pl.DataFrame, days: list[date]) -> list[date]:
    """Days on which a frame's rows differ in content from the snapshot's."""
    table = snapshot.table
    column = table.partition_by or ""
    content = list(table.content)
    before = snapshot.rows().filter(pl.col(column).is_in(days)).collect()
    old = {day[0]: part.select(content).sort(table.key) for day, part in before.group_by(column)}
    new = {day[0]: part.select(content).sort(table.key) for day, part in frame.group_by(column)}
    return [day for day in days if not _same(old.get(day), new.get(day))]


def _same(old: pl.DataFrame | None, new: pl.DataFrame | None) -> bool:
    if old is None or new is None:
        return old is new
    return old.equals(new)


def _in_list(column: str, days: Iterable[date]) -> str:
    return f"{column} IN ({', '.join(map(sql_date, days))})"
