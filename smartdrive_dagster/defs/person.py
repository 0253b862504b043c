"""All that the lake holds of one vehicle, written out for the person who drove it."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import polars as pl

from smartdrive_dagster.defs.erasing import lines_in, parts_of
from smartdrive_dagster.domain.erasures import Erased
from smartdrive_dagster.domain.identity import tombstone
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.models import readable_tables
from smartdrive_dagster.landing.reader import read_object
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import Days, Table, bronze, silver

MESSAGES: Final = "messages.json"
_LINE: Final = ["object_key", "line_no"]
_OF_LINES: Final = (silver.QUARANTINE, silver.MESSAGES)


class ExportError(RuntimeError):
    """Nothing can be written there; the text says why."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        messages: landed lines that name the vehicle.
        rows: by table.
    """

    messages: int
    rows: dict[str, int]


def export_person(
    lakehouse: Lakehouse, store: LandingStore, vehicle: str, secret: bytes, folder: Path, *, on: date
) -> Exported:
    """Write everything of one vehicle into a folder: messages as JSON lines, tables as Parquet and as JSON lines.

    Args:
        lakehouse: the lake.
        store: the landing zone; what Bronze lacks is read from there.
        vehicle: its vehicle_id.
        secret: the lake's.
        folder: made for it, readable by its owner alone. It appears when all of it is there.
        on: the day, for the page that says what is what.

    Raises:
        ExportError: the folder is there already.
    """
    if folder.exists():
        raise ExportError(f"{folder} is there already: name a folder that is not, so that nothing is mixed up")
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    draft.mkdir(mode=0o700, parents=True)
    who = Erased(secret, frozenset({tombstone(vehicle, secret)}))
    lines: list[tuple[str, int]] = []
    with (draft / MESSAGES).open("wb") as file:
        for message in _messages(lakehouse, store, who):
            lines.append((message["object_key"], message["line_no"]))
            file.write(msgspec.json.encode(message) + b"\n")
    named = pl.DataFrame(lines, schema={"object_key": pl.String(), "line_no": pl.Int64()}, orient="row")
    rows = {}
    for table in readable_tables():
        if "vehicle_id" in table.by_name:
            chosen = lakehouse.scan(table).filter(pl.col("vehicle_id") == vehicle)
        elif table in _OF_LINES:
            chosen = lakehouse.scan(table).join(named.lazy(), on=_LINE, how="semi")
        else:
            continue
        rows[str(table)] = _write(table, chosen, draft)
    (draft / "README.md").write_text(_page(vehicle, len(lines), rows, on))
    draft.rename(folder)
    return Exported(len(lines), rows)


def _messages(lakehouse: Lakehouse, store: LandingStore, who: Erased) -> Iterator[dict[str, Any]]:
    """Lines of Bronze, and of landing objects that Bronze does not hold, in the order of their days."""
    held = set(lakehouse.scan(bronze.OBJECTS).select("object_key").collect().get_column("object_key"))
    days = lakehouse.scan(bronze.MESSAGES).select(pl.col("landing_date").unique()).collect()
    columns = (*_LINE, "topic", "received_at", "payload")
    for day in sorted(days.get_column("landing_date")):
        for parts in parts_of(lakehouse, day):
            lines = lakehouse.scan(bronze.MESSAGES, Days(day, day)).filter(lines_in(parts))
            rows = lines.select(columns).sort(_LINE)
            yield from _naming(rows.collect().iter_rows(), who)
    for entry in store.list().objects:
        if entry.key not in held:
            for part in read_object(store, entry).parts():
                read = ((entry.key, line.line_no, line.topic, line.received_at_ms, line.payload) for line in part)
                yield from _naming(read, who)


def _naming(lines: Iterable[tuple[Any, ...]], who: Erased) -> Iterator[dict[str, Any]]:
    for key, number, topic, received_at, payload in lines:
        if who.names(payload or b"") or who.names((topic or "").encode()):
            message = {"object_key": key, "line_no": number, "topic": topic, "received_at": received_at}
            try:
                yield message | {"payload": (payload or b"").decode()}
            except UnicodeDecodeError:
                yield message | {"payload_b64": base64.b64encode(payload).decode()}


def _write(table: Table, rows: pl.LazyFrame, folder: Path) -> int:
    """Write a table's rows twice, the JSON day by day; returns how many. No row, no file."""
    count = int(rows.select(pl.len()).collect(engine="streaming").item())
    if count:
        rows.sink_parquet(folder / f"{table}.parquet")
        with (folder / f"{table}.json").open("wb") as file:
            for part in _days(table, rows):
                _write_json(part, file)
    return count


def _days(table: Table, rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    column = table.partition_by
    if column is None:
        yield rows.collect()
        return
    days = rows.select(pl.col(column).unique().sort()).collect(engine="streaming").get_column(column)
    yield from (rows.filter(pl.col(column) == day).collect() for day in days)


def _write_json(rows: pl.DataFrame, file: BinaryIO) -> None:
    file.writelines(msgspec.json.encode(row) + b"\n" for row in rows.iter_rows(named=True))


def _page(vehicle: str, messages: int, rows: dict[str, int], on: date) -> str:
    """What each file is and what its columns mean."""
    tables = [table for table in readable_tables() if rows.get(str(table))]
    lines = [
        "# Your vehicle's data",
        "",
        f"Written on {on.isoformat()} from a SmartDrive lake. The vehicle is called `{vehicle}` there, a keyed "
        "hash of its VIN. All times are UTC.",
        "",
        f"- `{MESSAGES}`: {messages} messages as they were received, one JSON object a line, with the object and "
        "line they landed in. `payload_b64` stands in for bytes that are no text.",
        *(
            f"- `{table}.parquet` and `{table}.json`: {rows[str(table)]} rows. {table.description}"
            for table in tables
        ),
        "",
        "Each table is there twice: as Parquet for programs, as JSON (one object a line) for reading.",
    ]
    for table in tables:
        lines += ["", f"## {table}", ""]
        lines += [f"- `{column.name}`: {column.comment}" for column in table.columns]
    return "\n".join(lines) + "\n"
