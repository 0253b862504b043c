"""Where a row comes from: its Silver rows, their Bronze lines, and the commit that wrote it.

A row that carries an object key and a line number names its line itself. Any other stands for a vehicle's Silver
rows in a span of time: from ``started_at`` to ``ended_at``, at ``event_at``, or on the day of its partition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from smartdrive_dagster.lake.lakehouse import Snapshot
from smartdrive_dagster.lake.nearest import did_you_mean
from smartdrive_dagster.lake.time_travel import commits, committed_at
from smartdrive_dagster.tables import Table

_LINE: Final = ("object_key", "line_no")
_SHOWN: Final = 5
_ALIKE_LETTERS: Final = 3
_ALIKE: Final = 1000
_INSTANT: Final = timedelta(microseconds=1)
_LINES_AT_ONCE: Final = 256  # of at most 128 KB each
# Begin and end of what a row of a Silver table is about.
_INSTANTS: Final = {
    **dict.fromkeys(("silver.telemetry", "silver.events", "silver.dtc_readings"), ("event_at", "event_at")),
    "silver.corrections": ("from_at", "to_at"),
    "silver.profiles": ("set_at", "set_at"),
    "silver.weather": ("valid_at", "valid_at"),
}
_DIGESTS: Final = {
    "object_key": pl.String(),
    "line_no": pl.Int64(),
    "received_at": pl.Datetime("us", "UTC"),
    "payload_bytes": pl.Int64(),
    "payload_sha256": pl.String(),
}


class RowNotFoundError(ValueError):
    """No row, or more than one, has such a key; the text says where to look."""


@dataclass(frozen=True, slots=True)
class Span:
    """A vehicle's time (or, without one, that of all), both ends included."""

    vehicle_id: str | None
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Written:
    """The commit that wrote a row.

    Attributes:
        version: the Delta version.
        at: the time of the commit.
    """

    version: int
    at: datetime


def find_row(snapshot: Snapshot, key: Sequence[str]) -> dict[str, Any]:
    """The one row whose key begins with these values, in the order of the table's key columns.

    Args:
        snapshot: of the table.
        key: one text a key column, or fewer where these are unique; of a text column a prefix is enough.

    Raises:
        RowNotFoundError: there is none, or several.
    """
    table = snapshot.table
    if len(key) > len(table.key):
        raise RowNotFoundError(f"{table} has the key {', '.join(table.key)}: {len(key)} values are too many")
    rows = snapshot.rows()
    for name, text in zip(table.key, key, strict=False):
        rows = rows.filter(_begins(table, name, text))
    exact = pl.all_horizontal(
        pl.col(name).cast(pl.String) == text for name, text in zip(table.key, key, strict=False)
    )
    found = rows.sort(exact, descending=True).head(_SHOWN + 1).collect()
    if found.height == 1 or (found.height and found.filter(exact).height == 1):
        return found.row(0, named=True)
    asked = " ".join(key)
    if found.is_empty():
        raise RowNotFoundError(
            f"{table} has no row whose {', '.join(table.key)} begins with {asked}{_near(snapshot, key)}. "
            f'smartdrive sql "from {table}" lists them; a recomputed row has a new key: --as-of shows the old ones'
        )
    shown = ["  " + " ".join(map(str, row)) for row in found.head(_SHOWN).select(table.key).iter_rows()]
    more = ["  …"] if found.height > _SHOWN else []
    raise RowNotFoundError("\n".join([f"more than one row of {table} begins with {asked}:", *shown, *more]))


def row_span(table: Table, row: dict[str, Any], time_zone: str) -> Span | None:
    """The time that a row stands for; None where it has no column that says so.

    Args:
        table: the row's.
        row: its values by column.
        time_zone: IANA name of the zone in which a ``local_date`` runs.
    """
    vehicle = row.get("vehicle_id")
    if {"started_at", "ended_at"} <= row.keys() and row["started_at"] and row["ended_at"]:
        return Span(vehicle, row["started_at"], row["ended_at"])
    if row.get("event_at"):
        return Span(vehicle, row["event_at"], row["event_at"])
    day = row.get(table.partition_by or "")
    if not isinstance(day, date):
        return None
    zone = ZoneInfo(time_zone) if table.partition_by == "local_date" else ZoneInfo("UTC")
    first, end = (datetime.combine(day + timedelta(n), time(), zone).astimezone(UTC) for n in (0, 1))
    return Span(vehicle, first, end - _INSTANT)


def is_source(table: Table) -> bool:
    """Whether rows of other tables stand for rows of this one: a Silver table of vehicles' instants or facts."""
    return str(table) in _INSTANTS


