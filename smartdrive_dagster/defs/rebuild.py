"""A whole lake made anew, from landing and from the Bronze of the lake that is there, and held against it.

Arrival days are taken in order. Of each day all objects come into Bronze first, those that landing still holds
from landing and the others from the present lake's Bronze; then their lines are judged in order of receipt. So it
does not matter to any row where an object came from. What is left to do is derived from the new lake's tables, as
ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

import polars as pl

from smartdrive_dagster.defs.backfill import Recomputation, bring_up_to_date
from smartdrive_dagster.defs.ingestion import BATCH_BYTES, BATCH_OBJECTS, Ingestion, Progress
from smartdrive_dagster.defs.outliving import carry_over
from smartdrive_dagster.domain.decoding import decode_lines, keyed_pseudonym
from smartdrive_dagster.domain.erasures import NOBODY, Erased
from smartdrive_dagster.lake.audit import row_hash, row_hashes
from smartdrive_dagster.lake.lakehouse import Commit, Lakehouse, Snapshot
from smartdrive_dagster.lake.models import readable_tables
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import ALL, Days, Table, bronze, silver

_LINE: Final = ["object_key", "line_no"]
# Of two copies of a message one is accepted and the other a duplicate: which of them is a matter of order alone.
_OF_ORDER: Final = {
    str(silver.MESSAGES): ("verdict", "samples_accepted", "samples_duplicate", "touched"),
    "marts.data_quality": ("accepted_lines", "duplicate_lines", "samples_accepted", "samples_duplicate"),
}


class RebuildError(RuntimeError):
    """A rebuild cannot be done or finished; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One table of the present lake and of the new one.

    Attributes:
        table: its name.
        rows: in the present lake.
        new_rows: in the new one.
        is_equal: whether the rows are equal, provenance aside.
        is_reordered: equal only if it does not count which copy of a message came first (the ledger, and
            the mart that counts its lines).
    """

    table: str
    rows: int
    new_rows: int
    is_equal: bool
    is_reordered: bool = False


@dataclass(frozen=True)
class Rebuild:
    """From landing and the present lake to a new one.

    Attributes:
        present: the lake that is there; one without tables gives nothing.
        new: the lake that is made.
        store: the landing zone.
        secret: of the present lake.
        known: how Gold and marts are computed.
        until: the last day that has begun.
        retracted: keys of landing objects that were taken back.
        erased: vehicles that were erased.
    """

    present: Lakehouse
    new: Lakehouse
    store: LandingStore
    secret: bytes = field(repr=False)
    known: Mapping[str, Recomputation]
    until: date
    retracted: frozenset[str] = frozenset()
    erased: Erased = NOBODY

    def objects(self) -> dict[date, int]:
        """How many objects there are of each arrival day, in landing or in Bronze, in order."""
        landed = [(entry.landing_date, entry.key) for entry in self.store.list().objects]
        held = self.present.scan(bronze.OBJECTS).select("landing_date", "object_key").collect()
        days: dict[date, set[str]] = {}
        for day, key in (*landed, *held.iter_rows()):
            if day <= self.until:
                days.setdefault(day, set()).add(key)
        return {day: len(days[day]) for day in sorted(days)}

    def take_in(self, day: date) -> Iterator[int]:
        """Bring an arrival day to Silver; yields after each batch how many objects this call has taken in.

        Raises:
            RebuildError: a landing object cannot be read now.
        """
        ingestion = Ingestion(self.new, self.store, self.secret, self.retracted, self.erased)
        progress = Progress()
        missing = -1
        while missing != progress.missing:  # what expired while it was to be read is taken from Bronze
            missing = progress.missing
            yield from self._copy_expired(day, progress)
            while ingestion.advance(day, progress):
                yield progress.objects
        if progress.unreadable:
            key, reason = next(iter(progress.unreadable.items()))
            raise RebuildError(f"landing object {key} cannot be read: {reason}. Mend that, and repeat")

    def compute(self) -> Iterator[tuple[Table, list[date], Commit]]:
        """Compute all Gold days and marts of the new lake; yields table, its days and a commit of some of them.

        What outlives its samples is carried over, where the new lake has none of them.
        """
        for entry in self.known.values():
            if entry.computation.outlives_samples:
                carry_over(self.present, self.new, entry.table)
        yield from bring_up_to_date(self.new, self.known, until=self.until)

    def compare(self) -> Iterator[Comparison]:
        """Hold both lakes against each other, table by table."""
        lakes = (self.present, self.new)
        was, now = (row_hashes(lakehouse, readable_tables()) for lakehouse in lakes)
        for table in readable_tables():
            name = str(table)
            rows, new_rows = (lakehouse.open(table).count() for lakehouse in lakes)
            is_equal = was[name] == now[name]
            is_reordered = not is_equal and name in _OF_ORDER and self._is_equal_but_for_order(table)
            yield Comparison(name, rows, new_rows, is_equal or is_reordered, is_reordered)

    def _is_equal_but_for_order(self, table: Table) -> bool:
        rest = replace(table, provenance=(*table.provenance, *_OF_ORDER[str(table)]))
        return row_hash(self.present, rest) == row_hash(self.new, rest)

    def _copy_expired(self, day: date, progress: Progress) -> Iterator[int]:
        """Take a day's objects that landing no longer holds from the present Bronze, lines before objects."""
        landed = [entry.key for entry in self.store.list(on=day).objects]
        taken = self.new.scan(bronze.OBJECTS, Days(day, day)).select("object_key").collect()
        held = self.present.scan(bronze.OBJECTS, Days(day, day)).filter(~pl.col("object_key").is_in(landed))
        left = held.sort("first_received_at", "object_key", nulls_last=True).collect()
        left = left.join(taken, on="object_key", how="anti", maintain_order="left")
        lines = self.present.scan(bronze.MESSAGES, Days(day, day)).group_by("object_key").agg(held=pl.len())
        # What Bronze's retention has taken too is gone for a new lake: its rows will differ.
        left = left.join(lines.collect(), on="object_key", how="left", maintain_order="left")
        left = left.filter(pl.col("held").fill_null(0) >= pl.col("lines")).drop("held")
        part = pl.struct(pl.col("payload_bytes").cum_sum() // BATCH_BYTES, pl.row_index() // BATCH_OBJECTS)
        for objects in left.with_columns(part=part).partition_by("part", include_key=False, maintain_order=True):
            keys = objects.get_column("object_key").to_list()
            lines = self.present.scan(bronze.MESSAGES, Days(day, day)).filter(pl.col("object_key").is_in(keys))
            self._append(bronze.MESSAGES, lines.sort(_LINE).collect(), day)
            self._append(bronze.OBJECTS, objects, day)
            progress.objects += objects.height
            yield progress.objects

    def _append(self, table: Table, rows: pl.DataFrame, day: date) -> None:
        key = list(table.key)

        def absent(snapshot: Snapshot) -> pl.DataFrame:
            held = snapshot.rows().filter(pl.col("landing_date") == day).select(key).collect()
            return rows.join(held, on=key, how="anti", maintain_order="left")

        self.new.append_once(table, absent)


def has_tables(lakehouse: Lakehouse) -> bool:
    """Whether there is a lake at all."""
    return any(lakehouse.exists(table) for table in ALL)


def is_secret_of(lakehouse: Lakehouse, secret: bytes) -> bool:
    """Whether a secret gives the pseudonyms that a lake holds: one accepted line is decoded anew."""
    has_vin = pl.col("channel").is_in(["telemetry", "events"])  # a fact may name its vehicle by the pseudonym
    accepted = has_vin & (pl.col("verdict") == "accepted") & (pl.col("touched").list.len() > 0)
    first = lakehouse.scan(bronze.MESSAGES).select(pl.col("landing_date").min()).collect().item()
    held = pl.col("landing_date") >= first if first else pl.lit(False)
    line = lakehouse.scan(silver.MESSAGES).filter(accepted, held).head(1).collect()
    if line.is_empty():
        return True
    day = line.item(0, "landing_date")
    rows = lakehouse.scan(bronze.MESSAGES, Days(day, day)).join(line.lazy().select(_LINE), on=_LINE, how="semi")
    decoded = decode_lines(rows.collect(), keyed_pseudonym(secret))
    vehicles = {*decoded.telemetry.get_column("vehicle_id"), *decoded.events.get_column("vehicle_id")}
    return not vehicles.isdisjoint(pair["vehicle_id"] for pair in line.item(0, "touched"))
