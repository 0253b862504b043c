"""Asking the lake: one SELECT in, a frame out, and the forms in which a frame is printed."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable
from contextlib import closing
from datetime import date, datetime, time
from typing import BinaryIO, Literal, get_args

import duckdb
import polars as pl
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from smartdrive_dagster.lake.duck import connect
from smartdrive_dagster.lake.evolution import RETENTION_HOURS
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.models import readable_tables
from smartdrive_dagster.lake.nearest import did_you_mean
from smartdrive_dagster.lake.time_travel import AsOfError, parse_as_of
from smartdrive_dagster.tables import Table

Format = Literal["table", "csv", "json", "parquet"]
FORMATS: tuple[str, ...] = get_args(Format)

_SHOWN_ROWS = 200
_WIDE = 10_000
_UNKNOWN_TABLE = re.compile(r'Table with name "?([\w.]+)"? does not exist')
_MISSING_FILE = re.compile(r"\.parquet.*(No such file|404|Not Found)", re.DOTALL | re.IGNORECASE)
_GONE = (
    f"maintenance has deleted files of that version: time travel is sure for {RETENTION_HOURS // 24} days, "
    "choose a later --as-of"
)
_UNKNOWN_COLUMN = re.compile(r'(?:Referenced column|does not have a column named) "(\w+)"')


class QueryError(ValueError):
    """A query that cannot be answered; the message says where and what to do."""


def ask(lakehouse: Lakehouse, sql: str, *, time_zone: str, as_of: str | None = None) -> pl.DataFrame:
    """Answer one SELECT over the lake's tables and marts.

    Args:
        lakehouse: the lake.
        sql: one SELECT (or FROM, DESCRIBE, SHOW, SUMMARIZE), without parameters.
        time_zone: IANA name of the zone of timestamps and of the dates taken from them.
        as_of: answer from the tables as they were then: an instant, or a table's version (`parse_as_of`).

    Returns:
        The rows; timestamps carry the zone, intervals are text.

    Raises:
        QueryError: it is not one SELECT, it does not parse, or it names what is not there, or no longer.
    """
    known = readable_tables()
    try:
        moment = parse_as_of(lakehouse, as_of, time_zone=time_zone, tables=known) if as_of else None
    except AsOfError as error:
        raise QueryError(str(error)) from error
    with closing(connect(lakehouse, time_zone=time_zone, tables=known, as_of=moment)) as connection:
        try:
            statements = connection.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise QueryError("only one SELECT at a time; the lake is read-only here")
            return to_frame(connection.sql(sql))
        except duckdb.Error as error:
            hint = _hint(str(error), known) or (_GONE if moment and _MISSING_FILE.search(str(error)) else "")
            raise QueryError("\n".join(filter(None, (str(error), hint)))) from error
        except pl.exceptions.DuplicateError as error:
            raise QueryError(f"two columns of the result have the same name: {error}") from error


def to_frame(relation: duckdb.DuckDBPyRelation) -> pl.DataFrame:
    """Fetch a relation's rows; intervals, which Polars cannot read, become text."""
    if any(str(dtype) == "INTERVAL" for dtype in relation.types):
        relation = relation.project(
            ", ".join(
                f"CAST({name} AS VARCHAR) AS {name}" if str(dtype) == "INTERVAL" else name
                for name, dtype in zip(map(_identifier, relation.columns), relation.types, strict=True)
            )
        )
    return pl.DataFrame(relation)


def write_result(frame: pl.DataFrame, form: Format, stream: BinaryIO) -> None:
    """Print a frame.

    Timestamps are ISO 8601 with the offset of the frame's zone. A null is the word in a table, an empty field in
    CSV and null in JSON.

    Args:
        frame: the rows.
        form: ``table`` for people (at most 200 rows), ``csv``, ``json`` (a list of objects) or ``parquet``.
        stream: where the bytes go, for example ``sys.stdout.buffer``.
    """
    if form == "parquet":
        frame.write_parquet(stream)
        return
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="\n", write_through=True)
    try:
        if form == "csv":
            _write_csv(frame, text)
        elif form == "json":
            _write_json(frame, text)
        else:
            _write_table(frame, text)
    finally:
        text.detach()  # the stream is the caller's to close


def _write_csv(frame: pl.DataFrame, text: io.TextIOWrapper) -> None:
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(frame.columns)
    for row in frame.iter_rows():
        writer.writerow("" if value is None else _field(value) for value in row)


def _write_json(frame: pl.DataFrame, text: io.TextIOWrapper) -> None:
    separator = "[\n"
    for row in frame.iter_rows(named=True):
        text.write(separator + json.dumps(_plain(row), ensure_ascii=False))
        separator = ",\n"
    text.write("\n]\n" if frame.height else "[]\n")


def _write_table(frame: pl.DataFrame, text: io.TextIOWrapper) -> None:
    table = RichTable()
    for name, dtype in frame.schema.items():
        table.add_column(Text(name), justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in frame.head(_SHOWN_ROWS).iter_rows():
        table.add_row(*(Text("null", style="dim") if value is None else Text(_shown(value)) for value in row))
    console = Console(file=text, width=None if text.isatty() else _WIDE)
    console.print(table)
    if (hidden := frame.height - _SHOWN_ROWS) > 0:
        console.print(f"{hidden:,} more rows: choose csv, json or parquet to have them all", highlight=False)


def _shown(value: object) -> str:
    # Payloads come from outside: an escape sequence in one must not reach the terminal.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in _field(value))


def _field(value: object) -> str:
    if isinstance(value, float):
        return repr(value)
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _plain(value: object) -> object:
    """What JSON can say: not-a-number and infinities have no word there and become null."""
    plain = value
    match value:
        case None | bool() | int() | str():
            pass
        case datetime() | date() | time():
            plain = value.isoformat()
        case float():
            plain = value if math.isfinite(value) else None
        case bytes():
            plain = value.decode("utf-8", errors="backslashreplace")
        case dict():
            plain = {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | pl.Series():
            plain = [_plain(item) for item in value]
        case _:
            plain = str(value)
    return plain


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _hint(message: str, tables: Iterable[Table]) -> str:
    hint = ""
    if found := _UNKNOWN_COLUMN.search(message):
        hint = did_you_mean(found[1], {name for table in tables for name in table.by_name})
    elif "Did you mean" not in message and (found := _UNKNOWN_TABLE.search(message)):
        hint = did_you_mean(found[1], map(str, tables))
    return hint.removeprefix("; ")
