"""The lake without one of its guards, for the controls: they have to lose or double rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from smartdrive_dagster.defs import ingestion
from smartdrive_dagster.domain import claims
from smartdrive_dagster.lake.lakehouse import Commit, Lakehouse, Snapshot

NONE: Final = ""
DEDUPLICATION: Final = "deduplication"
ONE_COMMIT: Final = "one commit"


def drop(guard: str) -> None:
    """Patch a guard away, for the rest of this process's life."""
    if guard == DEDUPLICATION:
        _ask_nobody_what_is_there()
    elif guard == ONE_COMMIT:
        _mark_days_fresh_before_their_rows()


def _ask_nobody_what_is_there() -> None:
    ingestion.settle = lambda batch, held: claims.settle(batch, held.clear())
    ingestion._missing = lambda rows, table, replacing: lambda snapshot: rows.select(list(table.by_name))  # type: ignore[assignment]


def _mark_days_fresh_before_their_rows() -> None:
    write = Lakehouse._try_write

    def in_two_commits(
        lakehouse: Lakehouse,
        snapshot: Snapshot,
        frame: pl.DataFrame,
        predicate: str | None,
        marks: Mapping[str, int],
    ) -> Commit | None:
        if predicate is None or snapshot.table.layer not in {"gold", "marts"}:
            return write(lakehouse, snapshot, frame, predicate, marks)
        return write(lakehouse, snapshot, frame.clear(), None, marks) and write(
            lakehouse, lakehouse.open(snapshot.table), frame, predicate, {}
        )

    Lakehouse._try_write = in_two_commits  # type: ignore[method-assign]
