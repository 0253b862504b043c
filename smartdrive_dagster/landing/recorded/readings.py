"""From the lines of a recorded log to readings of the contract's signals, every one accounted for.

What counts as one reading:

* wide log: a cell outside the time columns that is not missing (blank, ``NaN``, ``-`` and the like);
* long log: a row; and beside it each cell, not missing, of a mapped further column (a position).

A row of either with the wrong number of cells, with broken quotes or over 4 Mi characters counts as one, since its
cells have no columns. Blank lines, comments and repetitions of the header are none.
"""

from __future__ import annotations

import csv
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from smartdrive_dagster.landing.recorded.errors import HeaderMismatchError
from smartdrive_dagster.landing.recorded.format_model import MISSING, Format, fold
from smartdrive_dagster.landing.recorded.lines import (
    Header,
    Line,
    LogText,
    find_header,
    header_of,
    missing_columns,
    splitter,
)
from smartdrive_dagster.landing.recorded.meter import Meter, RejectedError
from smartdrive_dagster.landing.recorded.times import Clock, TimeFaultError

_EXAMPLES_PER_REASON = 5
_PROGRESS_LINES = 5_000
_NAME_LENGTH = 80
_KEPT = 1000  # damaged names must not fill the memory


@dataclass(frozen=True, slots=True, order=True)
class Rejected:
    """An example of what was quarantined: where, why (reason code), and which column or PID."""

    line_no: int
    reason: str
    detail: str


@dataclass(slots=True)
class Tally:
    """What became of the readings so far. `read` is counted on its own, so that the balance proves something."""

    read: int = 0
    duplicate: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    examples: list[Rejected] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    lines: int = 0
    _shown: Counter[str] = field(default_factory=Counter)

    def reject(self, line_no: int, reason: str, detail: str = "", readings: int = 1) -> None:
        """Quarantine readings of one line, which have been counted as read."""
        if readings == 0:
            return
        self.quarantined[reason] += readings
        self._shown[reason] += 1
        if self._shown[reason] <= _EXAMPLES_PER_REASON:
            self.examples.append(Rejected(line_no, reason, detail))


