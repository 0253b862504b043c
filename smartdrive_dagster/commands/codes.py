"""`smartdrive dtc` and `smartdrive import-dtc`: what a trouble code means."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from smartdrive_dagster.settings import Settings

if TYPE_CHECKING:
    from smartdrive_dagster.knowledge.imported_titles import ImportReport

DTC_EPILOG: Final = (
    "Examples:\n\n  smartdrive dtc P0171\n\n  smartdrive dtc P0171 --language hu\n\n"
    "  smartdrive dtc P0301 U0100 --json"
)
IMPORT_EPILOG: Final = (
    "Examples:\n\n  smartdrive import-dtc codes.csv\n\n  smartdrive import-dtc kodok.csv --language hu\n\n"
    "The first line names the columns: code, and title_en, title_hu, title or description."
)

# What the terminal says around a code's own texts.
_PHRASES: Final = {
    "en": {
        "own": "our own table",
        "imported": "the imported table",
        "structure": "only the structure of the code is known",
        "critical": "critical",
        "warning": "warning",
        "info": "info",
        "rule": "rule",
        "editorial": "our judgement, not the standard's",
        "causes": "Likely causes",
        "actions": "What to do",
    },
    "hu": {
        "own": "saját táblázat",
        "imported": "importált táblázat",
        "structure": "csak a kód szerkezete ismert",
        "critical": "kritikus",
        "warning": "figyelmeztetés",
        "info": "tájékoztatás",
        "rule": "szabály",
        "editorial": "saját megítélés, nem a szabványé",
        "causes": "Valószínű okok",
        "actions": "Teendők",
    },
}
_COLOURS: Final = {"critical": "bold red", "warning": "yellow", "info": "green"}


class Spoken(StrEnum):
    """Languages of titles and advice."""

    EN = "en"
    HU = "hu"


def dtc(
    codes: Annotated[list[str], typer.Argument(help="Trouble codes, for example P0171", show_default=False)],
    language: Annotated[Spoken, typer.Option(help="Language of the answer")] = Spoken.EN,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list")] = False,
) -> None:
    """Explain trouble codes: title and where it comes from, severity and its rule, likely causes, what to do."""
    from smartdrive_dagster.domain.dtc import normal_code
    from smartdrive_dagster.knowledge.explanations import explain
    from smartdrive_dagster.knowledge.trouble_codes import load_book
    from smartdrive_dagster.screens import console

    normal = []
    for text in codes:
        code = normal_code(text)
        if code is None:
            raise typer.BadParameter(
                f"{text!r} is no trouble code: P, C, B or U, a digit from 0 to 3 and three of 0-9, A-F, like P0171"
            )
        normal.append(code)
    book = load_book(Settings().dtc_file)
    explained = [explain(code, language.value, book) for code in normal]
    if as_json:
        typer.echo(json.dumps(explained, ensure_ascii=False, indent=2))
        return
    out = console()
    for number, explanation in enumerate(explained):
        if number:
            out.print()
        for line, style in _lines(explanation, language.value):
            out.print(line, style=style, highlight=False, markup=False)


def import_dtc(
    file: Annotated[Path, typer.Argument(help="A table of codes and titles, with a header", show_default=False)],
    language: Annotated[Spoken, typer.Option(help="Language of a title column that does not say it")] = Spoken.EN,
) -> None:
    """Import titles of trouble codes for those that our own table and the device's library do not know.

    An earlier import is replaced. Rows of gold.dtc_episodes get the titles when they are next computed.
    """
    from rich.progress import Progress, TextColumn

    from smartdrive_dagster.knowledge.imported_titles import import_titles
    from smartdrive_dagster.screens import console

    target = Settings().dtc_file
    with Progress(TextColumn("Reading {task.completed} rows"), console=console(error=True)) as bars:
        task = bars.add_task("", total=None)
        report = import_titles(
            file, target, language=language.value, progress=lambda rows: bars.update(task, completed=rows)
        )
    for line in _report(report, target):
        typer.echo(line)


def _lines(explanation: dict[str, Any], language: str) -> list[tuple[str, str]]:
    say = _PHRASES[language]
    title, severity = explanation["title"], explanation["severity"]
    lines = [
        (f"{explanation['code']}  {title['text']}", "bold"),
        (f"[{say[title['tier']]}]", "dim"),
        *([(explanation["structure"]["text"], "")] if title["tier"] != "structure" else []),
        (f"{say[severity['level']].upper()}: {severity['action']}", _COLOURS[severity["level"]]),
        (severity["why"], ""),
        (f"[{say['rule']} {severity['rule']}; {say['editorial']}]", "dim"),
    ]
    for part in ("causes", "actions"):
        if explanation[part]:
            lines += [("", ""), (say[part], "bold"), *((f"  - {text}", "") for text in explanation[part])]
    return lines


def _report(report: ImportReport, target: Path) -> list[str]:
    languages = ", ".join(f"{count} {language}" for language, count in report.languages.items())
    lines = [f"{report.rows} rows: {report.accepted} accepted ({languages} titles) into {target}"]
    lines += [f"  {count} rejected: {reason}" for reason, count in report.rejected.items()]
    if report.ignored_columns:
        lines.append(f"  columns not read: {', '.join(report.ignored_columns)[:200]}")
    return lines
