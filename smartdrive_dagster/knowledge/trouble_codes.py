"""Reads the tables of trouble codes: titles, severity, advice and the words of the structure.

They are the files in the directory `codes` beside this module: semicolon-separated, so that a mechanic can edit
them in a spreadsheet, and YAML for the longer texts.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from smartdrive_dagster.domain.dtc_knowledge import LEVELS, Advice, CodeBook, Level, SeverityRule, matching
from smartdrive_dagster.domain.dtc_titles import LANGUAGES, Family, TitleTableError, expand
from smartdrive_dagster.knowledge.imported_titles import read_imported

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def load_book(imported: Path | None = None) -> CodeBook:
    """Our own tables, and the imported one if its file exists.

    Args:
        imported: the file that `import_titles` wrote (`Settings.dtc_file`).

    Raises:
        CodeFileError: the imported file cannot be read.
    """
    titles, rules, words = _own_tables()
    found = read_imported(imported) if imported is not None and imported.is_file() else {}
    return CodeBook(titles, rules, words, found)


def load_level_texts() -> dict[str, dict[str, str]]:
    """What a driver should do at each level of severity, by level and language."""
    return {row["level"]: _by_language(row) for row in _rows(_folder() / "severity_levels.csv")}


@lru_cache
def load_advice() -> Mapping[str, Advice]:
    """Likely causes and what to do, by code.

    Raises:
        TitleTableError: a code stands in two entries, or one covers no code with a title.
    """
    import yaml

    text = (_folder() / "advice.yml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, where PyYAML has it
    entries = yaml.load(text, Loader=loader)  # noqa: S506 - both are safe
    titles, _, _ = _own_tables()
    advice: dict[str, Advice] = {}
    for entry in entries:
        covered = matching(entry["codes"].split(), titles)
        if not covered or (twice := sorted(advice.keys() & set(covered))):
            raise TitleTableError(f"advice.yml, {entry['codes']}: {twice if covered else 'no such code'}")
        advice |= dict.fromkeys(covered, _advice(entry))
    return advice


@lru_cache
def _own_tables() -> tuple[dict[str, dict[str, str]], tuple[SeverityRule, ...], dict[str, dict[str, str]]]:
    faults = {row["fault"]: _by_language(row) for row in _rows(_folder() / "faults.csv")}
    words = {row["term"]: _by_language(row) for row in _rows(_folder() / "structure.csv")}
    rules = tuple(_rule(row) for row in _rows(_folder() / "severity.csv"))
    return expand(_families(), faults), rules, words


def _families() -> Iterator[Family]:
    for file in sorted((_folder() / "titles").iterdir(), key=lambda entry: entry.name):
        for number, row in enumerate(_rows(file), start=2):
            yield Family(f"{file.name}:{number}", row["codes"], row["faults"], _by_language(row), row["values"])


def _rule(row: dict[str, str]) -> SeverityRule:
    if row["level"] not in LEVELS:
        raise TitleTableError(f"severity.csv: {row['rule']} has the level {row['level']}")
    return SeverityRule(row["rule"], cast("Level", row["level"]), tuple(row["codes"].split()), _by_language(row))


def _advice(entry: dict[str, Any]) -> Advice:
    causes, actions = (
        {language: tuple(entry[part][language]) for language in LANGUAGES} for part in ("causes", "actions")
    )
    return Advice(causes, actions)


def _by_language(row: dict[str, str]) -> dict[str, str]:
    return {language: row[language] for language in LANGUAGES}


def _rows(file: Traversable) -> list[dict[str, str]]:
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines(), delimiter=";"))
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise TitleTableError(f"{file.name}:{number}: wrong number of columns")
    return rows


def _folder() -> Traversable:
    return resources.files("smartdrive_dagster.knowledge") / "codes"
