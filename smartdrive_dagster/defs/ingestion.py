"""From landing objects to Bronze and Silver, in micro-batches that may be killed at any point.

What is left to do is derived from tables alone: Bronze lacks what the listing has and bronze.objects has not,
Silver lacks what bronze.objects has and the ledger has not. Each step asks again, on the snapshot it commits on,
what is there already; so a step may be repeated, overlap with another run, or die halfway.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, TypeVar

import polars as pl

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
from smartdrive_dagster.lake.frames import polars_schema
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.landing.reader import Line, read_lines
from smartdrive_dagster.landing.store import LandingObject, LandingStore, UnreadableError
from smartdrive_dagster.tables import Table, bronze, silver

BATCH_BYTES: Final = 32 * 1024 * 1024
BATCH_OBJECTS: Final = 512
SLICE_BYTES: Final = 16 * 1024 * 1024
SLICE_SAMPLES: Final = 100_000
_LINE: Final = ("object_key", "line_no")
_T = TypeVar("_T")
_ALL_LINES: Final = 2**62
_MESSAGES = polars_schema(bronze.MESSAGES)
_OBJECTS = polars_schema(bronze.OBJECTS)


@dataclass(frozen=True, slots=True)
class BronzeObject:
    """A landing object that Bronze holds."""

    key: str
    landing_date: date
    lines: int
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of one landing object: what a write replaces. The Delta log holds its text; it names no vehicle."""

    key: str
    first: int = 0
    last: int = _ALL_LINES

    @property
    def predicate(self) -> str:
        """The lines in SQL."""
        if self.last == _ALL_LINES:
            return f"object_key = {self.key!r}"
        return f"(object_key = {self.key!r} AND line_no BETWEEN {self.first} AND {self.last})"

    @property
    def expression(self) -> pl.Expr:
        """The lines in Polars."""
        return (pl.col("object_key") == self.key) & pl.col("line_no").is_between(self.first, self.last)


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
    """

    objects: int = 0
    lines: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    missing: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ingestion:
    """The two steps, landing to Bronze and Bronze to Silver, over one lake and one landing zone.

    Args:
        lakehouse: where the tables are.
        store: where the landing objects are.
        secret: keys the vehicles' pseudonyms.
    """

    lakehouse: Lakehouse
    store: LandingStore
    secret: bytes = field(repr=False)

    def advance(self, day: date, progress: Progress) -> bool:
        """Do one micro-batch of an arrival day; False where nothing was left to do."""
        for batch in self.unread(day, progress.unreadable):
            self.to_bronze(batch, progress)
            break
        else:
            for judged in self.unjudged(day):
                self.to_silver(judged, progress)
                return True
            return False
        return True

    def redo(self, day: date, progress: Progress) -> None:
        """Compute an arrival day anew from landing, or from Bronze where landing's retention has ended.

        Each batch replaces its own objects' rows in one commit a table, in order of arrival.
        """
        listed = self.store.list(on=day).objects
        for batch in _batches(listed, lambda entry: entry.size_bytes):
            self.to_bronze(batch, progress, replace=True)
        objects = self._bronze_objects(day)
        for judged in _batches([entry for entry in objects if entry.lines], lambda entry: entry.payload_bytes):
            self.to_silver(judged, progress, replace=True)

    def unread(self, day: date, without: Collection[str] = ()) -> Iterator[list[LandingObject]]:
        """Batches of an arrival day's objects that Bronze does not hold yet, leaving out some keys."""
        listed = self.store.list(on=day).objects
        if not listed:
            return
        held = set(
            self.lakehouse.scan(bronze.OBJECTS)
            .filter(pl.col("landing_date") == day)
            .select("object_key")
            .collect()
            .get_column("object_key")
        )
        held.update(without)
        yield from _batches([e for e in listed if e.key not in held], lambda entry: entry.size_bytes)

    def unjudged(self, day: date) -> Iterator[list[BronzeObject]]:
        """Batches of an arrival day's objects whose lines the ledger does not hold yet."""
        objects = [entry for entry in self._bronze_objects(day) if entry.lines]
        if not objects:
            return
        judged = set(
            self.lakehouse.scan(silver.MESSAGES)
            .filter(pl.col("landing_date") == day)
            .select(pl.col("object_key").unique())
            .collect()
            .get_column("object_key")
        )
        yield from _batches([e for e in objects if e.key not in judged], lambda entry: entry.payload_bytes)

    def to_bronze(self, batch: Sequence[LandingObject], progress: Progress, *, replace: bool = False) -> None:
        """Take objects into bronze.messages, then (when their lines are there) into bronze.objects."""
        part: list[tuple[LandingObject, pl.DataFrame]] = []
        size = 0
        for entry in batch:
            try:
                lines = _lines_frame(entry, read_lines(self.store, entry))
            except FileNotFoundError:
                progress.missing += 1
                continue
            except UnreadableError as error:
                progress.unreadable[entry.key] = str(error)
                continue
            if part and size + lines.estimated_size() > BATCH_BYTES:
                self._commit_bronze(part, progress, replace)
                part, size = [], 0
            part.append((entry, lines))
            size += int(lines.estimated_size())
        if part:
            self._commit_bronze(part, progress, replace)

    def to_silver(self, batch: Sequence[BronzeObject], progress: Progress, *, replace: bool = False) -> None:
        """Judge objects' lines: accepted rows, then the quarantine, then the ledger."""
        keys = [entry.key for entry in batch]
        days = sorted({entry.landing_date for entry in batch})
        rows = (
            self.lakehouse.scan(bronze.MESSAGES)
            .filter(pl.col("landing_date").is_in(days), pl.col("object_key").is_in(keys))
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
        ledger = [
            self._commit_slice(decoded, progress, _spans(decoded) if replace else None) for decoded in slices
        ]
        self._commit_ledger(pl.concat(ledger), days, progress, [Lines(key) for key in keys] if replace else None)

    def _bronze_objects(self, day: date) -> list[BronzeObject]:
        held = (
            self.lakehouse.scan(bronze.OBJECTS)
            .filter(pl.col("landing_date") == day)
            .sort("first_received_at", "object_key", nulls_last=True)
            .select("object_key", "landing_date", "lines", "payload_bytes")
            .collect()
        )
        return [BronzeObject(*row) for row in held.iter_rows()]

    def _commit_bronze(
        self, part: Sequence[tuple[LandingObject, pl.DataFrame]], progress: Progress, replace: bool
    ) -> None:
        keys = [entry.key for entry, _ in part]
        messages = pl.concat([lines for _, lines in part])
        objects = pl.concat([_object_frame(entry, lines) for entry, lines in part])
        days = sorted({entry.landing_date for entry, _ in part})
        replacing = [Lines(key) for key in keys] if replace else None
        for table, rows in ((bronze.MESSAGES, messages), (bronze.OBJECTS, objects)):
            self._write(table, _missing(rows, table, days, replacing), progress, replacing)
        progress.objects += len(part)

    def _commit_slice(self, decoded: Decoded, progress: Progress, replacing: list[Lines] | None) -> pl.DataFrame:
        telemetry = self._settle(silver.TELEMETRY, decoded.telemetry, progress, replacing)
        events = self._settle(silver.EVENTS, decoded.events, progress, replacing)
        known = events.filter(pl.col("fate").is_in([WRITE, OURS])).select(_LINE)
        codes = decoded.dtc_readings.join(known, on=_LINE, how="semi")
        days = sorted(set(codes.get_column("event_date")))
        self._write(
            silver.DTC_READINGS, _missing(codes, silver.DTC_READINGS, days, replacing), progress, replacing
        )
        channels = decoded.lines.select(*_LINE, "channel")
        settled = pl.concat([_fates(telemetry), _fates(events)])
        rejected = pl.concat([decoded.rejected, rejected_samples(settled, channels)], how="diagonal")
        days = sorted(set(decoded.lines.get_column("landing_date")))
        self._write(silver.QUARANTINE, _missing(rejected, silver.QUARANTINE, days, replacing), progress, replacing)
        return ledger_rows(decoded.lines, line_counts(settled))

    def _settle(
        self, table: Table, batch: pl.DataFrame, progress: Progress, replacing: list[Lines] | None
    ) -> pl.DataFrame:
        """Write what the batch newly brings, and return the batch with the fates of the commit that held."""
        days = sorted(set(batch.get_column("event_date").drop_nulls()))
        messages = batch.select(pl.col("message_id").unique()).lazy()
        settled = batch

        def rows(snapshot: Snapshot) -> pl.DataFrame:
            nonlocal settled
            held = snapshot.rows().filter(pl.col("event_date").is_in(days))
            if "sample" not in table.by_name:
                held = held.with_columns(sample=pl.lit(0, pl.Int32))
            if replacing is not None:
                held = held.filter(~pl.any_horizontal(lines.expression for lines in replacing))
            claims = held.select(CLAIM_COLUMNS).join(messages, on="message_id", how="semi").collect()
            settled = settle(batch, claims)
            return settled.filter(pl.col("fate") == WRITE).select(list(table.by_name))

        self._write(table, rows, progress, replacing, is_empty=batch.is_empty())
        return settled if "fate" in settled.columns else settle(batch, batch.clear().select(CLAIM_COLUMNS))

    def _commit_ledger(
        self, lines: pl.DataFrame, days: list[date], progress: Progress, replacing: list[Lines] | None
    ) -> None:
        def rows(snapshot: Snapshot) -> pl.DataFrame:
            held = snapshot.rows().filter(pl.col("landing_date").is_in(days))
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


def _missing(
    rows: pl.DataFrame, table: Table, days: Collection[date], replacing: Collection[Lines] | None
) -> Callable[[Snapshot], pl.DataFrame]:
    """What of `rows` a snapshot does not hold yet, by the table's key, looking at the given partitions only."""
    column = table.partition_by or ""
    key = list(table.key)

    def absent(snapshot: Snapshot) -> pl.DataFrame:
        if rows.is_empty() or replacing is not None:
            return rows.select(list(table.by_name))
        held = snapshot.rows().filter(pl.col(column).is_in(list(days))).select(key).collect()
        return rows.select(list(table.by_name)).join(held, on=key, how="anti")

    return absent


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


def _spans(decoded: Decoded) -> list[Lines]:
    """The lines that a slice holds: of each object an unbroken run."""
    runs = decoded.lines.group_by("object_key", maintain_order=True).agg(
        pl.col("line_no").min(), pl.col("line_no").max().alias("last")
    )
    return [Lines(*run) for run in runs.iter_rows()]


def _lines_frame(entry: LandingObject, lines: Sequence[Line]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "object_key": [entry.key] * len(lines),
            "line_no": [line.line_no for line in lines],
            "landing_date": [entry.landing_date] * len(lines),
            "channel": [entry.channel] * len(lines),
            "topic": [line.topic for line in lines],
            "received_at": pl.Series([line.received_at_ms for line in lines], dtype=pl.Int64)
            .cast(pl.Datetime("ms"))
            .cast(pl.Datetime("us"))
            .dt.replace_time_zone("UTC"),
            "payload": [line.payload for line in lines],
            "fault": [line.fault for line in lines],
        },
        schema_overrides=dict(_MESSAGES),
    ).cast(_MESSAGES)


def _object_frame(entry: LandingObject, lines: pl.DataFrame) -> pl.DataFrame:
    received = lines.get_column("received_at")
    return pl.DataFrame(
        [
            (
                entry.key,
                entry.landing_date,
                entry.channel,
                entry.size_bytes,
                lines.height,
                lines.get_column("payload").bin.size().fill_null(0).sum(),
                received.min(),
                received.max(),
            )
        ],
        schema=_OBJECTS,
        orient="row",
    )


def _batches(entries: Sequence[_T], size: Callable[[_T], int]) -> Iterator[list[_T]]:
    part: list[_T] = []
    total = 0
    for entry in entries:
        if part and (len(part) >= BATCH_OBJECTS or total + size(entry) > BATCH_BYTES):
            yield part
            part, total = [], 0
        part.append(entry)
        total += size(entry)
    if part:
        yield part
