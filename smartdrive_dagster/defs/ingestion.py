"""From landing objects to Bronze and Silver, in micro-batches that may be killed at any point.

What is left to do is derived from tables alone: Bronze lacks what the listing has and bronze.objects has not,
Silver lacks what bronze.objects has and the ledger has not. Each step asks again, on the snapshot it commits on,
what is there already; so a step may be repeated, overlap with another run, or die halfway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, TypeVar

import polars as pl

from smartdrive_dagster.defs.heard import Heard, write_vehicles
from smartdrive_dagster.defs.held import between_keys, missing, where_copies_are, with_lines
from smartdrive_dagster.defs.landed import BronzeObject, Lines, ObjectRows, batches, portions, spans
from smartdrive_dagster.domain.claims import (
    CLAIM_COLUMNS,
    OURS,
    WRITE,
    ledger_rows,
    line_counts,
    rejected_samples,
    settle,
)
from smartdrive_dagster.domain.decoding import Decoded, decode_slices, keyed_pseudonym
from smartdrive_dagster.domain.erasures import NOBODY, Erased
from smartdrive_dagster.domain.fact_frames import line_touches
from smartdrive_dagster.domain.retracted import erased, without
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.landing.erasing import erase_lines
from smartdrive_dagster.landing.reader import read_object
from smartdrive_dagster.landing.store import LandingObject, LandingStore, UnreadableError
from smartdrive_dagster.tables import Table, bronze, facts, silver

BATCH_BYTES: Final = 32 * 1024 * 1024
BATCH_OBJECTS: Final = 512
SLICE_BYTES: Final = 16 * 1024 * 1024
SLICE_SAMPLES: Final = 100_000
_LINE: Final = ("object_key", "line_no")
_T = TypeVar("_T")


@dataclass
class Progress:
    """What a run has done so far: counts only.

    Attributes:
        objects: landing objects taken into Bronze.
        lines: Bronze lines judged.
        verdicts: lines by verdict.
        rows: rows written by table.
        versions: newest Delta version by table.
        missing: listed objects that were gone when they were to be read.
        unreadable: keys of objects that could not be read, with the reason; they are left for another run.
        unlisted: folders that could not be listed, with the reason.
        known: vehicles that silver.vehicles holds, with a first day at most this one.
    """

    objects: int = 0
    lines: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    missing: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    known: dict[str, date] = field(default_factory=dict, repr=False)


class _BronzePart:
    """Rows of bronze.messages that are committed together, and the objects that these complete."""

    def __init__(self) -> None:
        self.lines: list[Lines] = []
        self.frames: list[pl.DataFrame] = []
        self.objects: list[pl.DataFrame] = []
        self.size_bytes = 0

    def add(self, lines: Lines, frame: pl.DataFrame) -> None:
        self.lines.append(lines)
        self.frames.append(frame)
        self.size_bytes += int(frame.estimated_size())


@dataclass(frozen=True)
class Ingestion:
    """The two steps, landing to Bronze and Bronze to Silver, over one lake and one landing zone.

    Args:
        lakehouse: where the tables are.
        store: where the landing objects are.
        secret: keys the vehicles' pseudonyms.
        retracted: keys of objects that were taken back: their lines are erased, bring no row and claim nothing.
        erased: vehicles of which nothing is taken in: a line that names one is erased in landing itself.
    """

    lakehouse: Lakehouse
    store: LandingStore
    secret: bytes = field(repr=False)
    retracted: frozenset[str] = frozenset()
    erased: Erased = NOBODY

    def advance(self, day: date, progress: Progress) -> bool:
        """Do one micro-batch of an arrival day; False where nothing was left to do, or could be done."""
        return any(self.steps(day, progress))

    def steps(self, day: date, progress: Progress) -> Iterator[bool]:
        """Do what is left of an arrival day, and tell after each micro-batch whether it took anything in.

        One listing and one look at each table serve all of them: what lands meanwhile is for another call.
        """
        for batch in self.unread(day, progress):
            before = progress.objects
            self.to_bronze(batch, progress)
            yield progress.objects > before
        for objects, lines in self.unjudged(day):
            self.to_silver(objects, progress, lines=lines)
            yield True

    def redo(self, day: date, progress: Progress) -> None:
        """Compute an arrival day anew from landing, or from Bronze where landing's retention has ended.

        Each batch replaces its own objects' rows in one commit a table, in order of arrival.
        """
        listed = self._list(day, progress)
        for batch in _batches(listed, lambda entry: entry.size_bytes):
            self.to_bronze(batch, progress, replace=True)
        held = [BronzeObject(*row) for row in self._bronze_objects(day).filter(pl.col("lines") > 0).iter_rows()]
        self.judge_anew(held, progress)

    def judge_anew(self, objects: Sequence[BronzeObject], progress: Progress) -> None:
        """Judge the lines of whole objects again, if Bronze holds them; each slice replaces its own lines."""
        for batch, lines in self._work(with_lines(self.lakehouse, objects), redo=True):
            self.to_silver(batch, progress, lines=lines, replace=True)

    def unread(self, day: date, progress: Progress) -> Iterator[list[LandingObject]]:
        """Batches of an arrival day's objects that Bronze does not hold yet, but for the unreadable ones."""
        listed = self._list(day, progress)
        if not listed:
            return
        held = set(self._bronze_objects(day).get_column("object_key")) | progress.unreadable.keys()
        left = [entry for entry in listed if entry.key not in held]
        yield from _batches(left, lambda entry: entry.size_bytes)

    def unjudged(self, day: date) -> Iterator[tuple[list[BronzeObject], Lines | None]]:
        """What of an arrival day the ledger lacks: several whole objects at a time, or some lines of a large one.

        The lines of a large object enter the ledger portion by portion: it is judged when all of them are there.
        """
        objects = self._bronze_objects(day).filter(pl.col("lines") > 0)
        if objects.is_empty():
            return
        ledger = self.lakehouse.scan(silver.MESSAGES).filter(pl.col("landing_date") == day)
        judged = ledger.group_by("object_key").agg(judged=pl.len()).collect(engine="streaming")
        left = (
            objects.join(judged, on="object_key", how="left", maintain_order="left")
            .filter(pl.col("lines") > pl.col("judged").fill_null(0))
            .drop("judged")
        )
        yield from self._work([BronzeObject(*row) for row in left.iter_rows()], redo=False)

    def to_bronze(self, batch: Sequence[LandingObject], progress: Progress, *, replace: bool = False) -> None:
        """Take objects into bronze.messages, then (when all their lines are there) into bronze.objects."""
        part = _BronzePart()
        for entry in batch:
            try:
                if self.erased:
                    entry = erase_lines(self.store, entry, self.erased.names).entry  # noqa: PLW2901
                rows = ObjectRows(read_object(self.store, entry))
                for lines, frame in rows.frames():
                    if part.frames and part.size_bytes + frame.estimated_size() > BATCH_BYTES:
                        self._commit_bronze(part, progress, replace)
                        part = _BronzePart()
                    part.add(lines, frame)
                part.objects.append(rows.row())
            except FileNotFoundError:
                progress.missing += 1
            except UnreadableError as error:
                progress.unreadable[entry.key] = str(error)
        self._commit_bronze(part, progress, replace)

    def to_silver(
        self,
        batch: Sequence[BronzeObject],
        progress: Progress,
        *,
        lines: Lines | None = None,
        replace: bool = False,
    ) -> None:
        """Judge objects' lines, or some lines of one: accepted rows, then the quarantine, then the ledger."""
        keys = [entry.key for entry in batch]
        days = sorted({entry.landing_date for entry in batch})
        digests = pl.DataFrame(
            [(entry.key, entry.object_digest) for entry in batch],
            schema={"object_key": pl.String(), "object_digest": pl.String()},
            orient="row",
        )
        chosen = pl.col("object_key").is_in(keys) if lines is None else lines.expression
        rows = (
            self.lakehouse.scan(bronze.MESSAGES)
            .filter(pl.col("landing_date").is_in(days), between_keys(digests), chosen)
            .collect()
        )
        if replace:  # each slice replaces its own lines, so that a kill between two slices loses none
            order = pl.DataFrame({"object_key": keys, "turn": range(len(keys))})
            rows = rows.join(order, on="object_key").sort("turn", "line_no")
        else:
            rows = rows.sort("received_at", "object_key", "line_no", nulls_last=True)
        slices = decode_slices(
            rows, keyed_pseudonym(self.secret), max_samples=SLICE_SAMPLES, max_bytes=SLICE_BYTES
        )
        heard = Heard()
        ledger = []
        for decoded in slices:
            replaced = spans(decoded.lines, rows, lines) if replace else None
            ledger.append(self._commit_slice(without(decoded, self.retracted), digests, progress, replaced, heard))
        self._commit_vehicles(heard, progress, anew=replace and not self.retracted.isdisjoint(keys))
        replacing = ([Lines(key) for key in keys] if lines is None else [lines]) if replace else None
        self._commit_ledger(pl.concat(ledger), days, progress, replacing)

    def _list(self, day: date, progress: Progress) -> Sequence[LandingObject]:
        listing = self.store.list(on=day)
        progress.unlisted.update(listing.unreadable)
        return listing.objects

    def _work(
        self, objects: Sequence[BronzeObject], *, redo: bool
    ) -> Iterator[tuple[list[BronzeObject], Lines | None]]:
        for batch in _batches(objects, lambda entry: entry.weight):
            if len(batch) > 1 or batch[0].weight <= BATCH_BYTES:
                yield batch, None
            else:
                yield from (([*batch], lines) for lines in self._portions(batch[0], redo=redo))

    def _portions(self, entry: BronzeObject, *, redo: bool) -> list[Lines]:
        """A large object's lines in runs that fit into memory: all of them, or those that the ledger lacks."""
        its = (pl.col("landing_date") == entry.landing_date) & Lines(entry.key).expression
        lines = self.lakehouse.scan(bronze.MESSAGES).filter(its)
        sizes = lines.select("line_no", size=pl.col("payload").bin.size()).collect(engine="streaming")
        if not redo:
            judged = self.lakehouse.scan(silver.MESSAGES).filter(its).select("line_no").collect()
            sizes = sizes.join(judged, on="line_no", how="anti")
        return portions(entry.key, sizes.sort("line_no"), SLICE_BYTES, gapless=redo)

    def _bronze_objects(self, day: date) -> pl.DataFrame:
        """An arrival day's objects in order of arrival, with the columns of `BronzeObject`."""
        return (
            self.lakehouse.scan(bronze.OBJECTS)
            .filter(pl.col("landing_date") == day)
            .sort("first_received_at", "object_key", nulls_last=True)
            .select("object_key", "landing_date", "lines", "payload_bytes", "object_digest")
            .collect()
        )

    def _commit_bronze(self, part: _BronzePart, progress: Progress, replace: bool) -> None:
        if part.frames:
            messages = pl.concat(part.frames)
            replacing = part.lines if replace else None
            self._write(bronze.MESSAGES, missing(messages, bronze.MESSAGES, replacing), progress, replacing)
        if part.objects:
            objects = pl.concat(part.objects)
            replacing = [Lines(key) for key in objects.get_column("object_key")] if replace else None
            self._write(bronze.OBJECTS, missing(objects, bronze.OBJECTS, replacing), progress, replacing)
        progress.objects += len(part.objects)

    def _commit_slice(
        self,
        decoded: Decoded,
        digests: pl.DataFrame,
        progress: Progress,
        replacing: list[Lines] | None,
        heard: Heard,
    ) -> pl.DataFrame:
        telemetry = self._settle(silver.TELEMETRY, decoded.telemetry, progress, replacing)
        events = self._settle(silver.EVENTS, decoded.events, progress, replacing)
        known = events.filter(pl.col("fate").is_in([WRITE, OURS])).select(_LINE)
        codes = decoded.dtc_readings.join(known, on=_LINE, how="semi")
        self._write(silver.DTC_READINGS, missing(codes, silver.DTC_READINGS, replacing), progress, replacing)
        landed = decoded.lines.select(*_LINE, "channel", "payload_digest")
        said = self._settle_facts(decoded, progress, replacing)
        settled = pl.concat([_fates(frame) for frame in (telemetry, events, *said.values())])
        heard.add(decoded.vins, pl.concat([_fates(telemetry), _fates(events)]), said.get(facts.PROFILES))
        rejected = (
            pl.concat([decoded.rejected, rejected_samples(settled, landed)], how="diagonal")
            .join(digests, on="object_key", how="left")
            .with_columns(payload_digest=pl.coalesce("payload_digest", "object_digest"))
            .drop("object_digest")
        )
        self._write(silver.QUARANTINE, missing(rejected, silver.QUARANTINE, replacing), progress, replacing)
        counts = line_counts(settled)
        if facts.CORRECTIONS in said:
            counts = line_touches(counts, said[facts.CORRECTIONS])
        return erased(ledger_rows(decoded.lines.drop("payload_digest", "is_erased"), counts), decoded.lines)

    def _settle_facts(
        self, decoded: Decoded, progress: Progress, replacing: list[Lines] | None
    ) -> dict[Table, pl.DataFrame]:
        """Settle the facts of those channels that the slice has lines of: most slices have none."""
        channels = set(decoded.lines.get_column("channel"))
        return {
            table: self._settle(table, frame, progress, replacing)
            for table, frame in decoded.facts.items()
            if facts.CHANNEL_OF[table] in channels
        }

    def _commit_vehicles(self, heard: Heard, progress: Progress, *, anew: bool) -> None:
        commit = write_vehicles(self.lakehouse, heard, progress.known, anew=anew)
        if commit is not None:
            progress.rows[str(facts.VEHICLES)] = commit.rows
            progress.versions[str(facts.VEHICLES)] = commit.version

    def _settle(
        self, table: Table, batch: pl.DataFrame, progress: Progress, replacing: list[Lines] | None
    ) -> pl.DataFrame:
        """Write what the batch newly brings, and return the batch with the fates of the commit that held."""
        near = where_copies_are(table, batch)
        messages = batch.select(pl.col("message_id").unique()).lazy()
        settled = batch

        def rows(snapshot: Snapshot) -> pl.DataFrame:
            nonlocal settled
            held = snapshot.rows().filter(near)
            if "sample" not in table.by_name:
                held = held.with_columns(sample=pl.lit(0, pl.Int32))
            if replacing is not None:
                held = held.filter(~pl.any_horizontal(lines.expression for lines in replacing))
            if self.retracted:
                held = held.filter(~pl.col("object_key").is_in(list(self.retracted)))
            claims = held.select(CLAIM_COLUMNS).join(messages, on="message_id", how="semi").collect()
            settled = settle(batch, claims)
            return settled.filter(pl.col("fate") == WRITE).select(list(table.by_name))

        self._write(table, rows, progress, replacing, is_empty=batch.is_empty())
        return settled if "fate" in settled.columns else settle(batch, batch.clear().select(CLAIM_COLUMNS))

    def _commit_ledger(
        self, lines: pl.DataFrame, days: list[date], progress: Progress, replacing: list[Lines] | None
    ) -> None:
        def rows(snapshot: Snapshot) -> pl.DataFrame:
            held = snapshot.rows().filter(pl.col("landing_date").is_in(days), between_keys(lines))
            batch = pl.lit(snapshot.batch + 1, pl.Int64).alias("batch")
            if replacing is None:
                known = held.select(_LINE).collect()
                return lines.join(known, on=_LINE, how="anti").with_columns(batch)
            before = (
                held.filter(pl.any_horizontal(part.expression for part in replacing))
                .select(*_LINE, touched_before="touched")
                .collect()
            )
            return _with_union_of_touched(lines, before).with_columns(batch)

        self._write(silver.MESSAGES, rows, progress, replacing)
        progress.lines += lines.height
        for verdict, count in lines.group_by("verdict").len().iter_rows():
            progress.verdicts[verdict] = progress.verdicts.get(verdict, 0) + count

    def _write(
        self,
        table: Table,
        rows: Callable[[Snapshot], pl.DataFrame],
        progress: Progress,
        replacing: list[Lines] | None,
        *,
        is_empty: bool = False,
    ) -> None:
        if replacing is None and is_empty:
            return
        if replacing is None:
            commit = self.lakehouse.append_once(table, rows)
        else:
            commit = self.lakehouse.replace(
                table, rows, predicate=" OR ".join(part.predicate for part in replacing)
            )
        progress.rows[str(table)] = progress.rows.get(str(table), 0) + commit.rows
        progress.versions[str(table)] = commit.version


def _batches(entries: Sequence[_T], size: Callable[[_T], int]) -> Iterator[list[_T]]:
    return batches(entries, size, max_bytes=BATCH_BYTES, max_objects=BATCH_OBJECTS)


def _fates(settled: pl.DataFrame) -> pl.DataFrame:
    return settled.select(
        *_LINE, "landing_date", "received_at", "sample", "reason", "fate", "event_date", "vehicle_id"
    )


def _with_union_of_touched(lines: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """A replaced line touches what it touched before too: Gold must notice rows that have gone."""
    union = pl.concat_list("touched", pl.col("touched_before").fill_null([]))
    return (
        lines.join(before, on=_LINE, how="left", maintain_order="left")
        .with_columns(touched=union.list.unique().list.sort())
        .drop("touched_before")
    )
