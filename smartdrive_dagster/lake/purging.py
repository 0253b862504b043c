"""What a table still knows of deleted rows, removed: old versions, their files, and the log that tells of them.

Time travel is promised within the retention and never across an erasure. Writers may go on meanwhile: a change of
the table's metadata makes every commit fail that was begun on an earlier version, and its writer decides anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from smartdrive_dagster.lake.lakehouse import LakeConflictError, Lakehouse
from smartdrive_dagster.lake.removal import files_below, remove_files
from smartdrive_dagster.lake.retries import attempts
from smartdrive_dagster.tables import Table

_SEAL: Final = "smartdrive.sealed"
_MAX_SEALS: Final = 20
_OF_LOG: Final = re.compile(r"_delta_log/(\d{20})\.")
_LAST: Final = "_delta_log/_last_checkpoint"


@dataclass(frozen=True, slots=True)
class Purged:
    """What was purged.

    Attributes:
        version: the oldest version that there is now.
        files: files that were deleted, those of the log included.
    """

    version: int
    files: int


def fence(lakehouse: Lakehouse, table: Table) -> None:
    """Make every commit fail that was begun before now."""
    if lakehouse.exists(table):
        _seal(lakehouse, table)


def purge(lakehouse: Lakehouse, table: Table) -> Purged:
    """Leave nothing of a table but its newest version; where it is killed it may be done again."""
    if not lakehouse.exists(table):
        return Purged(-1, 0)
    url = lakehouse.uri(table)
    before = files_below(url)
    delta = _seal(lakehouse, table)
    version = delta.version()
    delta.create_checkpoint()
    live = set(pl.DataFrame(delta.get_add_actions(flatten=True)).get_column("path"))
    # A file that came after the seal is of a writer who knows of it. A version of the log is never written anew.
    doomed = {name for name in before - live if not _OF_LOG.match(name) and name != _LAST}
    doomed |= {name for name in files_below(url) if (of := _OF_LOG.match(name)) and int(of[1]) < version}
    remove_files(url, doomed)
    return Purged(version, len(doomed))


def _seal(lakehouse: Lakehouse, table: Table) -> DeltaTable:
    """Change the metadata of the newest version, and nothing else of the table."""
    for _ in attempts(_MAX_SEALS):
        delta = lakehouse.open(table).delta
        if delta is None:
            break
        try:
            delta.alter.set_table_properties({_SEAL: str(delta.version() + 1)}, raise_if_not_exists=False)
        except CommitFailedError:
            continue
        return delta
    raise LakeConflictError(f"{table}: other writers won every time: repeat it")
