"""Lines and cells of a recorded log: read once, as a stream, with line numbers and the file's digest.

A record is one line. Software that records a drive does not break a cell over lines, and a stray quote must not
swallow the rest of a log.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from smartdrive_dagster.landing.recorded.envirocar import MAX_BYTES as MAX_TRACK_BYTES
from smartdrive_dagster.landing.recorded.envirocar import is_json, track_lines
from smartdrive_dagster.landing.recorded.errors import (
    FormatUndetectedError,
    HeaderMismatchError,
    LogUnreadableError,
)
from smartdrive_dagster.landing.recorded.format_model import Format, fold
from smartdrive_dagster.landing.recorded.formats import known_formats, load_format
from smartdrive_dagster.landing.recorded.units import nearest

MAX_LINE: Final = 4 * 1024 * 1024
_HEADER_WITHIN = 1000
_CANDIDATES = (",", ";", "\t", "|")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

Line = tuple[int, str | None]
"""Number from 1 and text without its end; None in place of a text longer than `MAX_LINE` characters."""
Splitter = Callable[[str], list[str]]


class LogText:
    """An open log. Its digest is that of the bytes that were read, so it is the file's once `lines` has ended."""

    def __init__(self, raw: _HashingReader, encoding: str, track: str | None = None) -> None:
        self._raw = raw
        self._track = track
        self._text = io.TextIOWrapper(io.BufferedReader(raw, 1 << 20), encoding, errors="replace", newline=None)

    def lines(self) -> Iterator[Line]:
        """Yield the lines in order, whatever ends them (LF, CRLF or CR)."""
        number = 0
        if self._track is not None:
            yield from enumerate(track_lines(self._raw.readall() or b"", self._track), start=1)
            return
        while text := self._text.readline(MAX_LINE + 1):
            number += 1
            if len(text) <= MAX_LINE or text.endswith("\n"):
                yield number, text.rstrip("\n")
                continue
            while text and not text.endswith("\n"):
                text = self._text.readline(MAX_LINE)
            yield number, None

    @property
    def bytes_read(self) -> int:
        """How far the file was read."""
        return self._raw.count

    @property
    def sha256(self) -> str:
        """Digest of what was read so far, hexadecimal."""
        return self._raw.digest.hexdigest()


class _HashingReader(io.RawIOBase):
    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        size = self._file.readinto(buffer) or 0
        self.digest.update(memoryview(buffer)[:size])
        self.count += size
        return size


@contextmanager
def open_log(path: Path, encoding: str, container: Literal["text", "envirocar"] = "text") -> Iterator[LogText]:
    """Open a log; a byte order mark goes before the encoding given.

    Raises:
        LogUnreadableError: it is missing, a directory, no regular file, empty, or may not be read.
        HeaderMismatchError: the container is a track, and it is none.
    """
    try:
        if path.is_dir():
            raise LogUnreadableError(f"{path} is a directory: name the log files in it one by one")
        if not path.exists():
            raise LogUnreadableError(f"{path} does not exist: check the path")
        if not path.is_file():
            raise LogUnreadableError(f"{path} is no regular file: save the log to disk first")
        with io.FileIO(path) as file:
            head = file.read(512)
            file.seek(0)
            if not head:
                raise LogUnreadableError(f"{path} is empty: export the log again")
            if container == "envirocar":
                yield LogText(_HashingReader(file), "utf-8", track=_checked_track(path, head))
                return
            marked = [name for mark, name in _BYTE_ORDER_MARKS if head.startswith(mark)]
            yield LogText(_HashingReader(file), marked[0] if marked else encoding)
    except (OSError, ValueError) as error:
        raise LogUnreadableError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _checked_track(path: Path, head: bytes) -> str:
    if not is_json(head):
        raise HeaderMismatchError(f"{path} is no JSON, and so no track of enviroCar")
    if path.stat().st_size > MAX_TRACK_BYTES:
        raise LogUnreadableError(
            f"{path} is larger than {MAX_TRACK_BYTES >> 20} MiB, which no track is: split it into one file a drive"
        )
    return str(path)


@dataclass(frozen=True)
class Header:
    """Where the columns stand.

    Attributes:
        names: as written, in order; a repeated name becomes ``name#2``, ``name#3``, …
        delimiter: the one that fits.
        line_no: of the header; 0 where the log has none.
        pending: lines that were read but are data.
        raw: the header's cells, by which a repetition of it further down is known.
    """

    names: tuple[str, ...]
    delimiter: str
    line_no: int
    pending: tuple[Line, ...] = ()
    raw: tuple[str, ...] = ()

    def position(self, name: str) -> int | None:
        """Index of a column, whatever its case and spaces; the first of that name."""
        return self._positions.get(fold(name))

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {fold(name): index for index, name in reversed(tuple(enumerate(self.names)))}