@dataclass(slots=True)
class Readings:
    """Readings in the order of the file, 24 bytes each.

    Attributes:
        at: UTC epoch ms.
        signal: index into `meter.SIGNAL_NAMES`.
        value: in the contract's unit; finite.
        line: number of the line.
    """

    at: array[int] = field(default_factory=lambda: array("q"))
    signal: array[int] = field(default_factory=lambda: array("H"))
    value: array[float] = field(default_factory=lambda: array("d"))
    line: array[int] = field(default_factory=lambda: array("L"))

    def add(self, at: int, signal: int, value: float, line: int) -> None:
        """Append one."""
        self.at.append(at)
        self.signal.append(signal)
        self.value.append(value)
        self.line.append(line)

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which cell of a row means what."""

    time: tuple[int, ...]
    meters: tuple[tuple[int, Meter], ...]
    others: tuple[tuple[int, str], ...]


def read_log(
    log: LogText,
    path: Path,
    form: Format,
    clock: Clock,
    tally: Tally,
    progress: Callable[[int], None] | None = None,
) -> Readings:
    """Read a whole log.

    Args:
        log: just opened.
        path: to name in errors.
        form: how to read it.
        clock: reads the times.
        tally: is brought up to date: read, ignored, quarantined, examples, warnings.
        progress: is called with the number of bytes read so far, now and then and at the end.

    Raises:
        LogUnreadableError: there is no text in it.
        HeaderMismatchError: no header fits, two columns give the same signal, or the format refuses a column.
    """
    lines = log.lines()
    header: Header | None = None
    first = find_header(lines, form, path)
    readings, absent = Readings(), dict.fromkeys(form.columns)
    for line_no, cells, of in _rows(_reporting(chain(first.pending, lines), log, progress), first, form, tally):
        if of is not header:
            header, layout = of, _lay_out(of, form, path, tally, absent)
            pids = _Pids(of, form, path) if form.shape == "long" else None
        if pids is None:
            _count_others(cells, layout, tally)
        else:
            pids.read(line_no, cells, layout, clock, readings, tally)
        _read_cells(line_no, cells, layout, clock, readings, tally)
    if header is None:
        _lay_out(first, form, path, tally, absent)
    if form.shape == "wide":
        tally.warnings += [f"column {name!r} is not in the file" for name in absent]
    return readings


def _reporting(lines: Iterator[Line], log: LogText, progress: Callable[[int], None] | None) -> Iterator[Line]:
    for line in lines:
        if progress and line[0] % _PROGRESS_LINES == 0:
            progress(log.bytes_read)
        yield line
    if progress:
        progress(log.bytes_read)


def _rows(
    lines: Iterator[Line], header: Header, form: Format, tally: Tally
) -> Iterator[tuple[int, list[str], Header]]:
    """Each row with the header above it: a recorder that was started anew may write another one."""
    split, width = splitter(header.delimiter, form.quote), len(header.names)
    first = header.raw[0].strip() if header.raw else ""
    data_from = header.line_no + form.skip_after_header if header.line_no else 0
    for line_no, text in lines:
        tally.lines = line_no
        if line_no <= data_from and header.line_no:
            continue
        if text is None:
            tally.read += 1
            tally.reject(line_no, "line_too_long")
            continue
        if not text or text.isspace() or (form.comment and text.startswith(form.comment)):
            continue
        try:
            cells = split(text)
        except csv.Error:
            tally.read += 1
            tally.reject(line_no, "quotes_broken")
            continue
        if first and cells[0].strip() == first:
            again = header_of(cells, header.delimiter, line_no)
            if again.names == header.names:
                continue
            if not missing_columns(again, form):
                header, width = again, len(again.names)
                continue
        if len(cells) != width and (len(cells) < width or any(cell.strip() for cell in cells[width:])):
            tally.read += 1
            tally.reject(line_no, "cell_count", f"{len(cells)} cells instead of {width}")
            continue
        yield line_no, cells, header


def _lay_out(header: Header, form: Format, path: Path, tally: Tally, absent: dict[str, None]) -> _Layout:
    """Where what stands below a header; names that it has are taken out of `absent`."""
    time = tuple(_position(header, name, path) for name in form.time.columns)
    meters: dict[int, Meter] = {}
    feeds: dict[str, str] = {}
    for name, mapping in form.columns.items():
        if (position := header.position(name)) is None:
            continue
        absent.pop(name, None)
        if position in time or (other := feeds.setdefault(mapping.signal, name)) != name:
            what = "the time" if position in time else f"{mapping.signal}, and so does {other!r}"
            raise HeaderMismatchError(f"{path}: column {name!r} gives {what}: map one of them only")
        meters[position] = Meter(header.names[position], mapping, form)
    reading = form.reading
    used = (
        {header.position(name) for name in (reading.name, reading.value, reading.unit or "")} if reading else set()
    )
    others = tuple(
        (index, name or f"#{index + 1}")
        for index, name in enumerate(header.names)
        if index not in time and index not in meters and index not in used
    )
    _judge_others([name for _, name in others], form, path, tally)
    return _Layout(time, tuple(sorted(meters.items(), key=lambda entry: entry[0])), others)


def _position(header: Header, name: str, path: Path) -> int:
    position = header.position(name)
    if position is None:
        raise HeaderMismatchError(f"{path}: the column {name!r} is missing")
    return position


def _judge_others(names: Sequence[str], form: Format, path: Path, tally: Tally) -> None:
    mapped = {fold(name) for name in form.columns}
    for name in names:
        first, _, nth = name.rpartition("#")
        if nth.isdigit() and fold(first) in mapped:
            tally.warnings.append(f"column {first!r} occurs more than once: the first is read, {name!r} is not")
    if form.shape == "long":
        if names:
            tally.warnings.append(f"columns beside the readings, not read: {', '.join(names[:10])}")
        return
    ignored = {fold(name) for name in form.ignore}
    unlisted = [name for name in names if fold(name) not in ignored]
    if unlisted and form.unlisted == "refuse":
        raise HeaderMismatchError(
            f"{path}: the format refuses columns that it does not list: {', '.join(map(repr, unlisted[:10]))}. "
            "Map them or list them under ignore."
        )


def _count_others(cells: list[str], layout: _Layout, tally: Tally) -> None:
    for index, name in layout.others:
        cell = cells[index]
        if cell and cell.strip().casefold() not in MISSING:
            tally.read += 1
            tally.ignored[name] += 1


def _read_cells(
    line_no: int, cells: list[str], layout: _Layout, clock: Clock, readings: Readings, tally: Tally
) -> None:
    measured = [
        (meter, cells[index])
        for index, meter in layout.meters
        if cells[index] and not meter.is_missing(cells[index])
    ]
    if not measured:
        return
    tally.read += len(measured)
    try:
        at = clock(_time_cell(cells, layout))
    except TimeFaultError as error:
        tally.reject(line_no, error.reason, readings=len(measured))
        return
    for meter, cell in measured:
        try:
            readings.add(at, meter.signal, meter.value(cell, ""), line_no)
        except RejectedError as error:
            tally.reject(line_no, error.reason, meter.detail(cell))


def _time_cell(cells: list[str], layout: _Layout) -> str:
    if len(layout.time) == 1:
        return cells[layout.time[0]].strip()
    return " ".join(cells[index].strip() for index in layout.time).strip()


class _Pids:
    """The readings of a long log: one per row."""

    def __init__(self, header: Header, form: Format, path: Path) -> None:
        assert form.reading is not None  # noqa: S101 - the format was validated
        self._name = _position(header, form.reading.name, path)
        self._value = _position(header, form.reading.value, path)
        self._unit = None if form.reading.unit is None else _position(header, form.reading.unit, path)
        self._meters: Mapping[str, Meter] = {
            fold(name): Meter(name, mapping, form) for name, mapping in form.pids.items()
        }
        self._ignored = {fold(name) for name in form.ignore}
        self._found: dict[str, Meter | None] = {}
        self._refuses, self._path = form.unlisted == "refuse", path

    def read(
        self, line_no: int, cells: list[str], layout: _Layout, clock: Clock, readings: Readings, tally: Tally
    ) -> None:
        """Read the row's own reading."""
        tally.read += 1
        name, cell = cells[self._name], cells[self._value]
        meter = self._meter(name)
        if meter is None:
            if name.strip():
                tally.ignored[" ".join(name.split())[:_NAME_LENGTH]] += 1
            else:
                tally.reject(line_no, "name_missing")
            return
        try:
            at = clock(_time_cell(cells, layout))
            if meter.is_missing(cell):
                raise RejectedError("value_missing")
            unit = "" if self._unit is None else cells[self._unit]
            readings.add(at, meter.signal, meter.value(cell, unit), line_no)
        except (TimeFaultError, RejectedError) as error:
            tally.reject(line_no, error.reason, meter.detail(cell))

    def _meter(self, name: str) -> Meter | None:
        if name in self._found:
            return self._found[name]
        meter = self._meters.get(fold(name))
        if meter is None and self._refuses and name.strip() and fold(name) not in self._ignored:
            raise HeaderMismatchError(
                f"{self._path}: the format refuses PIDs that it does not list: {name.strip()[:_NAME_LENGTH]!r}. "
                "Map it or list it under ignore."
            )
        if len(self._found) < _KEPT and len(name) < _KEPT:
            self._found[name] = meter
        return meter
