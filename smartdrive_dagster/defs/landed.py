"""A landing object on its way through Bronze: frames of its lines, its row, and spans that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, TypeVar

import polars as pl

from smartdrive_dagster.domain.identity import digest_text
from smartdrive_dagster.lake.frames import polars_schema
from smartdrive_dagster.landing.reader import Line, Reading
from smartdrive_dagster.landing.store import LandingObject
from smartdrive_dagster.tables import bronze

ALL_LINES: Final = 2**62
LINE_BYTES: Final = 256  # what a line takes beside its payload in Bronze, quarantine and ledger, roughly
_MESSAGES = polars_schema(bronze.MESSAGES)
_OBJECTS = polars_schema(bronze.OBJECTS)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class BronzeObject:
    """A landing object that Bronze holds."""

    key: str
    landing_date: date
    lines: int
    payload_bytes: int
    object_digest: str | None

    @property
    def weight(self) -> int:
        """Bytes that its lines take in memory, roughly: a blank line has no payload and is a row all the same."""
        return self.payload_bytes + self.lines * LINE_BYTES


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of one landing object: what a write replaces. The Delta log holds its text; it names no vehicle."""

    key: str
    first: int = 0
    last: int = ALL_LINES

    @property
    def predicate(self) -> str:
        """The lines in SQL."""
        if self == Lines(self.key):
            return f"object_key = {self.key!r}"
        return f"(object_key = {self.key!r} AND line_no BETWEEN {self.first} AND {self.last})"

    @property
    def expression(self) -> pl.Expr:
        """The lines in Polars."""
        return (pl.col("object_key") == self.key) & pl.col("line_no").is_between(self.first, self.last)


class ObjectRows:
    """The lines of one object, frame by frame, and when all have come its row in bronze.objects."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._lines = 0
        self._payload_bytes = 0
        self._received: list[datetime] = []

    def frames(self) -> Iterator[tuple[Lines, pl.DataFrame]]:
        """Rows of bronze.messages with the span that they fill; the spans of all leave no line out.

        Raises:
            FileNotFoundError: the object is gone meanwhile.
            UnreadableError: it cannot be read any more, or is another than before.
        """
        entry = self._reading.entry
        first = 0
        for part in self._reading.parts():
            frame = _lines_frame(entry, part)
            received = frame.get_column("received_at").drop_nulls()
            self._received += [received.min(), received.max()] if received.len() else []  # type: ignore[list-item]
            self._lines += frame.height
            self._payload_bytes += int(frame.get_column("payload").bin.size().sum() or 0)
            last = ALL_LINES if self._lines >= self._reading.lines else part[-1].line_no
            yield Lines(entry.key, first, last), frame
            first = part[-1].line_no + 1
        if not self._lines:
            yield Lines(entry.key), pl.DataFrame(schema=_MESSAGES)

    def row(self) -> pl.DataFrame:
        """The row of bronze.objects."""
        entry = self._reading.entry
        return pl.DataFrame(
            [
                (
                    entry.key,
                    entry.landing_date,
                    entry.channel,
                    entry.size_bytes,
                    self._lines,
                    self._payload_bytes,
                    min(self._received, default=None),
                    max(self._received, default=None),
                    digest_text(self._reading.sha256),
                )
            ],
            schema=_OBJECTS,
            orient="row",
        )


def batches(
    entries: Sequence[_T], size: Callable[[_T], int], *, max_bytes: int, max_objects: int
) -> Iterator[list[_T]]:
    """Cut a sequence into parts of bounded size; what is larger than the bound is a part by itself."""
    part: list[_T] = []
    total = 0
    for entry in entries:
        if part and (len(part) >= max_objects or total + size(entry) > max_bytes):
            yield part
            part, total = [], 0
        part.append(entry)
        total += size(entry)
    if part:
        yield part


def portions(key: str, sizes: pl.DataFrame, max_bytes: int, *, gapless: bool) -> list[Lines]:
    """Cut an object's lines into runs of bounded size, one line at least.

    Args:
        key: the object.
        sizes: line_no, in order, and size (bytes of the payload).
        max_bytes: of a run; what its lines take beside their payloads counts too.
        gapless: let the runs cover every line number there can be.
    """
    running = (pl.col("size").fill_null(0) + LINE_BYTES).cum_sum()
    ends = (
        sizes.with_columns(part=running // max_bytes)
        .group_by("part", maintain_order=True)
        .agg(first=pl.col("line_no").min(), last=pl.col("line_no").max())
    )
    runs = list(ends.select("first", "last").iter_rows())
    if gapless:
        starts = [0, *(first for first, _ in runs[1:])]
        runs = list(zip(starts, [*(start - 1 for start in starts[1:]), ALL_LINES], strict=True))
    return [Lines(key, *run) for run in runs]


def spans(part: pl.DataFrame, rows: pl.DataFrame, within: Lines | None) -> list[Lines]:
    """What a slice of some objects' lines replaces: of each object the slice's unbroken run.

    The first and the last run of an object reach beyond its lines, where an earlier reading may have found more.

    Args:
        part: object_key and line_no of the slice.
        rows: the same of all slices together.
        within: the lines of the one object that they are about, if it is not whole objects.
    """
    ends = rows.group_by("object_key").agg(least=pl.col("line_no").min(), most=pl.col("line_no").max())
    runs = part.group_by("object_key", maintain_order=True).agg(
        first=pl.col("line_no").min(), last=pl.col("line_no").max()
    )
    found = []
    for key, first, last, least, most in runs.join(ends, on="object_key", maintain_order="left").iter_rows():
        whole = within or Lines(key)
        found.append(Lines(key, whole.first if first == least else first, whole.last if last == most else last))
    return found


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