def splitter(delimiter: str, quote: str) -> Splitter:
    """Make a function from a line to its cells. It raises `csv.Error` where the quotes do not fit."""

    def split(text: str) -> list[str]:
        if not quote or quote not in text:
            return text.split(delimiter)
        rows = csv.reader((text,), delimiter=delimiter, quotechar=quote, skipinitialspace=True, strict=True)
        return next(rows, [])

    return split


def find_header(lines: Iterator[Line], form: Format, path: Path) -> Header:
    """Read up to the header, past metadata before it.

    Raises:
        LogUnreadableError: the file holds nothing but blank lines.
        HeaderMismatchError: none of the first 1,000 lines has the columns that the format needs.
    """
    candidates = _CANDIDATES if form.delimiter == "auto" else (form.delimiter,)
    closest: tuple[int, int, list[str]] = (-1, 0, [])
    for number, text in lines:
        if number > form.skip_lines + _HEADER_WITHIN:
            break
        if number <= form.skip_lines or not text or not text.strip() or _is_comment(text, form):
            continue
        for delimiter in candidates:
            try:
                cells = splitter(delimiter, form.quote)(text)
            except csv.Error:
                continue
            if not form.header:
                names = tuple(f"#{index}" for index in range(1, len(cells) + 1))
                return Header(names, delimiter, 0, pending=((number, text),))
            header = header_of(cells, delimiter, number)
            if not (missing := missing_columns(header, form)):
                return header
            fit = len(required_columns(form)) - len(missing)
            closest = max(
                closest, (fit, len(cells), [f"line {number}", *header.names]), key=lambda entry: entry[:2]
            )
    raise _mismatch(path, form, closest[2])


def header_of(cells: list[str], delimiter: str, line_no: int) -> Header:
    """The header that a line's cells are."""
    return Header(_names(cells), delimiter, line_no, raw=tuple(cells))


def required_columns(form: Format) -> tuple[str, ...]:
    """The columns without which a log cannot be read; of a wide one any signal will do, see `missing_columns`."""
    reading = form.reading
    named = (reading.name, reading.value, reading.unit) if reading else ()
    return (*form.time.columns, *(name for name in named if name))


def missing_columns(header: Header, form: Format) -> list[str]:
    """What the header lacks."""
    missing = [name for name in required_columns(form) if header.position(name) is None]
    if form.shape == "wide" and all(header.position(name) is None for name in form.columns):
        missing.append(" or ".join(list(form.columns)[:8]))
    return missing


def detect_format(path: Path) -> Format:
    """Find the built-in format whose header the file has.

    Raises:
        LogUnreadableError: the file cannot be read at all.
        FormatUndetectedError: none fits, or several do.
    """
    fitting = []
    for name in known_formats():
        form = load_format(name)
        try:
            with open_log(path, form.encoding, form.container) as log:
                find_header(log.lines(), form, path)
        except HeaderMismatchError:
            continue
        fitting.append((name, form))
    if len(fitting) == 1:
        return fitting[0][1]
    what = (
        f"fits several formats ({', '.join(name for name, _ in fitting)})"
        if fitting
        else "fits no built-in format"
    )
    raise FormatUndetectedError(
        f"{path} {what}: name one with --format ({', '.join(known_formats())}), or write a mapping file for it "
        "and pass its path (see docs/formats/README.md)"
    )


def _is_comment(text: str, form: Format) -> bool:
    return bool(form.comment) and text.startswith(form.comment)


def _names(cells: list[str]) -> tuple[str, ...]:
    names: list[str] = []
    count: dict[str, int] = {}
    for cell in cells:
        name = cell.strip()
        count[fold(name)] = nth = count.get(fold(name), 0) + 1
        names.append(name if nth == 1 or not name else f"{name}#{nth}")
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _mismatch(path: Path, form: Format, closest: list[str]) -> HeaderMismatchError | LogUnreadableError:
    if not closest:
        return LogUnreadableError(f"{path} holds no line of text that could be a header: export the log again")
    where, *names = closest
    wanted = [name for name in required_columns(form) if fold(name) not in {fold(own) for own in names}]
    wanted = wanted or [" or ".join(list(form.columns)[:8])]
    hint = nearest(wanted[0], [name[:80] for name in names[:1000]])
    shown = ", ".join(repr(name[:40]) for name in names[:12]) + (", …" if len(names) > 12 else "")  # noqa: PLR2004
    return HeaderMismatchError(
        f"{path}: no header within the first {_HEADER_WITHIN} lines has the column {wanted[0]!r}{hint}. "
        f"The nearest is {where}: {shown}. Correct the mapping (names, delimiter, encoding) or choose another."
    )
