"""Titles of trouble codes that an owner imports from a table of their own, such as the CC0 tables of OBDex.

The table is read once, checked and written in one form to the file that `Settings.dtc_file` names. That file is
configuration: it lies outside the lake, survives a rebuild, and can be kept under version control.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from smartdrive_dagster.domain.dtc import normal_code
from smartdrive_dagster.domain.dtc_titles import LANGUAGES

MAX_TITLE: Final = 300
_MAX_BYTES: Final = 64 << 20
_CODE_COLUMNS: Final = ("code", "dtc", "dtc_code", "fault_code")
_TITLE_COLUMNS: Final = ("title", "description", "meaning", "text")
_DELIMITERS: Final = ",;\t|"
_COLUMNS: Final = ("code", *(f"title_{language}" for language in LANGUAGES))


class CodeFileError(Exception):
    """A table of trouble codes cannot be read as a whole: the text says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of each row of an imported table.

    Attributes:
        rows: rows below the header that are not empty.
        accepted: rows whose titles were taken.
        rejected: other rows by reason: no_code, no_title, title_too_long, repeated (equal to an earlier row),
            conflict (the code was there before with another title; the first stays).
        languages: titles per language.
        ignored_columns: columns that were not read.
    """

    rows: int
    accepted: int
    rejected: dict[str, int]
    languages: dict[str, int]
    ignored_columns: tuple[str, ...]


@dataclass
class _Found:
    titles: dict[str, dict[str, str]] = field(default_factory=dict)
    rows: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


def import_titles(
    source: Path, target: Path, *, language: str = "en", progress: Callable[[int], None] = lambda _: None
) -> ImportReport:
    """Read a table of codes and titles and write what it says to `target`, in place of an earlier import.

    Args:
        source: a table with a header; separated by commas, semicolons, tabs or bars; UTF-8, or UTF-16 with its
            byte order mark. One column is named code, dtc, dtc_code or fault_code; titles stand in title_en or
            title_hu (or description_en …), or in title, description, meaning or text.
        target: file to write; a reader sees the old or the new one, never a part.
        language: of a title column whose name has no language.
        progress: told the number of rows done, now and then.

    Raises:
        CodeFileError: the file is missing, too large, no text, or has no such columns, or no row gives a title.
    """
    lines, delimiter = _lines(source)
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        code_at, title_at = _columns(header, language, source)
        found = _Found()
        for row in reader:
            _take(row, code_at, title_at, found)
            progress(found.rows)
    except csv.Error as error:
        raise CodeFileError(f"{source.name}: line {reader.line_num} is no row of a table ({error})") from error
    if not found.titles:
        raise CodeFileError(
            f"{source.name}: none of its {found.rows} rows holds a trouble code and a title; nothing was changed"
        )
    _write(target, found.titles)
    used = {code_at, *(place for place, _ in title_at)}
    return ImportReport(
        rows=found.rows,
        accepted=found.rows - found.rejected.total(),
        rejected=dict(sorted(found.rejected.items())),
        languages=dict(Counter(spoken for said in found.titles.values() for spoken in sorted(said))),
        ignored_columns=tuple(name for place, name in enumerate(header) if place not in used),
    )


def read_imported(path: Path) -> dict[str, dict[str, str]]:
    """Titles by code and language, from a file that `import_titles` wrote.

    Raises:
        CodeFileError: it is not such a file.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines(), delimiter=";"))
    except (OSError, UnicodeError, csv.Error) as error:
        raise CodeFileError(f"{path}: cannot be read ({type(error).__name__}); import the table again") from error
    if not rows or tuple(rows[0]) != _COLUMNS:
        raise CodeFileError(f"{path}: not written by smartdrive import-dtc; import the table with that command")
    titles: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows[1:], start=2):
        said = {language: text for language, text in zip(LANGUAGES, row[1:], strict=False) if text}
        if len(row) != len(_COLUMNS) or normal_code(row[0]) != row[0] or not said:
            raise CodeFileError(f"{path}: line {number} is damaged; import the table again")
        titles[row[0]] = said
    return titles


def _lines(source: Path) -> tuple[Iterator[str], str]:
    try:
        if not source.is_file():
            raise CodeFileError(f"{source}: no such file")
        if source.stat().st_size > _MAX_BYTES:
            raise CodeFileError(f"{source.name}: larger than 64 MiB, so it is no table of trouble codes")
        raw = source.read_bytes()
    except OSError as error:
        raise CodeFileError(f"{source}: cannot be read ({error.strerror})") from error
    is_utf_16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = raw.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeError as error:
        raise CodeFileError(f"{source.name}: not UTF-8; save the table as UTF-8 and try again") from error
    head = text.partition("\n")[0]
    return iter(io.StringIO(text)), max(_DELIMITERS, key=head.count)


def _columns(header: list[str], language: str, source: Path) -> tuple[int, list[tuple[int, str]]]:
    code_at = next((header.index(name) for name in _CODE_COLUMNS if name in header), None)
    title_at: list[tuple[int, str]] = []
    for spoken in LANGUAGES:
        names = [f"{name}_{spoken}" for name in _TITLE_COLUMNS]
        names += _TITLE_COLUMNS if spoken == language else ()
        place = next((header.index(name) for name in names if name in header), None)
        if place is not None:
            title_at.append((place, spoken))
    if code_at is None or not title_at:
        raise CodeFileError(
            f"{source.name}: the first line has to name the columns: one of {', '.join(_CODE_COLUMNS)}, and "
            f"title_en, title_hu, title or description. It names {', '.join(header)[:200] or 'nothing'}"
        )
    return code_at, title_at


def _take(row: list[str], code_at: int, title_at: list[tuple[int, str]], found: _Found) -> None:
    """Take a row's titles, or count why not."""
    if not any(cell.strip() for cell in row):
        return
    found.rows += 1
    code = normal_code(row[code_at]) if code_at < len(row) else None
    cells = {spoken: " ".join(row[place].split()) for place, spoken in title_at if place < len(row)}
    said = {spoken: text for spoken, text in cells.items() if text}
    before = found.titles.get(code or "")
    if code is None:
        found.rejected["no_code"] += 1
    elif not said:
        found.rejected["no_title"] += 1
    elif max(map(len, said.values())) > MAX_TITLE:
        found.rejected["title_too_long"] += 1
    elif before is not None:
        found.rejected["repeated" if before == said else "conflict"] += 1
    else:
        found.titles[code] = said


def _write(target: Path, titles: Mapping[str, Mapping[str, str]]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=target.parent, prefix=target.name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=";", lineterminator="\n")
            writer.writerow(_COLUMNS)
            for code, said in sorted(titles.items()):
                writer.writerow([code, *(said.get(language, "") for language in LANGUAGES)])
        os.replace(draft, target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
