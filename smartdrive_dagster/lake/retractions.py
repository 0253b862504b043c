"""Which landing objects were taken back and which vehicles erased.

The tables lie beside the lake, which may be deleted and rebuilt.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from smartdrive_dagster.lake.frames import polars_schema
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.tables.retractions import ERASED_VEHICLES, RETRACTED_OBJECTS

Counts = Mapping[str, Mapping[str, int]]
"""By store, what was removed there and how many of it."""


class ErasureBegunError(RuntimeError):
    """A vehicle is being erased since this work began: what it read may name the vehicle, so it writes no more."""


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

    def vehicles(self) -> frozenset[str]:
        """Tombstones of all vehicles that were erased or are to be."""
        steps = self.state.scan(ERASED_VEHICLES).select("tombstone").unique().collect()
        return frozenset(steps.get_column("tombstone"))

    def pending(self) -> dict[str, Counts]:
        """Vehicles whose erasure is not done, with what was removed so far."""
        return {stone: counts for stone, (step, counts) in self._latest().items() if step != "done"}

    def mark(self, tombstones: Collection[str], step: str, *, at: datetime, counts: Counts | None = None) -> None:
        """Record how far the erasure of some vehicles is."""
        told = json.dumps(counts, sort_keys=True) if counts else None
        rows = [(stone, step, at, at.date(), told) for stone in sorted(tombstones)]
        frame = pl.DataFrame(rows, schema=polars_schema(ERASED_VEHICLES), orient="row")
        key = list(ERASED_VEHICLES.key)
        self.state.append_once(
            ERASED_VEHICLES, lambda snapshot: frame.join(snapshot.rows().collect(), on=key, how="anti")
        )

    def lakehouse(self, url: str) -> Lakehouse:
        """A lake whose writers stop where an erasure has come further since now: they may have read too early.

        Whoever writes rows that were made of others opens the lake so, before reading. The erasure records a step
        after each layer and then looks at the next one; so a row that was made before is either there to be found
        or meets this guard.
        """
        begun = self.state.open(ERASED_VEHICLES).version

        def guard() -> None:
            if self.state.open(ERASED_VEHICLES).version != begun:
                raise ErasureBegunError("a vehicle is being erased, so this work was broken off: repeat it")

        return Lakehouse(url, guard)

    def _latest(self) -> dict[str, tuple[str, Counts]]:
        steps = self.state.scan(ERASED_VEHICLES).sort("at").select("tombstone", "step", "counts").collect()
        return {stone: (step, json.loads(counts or "{}")) for stone, step, counts in steps.iter_rows()}
