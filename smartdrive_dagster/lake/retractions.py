"""Which landing objects were taken back. The table lies beside the lake, which may be deleted and rebuilt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from smartdrive_dagster.lake.frames import polars_schema
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.tables.retractions import RETRACTED_OBJECTS


@dataclass(frozen=True)
class Retractions:
    """What was taken back.

    Args:
        state: holds the table; not the lake's own root.
    """

    state: Lakehouse

    def keys(self) -> frozenset[str]:
        """Keys of the landing objects whose lines count as erased."""
        return frozenset(
            self.state.scan(RETRACTED_OBJECTS).select("object_key").collect().get_column("object_key")
        )

    def add(self, import_id: str, keys: Iterable[str], *, at: datetime) -> int:
        """Record objects as taken back; those that are already are left as they are.

        Returns:
            How many were new.
        """
        rows = pl.DataFrame(
            [{"object_key": key, "import_id": import_id, "at": at, "at_date": at.date()} for key in keys],
            schema=polars_schema(RETRACTED_OBJECTS),
        )

        def absent(snapshot: Snapshot) -> pl.DataFrame:
            return rows.join(snapshot.rows().select("object_key").collect(), on="object_key", how="anti")

        return self.state.append_once(RETRACTED_OBJECTS, absent).rows
