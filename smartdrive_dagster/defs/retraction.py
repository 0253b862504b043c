"""Taking an import back: its landing objects stay, and their lines count as erased.

A tombstone beside the lake names the objects. Ingestion asks for it: a line of such an object brings no row and
claims no identity. What Silver held of it goes as in a backfill, object by object, and the ledger's new batch
makes the touched days of Gold stale. What is left to do is derived from the ledger: a crash leaves work, no harm.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from smartdrive_dagster.defs.held import with_lines
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.landed import BronzeObject
from smartdrive_dagster.domain.decoding import ERASED
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import bronze, silver

_NAME: Final = re.compile(r"(?P<id>import-[0-9a-f]{16}-[0-9a-f]{32})(?:-r(?P<copy>\d+))?-\d{5}\.jsonl")


class RetractionError(ValueError):
    """Nothing can be taken back; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An import as landing and Bronze hold it.

    Attributes:
        import_id: of file and options.
        keys: of its landing objects that have not been taken back.
        landed: the first day on which it landed.
        first: first event day that it touched; None before it is processed.
        last: last event day.
    """

    import_id: str
    keys: tuple[str, ...]
    landed: date
    first: date | None = None
    last: date | None = None


def imports_of(
    lakehouse: Lakehouse, store: LandingStore | None, prefix: str, retracted: Collection[str]
) -> list[Standing]:
    """The imports whose id begins with a prefix and that have not been taken back, the latest last.

    Args:
        lakehouse: whose Bronze is asked.
        store: is listed as well, if it is given: all of it.
        prefix: of an import's id.
        retracted: keys of objects that were taken back.
    """
    listed = store.list().objects if store else ()
    landed = {entry.key: entry.landing_date for entry in listed if f"/{prefix}" in entry.key}
    its = pl.col("object_key").str.contains(f"/{prefix}", literal=True)
    held = lakehouse.scan(bronze.OBJECTS).filter(its).select("object_key", "landing_date").collect()
    landed.update(dict(held.iter_rows()))
    found: dict[str, list[str]] = {}
    for key in sorted(landed.keys() - set(retracted)):
        if match := _NAME.search(key):
            found.setdefault(match["id"], []).append(key)
    standing = [
        Standing(import_id, tuple(keys), min(landed[key] for key in keys), *_days(lakehouse, keys))
        for import_id, keys in found.items()
    ]
    return sorted(standing, key=lambda one: (one.landed, one.import_id))


def name_of_next(import_id: str, retracted: Iterable[str]) -> str:
    """The name of an import's landing objects: its id, and a number if it was taken back before."""
    copies = [int(m["copy"] or 0) for key in retracted if (m := _NAME.search(key)) and m["id"] == import_id]
    return f"{import_id}-r{max(copies) + 1}" if copies else import_id


def settle_retractions(ingestion: Ingestion, progress: Progress) -> int:
    """Take out of Silver what has been taken back and is still there; returns how many objects that were.

    An object of which the ledger lacks lines is left for later: its rows may be being written. One whose lines
    Bronze holds no more, because its retention has ended, cannot be taken back.
    """
    if not ingestion.retracted:
        return 0
    chosen = pl.col("object_key").is_in(list(ingestion.retracted))
    ledger = ingestion.lakehouse.scan(silver.MESSAGES).filter(chosen)
    judged = ledger.group_by("object_key").agg(judged=pl.len(), left=(pl.col("verdict") != ERASED).sum())
    objects = (
        ingestion.lakehouse.scan(bronze.OBJECTS)
        .filter(chosen)
        .join(judged, on="object_key")
        .filter(pl.col("left") > 0, pl.col("judged") == pl.col("lines"))
        .sort("object_key")
        .select("object_key", "landing_date", "lines", "payload_bytes", "object_digest")
        .collect()
    )
    left = with_lines(ingestion.lakehouse, [BronzeObject(*row) for row in objects.iter_rows()])
    ingestion.judge_anew(left, progress)
    return len(left)


def _days(lakehouse: Lakehouse, keys: Collection[str]) -> tuple[date | None, date | None]:
    lines = lakehouse.scan(silver.MESSAGES).filter(pl.col("object_key").is_in(list(keys)))
    days = lines.select(pl.col("touched").explode().struct.field("event_date").alias("day")).collect()
    column = days.get_column("day").drop_nulls()
    return (None, None) if column.is_empty() else (column.min(), column.max())  # type: ignore[return-value]
