"""What keeps a table quick and small: merging files, deleting those that no version needs, shortening the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from smartdrive_dagster.lake.retries import attempts, is_behind_a_purge, past_faults

MERGE_AT: Final = 64
"""So many small files in excess make reading slow enough to merge them before the night."""
_SMALL_BYTES: Final = 16 << 20
_MAX_LOST: Final = 5


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What maintenance did to a table.

    Attributes:
        merged_files: small files that were merged into larger ones.
        files: files of the newest version.
        deleted_files: files that no version within the retention needs any more, those of writers that died
            before their commit included.
        lost_races: merges, deletions and clean-ups of the log that a writer's own work got in the way of. What
            it did every time is left until the next one.
    """

    merged_files: int
    files: int
    deleted_files: int
    lost_races: int = 0


def maintain(load: Callable[[], DeltaTable], *, is_remote: bool) -> Maintenance:
    """Merge small files, then delete and shorten what the table's own retention properties let go.

    Each step may be repeated and may die halfway. None of them changes a row.

    Args:
        load: opens the newest version.
        is_remote: the table lies in an object store, whose faults may pass.
    """
    merged, lost = merge(load, is_remote=is_remote)
    deleted, not_deleted = _past_writers(_delete, load, is_remote=is_remote)
    _, not_shortened = _past_writers(_shorten, load, is_remote=is_remote)
    files = past_faults(lambda: len(load().file_uris()), is_remote=is_remote)
    return Maintenance(
        merged_files=merged, files=files, deleted_files=deleted, lost_races=lost + not_deleted + not_shortened
    )


def excess_files(delta: DeltaTable) -> int:
    """How many small files a merge would save: those beyond the first of each partition."""
    files = pl.DataFrame(delta.get_add_actions(flatten=True))
    small = files.filter(pl.col("size_bytes") < _SMALL_BYTES)
    partitions = small.select(pl.col("^partition.*$").cast(pl.String), pl.lit("")).n_unique()
    return small.height - partitions


def merge(load: Callable[[], DeltaTable], *, is_remote: bool) -> tuple[int, int]:
    """Merge small files within their partitions.

    Returns:
        Files merged, and merges lost to writers who replaced files meanwhile.
    """
    return _past_writers(_merge, load, is_remote=is_remote)


def _past_writers(
    step: Callable[[DeltaTable], int], load: Callable[[], DeltaTable], *, is_remote: bool
) -> tuple[int, int]:
    """Do a step on the newest version until no writer is in its way; its count, and how often one was."""
    for lost in attempts(_MAX_LOST):
        try:
            return past_faults(lambda: step(load()), is_remote=is_remote), lost
        except (DeltaError, FileNotFoundError) as error:
            if not (isinstance(error, CommitFailedError) or is_behind_a_purge(error)):
                raise
    return 0, _MAX_LOST


def _merge(delta: DeltaTable) -> int:
    return int(delta.optimize.compact(max_concurrent_tasks=1)["numFilesRemoved"])


def _delete(delta: DeltaTable) -> int:
    """Files deleted. A listing finds the files that dead writers left, which no log names."""
    return len(delta.vacuum(dry_run=False, full=True))


def _shorten(delta: DeltaTable) -> int:
    """The version that is now a checkpoint. A writer's own clean-up may take the same old entries meanwhile."""
    delta.create_checkpoint()
    delta.cleanup_metadata()
    return delta.version()