def silver_rows(snapshot: Snapshot, span: Span) -> pl.DataFrame:
    """A Silver table's rows in a span, counted per Bronze line; of profiles all of the vehicle.

    Returns:
        object_key, line_no, landing_date, rows, first_at, last_at.
    """
    first, last = _INSTANTS[str(snapshot.table)]
    rows = snapshot.rows()
    if "event_date" in snapshot.table.by_name:
        rows = rows.filter(pl.col("event_date").is_between(span.first.date(), span.last.date()))
    if first != "set_at":  # a word on the vehicle itself is of no time
        rows = rows.filter(pl.col(first) <= span.last, pl.col(last) >= span.first)
    if span.vehicle_id is not None:
        rows = rows.filter(pl.col("vehicle_id") == span.vehicle_id)
    return (
        rows.group_by(*_LINE, "landing_date")
        .agg(rows=pl.len(), first_at=pl.col(first).min(), last_at=pl.col(last).max())
        .sort("first_at", *_LINE)
        .collect(engine="streaming")
    )


def messages(ledger: Snapshot, landed: Snapshot, lines: pl.DataFrame) -> pl.DataFrame:
    """What Bronze and the ledger say of some lines; never a payload or a topic, in which a VIN may stand.

    Args:
        ledger: of silver.messages.
        landed: of bronze.messages.
        lines: object_key, line_no and landing_date, each line once.

    Returns:
        The lines in order of receipt with received_at, payload_bytes, payload_sha256 (hexadecimal, as ack.v1 names
        a message), message_id, verdict and the ledger's batch.
    """
    judged = _of_lines(ledger, lines).select(*_LINE, "message_id", "verdict", "batch").collect()
    parts = [_digests(_of_lines(landed, part)) for part in lines.iter_slices(_LINES_AT_ONCE)]
    found = pl.concat(parts) if parts else pl.DataFrame(schema=_DIGESTS)
    joined = lines.join(found, on=_LINE, how="left").join(judged, on=_LINE, how="left")
    return joined.sort("received_at", *_LINE, nulls_last=True)


def written_by(snapshot: Snapshot, day: date | None) -> Written | None:
    """The newest commit that replaced a day's rows; None where the log no longer holds it."""
    if snapshot.delta is None or day is None:
        return None
    for commit in commits(snapshot.delta):
        predicate = str((commit.get("operationParameters") or {}).get("predicate", ""))
        if commit.get("operation") == "WRITE" and day.isoformat() in predicate:
            return Written(int(commit["version"]), committed_at(commit))
    return None


def _begins(table: Table, name: str, text: str) -> pl.Expr:
    match table.by_name[name].dtype:
        case "string":
            return pl.col(name).str.starts_with(text.removesuffix("…"))
        case "date":
            parse: Callable[[str], object] = date.fromisoformat
        case _:
            parse = int
    try:
        return pl.col(name) == parse(text)
    except ValueError as error:
        raise RowNotFoundError(f"{name} of {table} is a {table.by_name[name].dtype}, not {text!r}") from error


def _near(snapshot: Snapshot, key: Sequence[str]) -> str:
    name, text = snapshot.table.key[0], key[0].removesuffix("…")
    if snapshot.table.by_name[name].dtype != "string":
        return ""
    alike = pl.col(name).str.starts_with(text[:_ALIKE_LETTERS])
    names = snapshot.rows().filter(alike).select(pl.col(name).str.slice(0, len(text)).unique()).head(_ALIKE)
    return did_you_mean(text, names.collect().get_column(name))


def _of_lines(snapshot: Snapshot, lines: pl.DataFrame) -> pl.LazyFrame:
    days, keys = (lines.get_column(name).unique().to_list() for name in ("landing_date", "object_key"))
    near = snapshot.rows().filter(pl.col("landing_date").is_in(days), pl.col("object_key").is_in(keys))
    return near.join(lines.lazy().select(_LINE), on=_LINE, how="semi")


def _digests(rows: pl.LazyFrame) -> pl.DataFrame:
    found = rows.select(*_LINE, "received_at", "payload").collect()
    payloads = found.get_column("payload")
    return found.drop("payload").with_columns(
        payload_bytes=payloads.bin.size().cast(pl.Int64),
        payload_sha256=pl.Series([_sha256(payload) for payload in payloads], dtype=pl.String()),
    )


def _sha256(payload: bytes | None) -> str | None:
    return None if payload is None else hashlib.sha256(payload).hexdigest()
