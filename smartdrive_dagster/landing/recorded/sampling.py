"""A look at a log of unknown format: its encoding, delimiter, header, decimal sign, and rows of all of it."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from smartdrive_dagster.landing.recorded.envirocar import is_json
from smartdrive_dagster.landing.recorded.errors import FormatUndetectedError, LogUnreadableError
from smartdrive_dagster.landing.recorded.format_model import MISSING, Decimal
from smartdrive_dagster.landing.recorded.lines import Header, Line, LogText, header_of, open_log, splitter
from smartdrive_dagster.landing.recorded.names import is_unit, meaning_of, split_unit, squash
from smartdrive_dagster.landing.recorded.time_columns import is_time_name

ROWS: Final = 4000
_HEAD: Final = 1 << 16
FIRST_ROWS: Final = 500
_HEADER_WITHIN: Final = 1000
_DELIMITERS: Final = (",", ";", "\t", "|")
_TEXT: Final = re.compile(r"[A-Za-z\u00c0-\uffff]")
_NUMBER = re.compile(r"[+-]?[\d.,]+")
_LONG_NAMES: Final = {
    "name": {
        squash(n)
        for n in ("pid", "name", "signal", "parameter", "sensor", "metric", "pid name", "measure", "item")
    },
    "value": {squash(n) for n in ("value", "reading", "data", "wert", "valeur", "valor", "valore")},
    "unit": {squash(n) for n in ("unit", "units", "einheit", "unité", "unidad", "unità", "unidade")},
}
_VEHICLE_NAMES: Final = {
    squash(n) for n in ("vin", "vehicle id", "vehicle", "veh id", "vehid", "car id", "carid", "car")
}


@dataclass
class Sample:
    """What a look at the whole file found.

    Attributes:
        encoding: by byte order mark, else UTF-8 where all of it is, else Windows-1252.
        header: the first header.
        names: the columns of all headers, in order of appearance.
        first_rows: the first rows, by column name, one behind the other.
        rows: some rows spread evenly over the file; as many as there are up to `ROWS`.
        units: of a row of units below the header, by column name.
        unit_lines: lines from the header to that row; 0 where there is none.
        line_count: lines of the file.
        odd_rows: sampled rows with another number of cells than their header.
        vehicles: how many different values a column that names a vehicle has (counted up to 2).
        decimal: how numbers are written; None where commas have two readings.
        comma_example: a number with a comma, where `decimal` is None.
    """

    encoding: str
    header: Header
    names: dict[str, None] = field(default_factory=dict)
    first_rows: list[dict[str, str]] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)
    units: dict[str, str | None] = field(default_factory=dict)
    unit_lines: int = 0
    line_count: int = 0
    odd_rows: int = 0
    vehicles: int = 0
    decimal: Decimal | None = "."
    comma_example: str = ""

    def cells(self, name: str) -> list[str]:
        """The sampled cells of a column that hold something."""
        return [cell for row in self.rows if (cell := row.get(name, "")) and cell.casefold() not in MISSING]

    def long_column(self, role: str) -> str | None:
        """The column of a long log that has a role (name, value, unit); None where there is not exactly one."""
        found = [name for name in self.names if squash(split_unit(name)[0]) in _LONG_NAMES[role]]
        return found[0] if len(found) == 1 else None


def look_at(path: Path, *, encoding: str | None = None) -> Sample:
    """Read a log once or twice, keeping a sample.

    Raises:
        LogUnreadableError: it cannot be read, is empty or is no text.
        FormatUndetectedError: no line of it is a header with a known name in it.
    """
    encoding = encoding or find_encoding(path)
    with open_log(path, encoding) as log:
        head = list(islice(log.lines(), _HEADER_WITHIN))
    header = _find_header(head, path)
    with open_log(path, encoding) as log:
        sample = Sample(encoding, header, dict.fromkeys(name for name in header.names if name))
        _read_rows(log, sample)
    sample.decimal = _decimal_of(sample)
    return sample


def find_encoding(path: Path) -> str:
    """The encoding of a text without reading it as anything but bytes.

    Raises:
        LogUnreadableError: it cannot be read or is no text.
    """
    head = head_of(path)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        with path.open("rb") as file:
            decoder = codecs.getincrementaldecoder("utf-8")()
            while chunk := file.read(1 << 20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    except OSError as error:
        raise LogUnreadableError(f"{path} cannot be read: {error.strerror}") from error
    return "utf-8"


def head_of(path: Path) -> bytes:
    """The first bytes of a log.

    Raises:
        LogUnreadableError: it cannot be read or is no text.
    """
    with open_log(path, "utf-8"), path.open("rb") as file:  # the first says what is wrong with the path
        head = file.read(_HEAD)
    if b"\0" in head and not is_json(head) and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise LogUnreadableError(
            f"{path} is no text (it holds zero bytes): export the log as CSV, or unpack it first"
        )
    return head


def _find_header(head: list[Line], path: Path) -> Header:
    """The first line with at least half as many known names as the best, split where that gives most of them."""
    found: list[tuple[int, int, Header]] = []
    for number, text in head:
        if not text or not _TEXT.search(text):
            continue
        for delimiter in _DELIMITERS:
            if delimiter not in text:
                continue
            try:
                cells = splitter(delimiter, '"')(text)
            except csv.Error:
                continue
            known = sum(map(_is_known, cells))
            if known > 0 and sum(map(_is_number, cells)) <= len(cells) / 4:
                found.append((known, len(cells), header_of(cells, delimiter, number)))
    if found:
        most = max(known for known, _, _ in found)
        line_no = next(header.line_no for known, _, header in found if known >= most / 2)
        return max((one for one in found if one[2].line_no == line_no), key=lambda one: one[:2])[2]
    shown = next((text.strip()[:80] for _, text in head if text and text.strip()), None)
    if shown is None:
        raise LogUnreadableError(f"{path} holds no line of text: export the log again")
    raise FormatUndetectedError(
        f"{path}: no line within the first {_HEADER_WITHIN} is a header with the name of a signal in it; it "
        f"begins with {_printable(shown)!r}. Describe it in a mapping file and pass that as --format "
        "(see docs/formats/README.md)"
    )


def _is_known(cell: str) -> bool:
    name = cell.strip()
    if not name or _is_number(name):
        return False
    roles = set().union(*_LONG_NAMES.values())
    return meaning_of(name).signal is not None or is_time_name(name) or squash(name) in roles


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell.strip()) is not None


def _read_rows(log: LogText, sample: Sample) -> None:
    header, stride, count = sample.header, 1, 0
    split, first = splitter(header.delimiter, '"'), header.raw[0].strip()
    vehicles: set[str] = set()
    vehicle_at = _vehicle_column(header)
    for number, text in log.lines():
        sample.line_count = number
        if number <= sample.header.line_no or not text or text.isspace():
            continue
        try:
            cells = split(text)
        except csv.Error:
            continue
        if first and cells[0].strip() == first:
            header = header_of(cells, header.delimiter, number)
            sample.names.update(dict.fromkeys(name for name in header.names if name))
            vehicle_at = _vehicle_column(header)
            continue
        if vehicle_at is not None and vehicle_at < len(cells) and len(vehicles) < 2:  # noqa: PLR2004
            vehicles.add(cells[vehicle_at].strip())
        if count == 0 and not sample.unit_lines and _are_units(cells):
            sample.units = {
                name: cell.strip(" ()[]") or None for name, cell in zip(header.names, cells, strict=False)
            }
            sample.unit_lines = number - header.line_no
            continue
        count += 1
        if count % stride and count > FIRST_ROWS:
            continue
        width = len(header.names)
        if len(cells) < width or any(cell.strip() for cell in cells[width:]):
            sample.odd_rows += 1
            continue
        row = {name: cell.strip() for name, cell in zip(header.names, cells, strict=False)}
        if count <= FIRST_ROWS:
            sample.first_rows.append(row)
        if count % stride == 0:
            sample.rows.append(row)
        if len(sample.rows) > ROWS:
            sample.rows, stride = sample.rows[1::2], stride * 2
            sample.odd_rows //= 2
    sample.vehicles = len(vehicles - {""})


def _are_units(cells: list[str]) -> bool:
    """Whether a row is of units: no number in it, and half of what it holds known units."""
    held = [cell.strip(" ()[]") for cell in cells if cell.strip()]
    return bool(held) and not any(map(_is_number, held)) and sum(map(is_unit, held)) >= len(held) / 2


def _vehicle_column(header: Header) -> int | None:
    return next((index for index, name in enumerate(header.names) if squash(name) in _VEHICLE_NAMES), None)


def _decimal_of(sample: Sample) -> Decimal | None:
    """How numbers are written, by those with a comma in them; None where all of these have two readings."""
    cells = Counter(
        match[0] for name in sample.names for cell in sample.cells(name) if (match := _COMMA.match(cell))
    )
    if not cells:
        return "."
    texts = list(cells)
    if any(_DECIMAL_BEHIND_DOTS.fullmatch(text) for text in texts):
        return "1.234,5"
    if any(_DECIMAL_BEHIND_COMMAS.fullmatch(text) for text in texts):
        return "1,234.5"
    if any(not _GROUPS.fullmatch(text) for text in texts):
        return "any"
    has_point = any(
        "." in cell and _is_number(cell) and "," not in cell
        for name in sample.names
        for cell in sample.cells(name)
    )
    if has_point:
        return "1,234.5"
    sample.comma_example = texts[0]
    return None


_COMMA = re.compile(r"[+-]?[\d.]*\d,[\d,.]*\d(?![\d:])")
_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
_DECIMAL_BEHIND_COMMAS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+\.\d+")
_DECIMAL_BEHIND_DOTS = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+,\d+")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
