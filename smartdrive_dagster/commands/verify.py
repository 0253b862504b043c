"""`smartdrive verify`."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from smartdrive_dagster.certificates.contract import Contract, Said
    from smartdrive_dagster.certificates.figures import Difference
    from smartdrive_dagster.certificates.rows import Compared
    from smartdrive_dagster.settings import Settings

EPILOG: Final = (
    "Examples:\n\n  smartdrive verify certificate.pdf --authority certificate-authority.pem\n\n"
    "  smartdrive verify certificate.pdf --authority certificate-authority.pem --no-lake --json\n\n"
    "Exit code 0: the signature is good, and each figure follows from the rows; 1: something is wrong."
)


def verify(
    file: Annotated[Path, typer.Argument(help="The certificate, a PDF", exists=True, dir_okay=False)],
    authority: Annotated[
        Path,
        typer.Option(
            help="X.509 certificate of the authority that you trust, from whoever issued the file",
            exists=True,
            dir_okay=False,
        ),
    ],
    lake: Annotated[
        bool, typer.Option("--lake/--no-lake", help="Compare the rows with the lake, where there is one")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Check a vehicle certificate: its signature, its figures by its own rows, and these against the lake."""
    from smartdrive_dagster.certificates.contract import contract, read
    from smartdrive_dagster.certificates.figures import differences
    from smartdrive_dagster.certificates.rows import WRONG
    from smartdrive_dagster.certificates.signature import genuine
    from smartdrive_dagster.screens import console
    from smartdrive_dagster.settings import Settings

    logging.getLogger("pyhanko").setLevel(logging.CRITICAL)  # it logs as tracebacks what is said here in a line
    agreed = contract()
    attached = genuine(file.read_bytes(), authority.read_bytes(), agreed.attachment, datetime.now(UTC))
    said = read(agreed, attached)
    wrong = differences(agreed, said)
    compared, why_not = _compared(Settings(), agreed, said) if lake else ([], "--no-lake")
    is_good = not wrong and not any(WRONG & one.days.keys() for one in compared)
    if as_json:
        typer.echo(json.dumps(_as_json(said, wrong, compared, why_not, is_good=is_good), indent=2))
    else:
        for part in _shown(agreed, said, wrong, compared, why_not):
            console().print(part, soft_wrap=True)
    if not is_good:
        raise typer.Exit(1)


def _compared(settings: Settings, agreed: Contract, said: Said) -> tuple[list[Compared], str]:
    """The rows beside the lake's, or why there is nothing to compare them with."""
    from smartdrive_dagster.certificates.rows import compare
    from smartdrive_dagster.domain.identity import vehicle_id
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.lake.models import readable_tables
    from smartdrive_dagster.tables import silver

    lakehouse = Lakehouse(settings.lake_url)
    if not lakehouse.exists(silver.MESSAGES):
        return [], f"there is no lake at {settings.lake_url}"
    tables = {str(table): table for table in readable_tables()}
    return compare(lakehouse, tables, agreed, said, vehicle_id(said.vin, settings.lake_secret())), ""


def _as_json(
    said: Said, wrong: list[Difference], compared: list[Compared], why_not: str, *, is_good: bool
) -> dict[str, Any]:
    return {
        "is_good": is_good,
        "number": said.number,
        "vin": said.vin,
        "issued_at": said.issued_at.isoformat(),
        "valid_until": said.valid_until.isoformat(),
        "figures": said.figures,
        "differences": [one._asdict() for one in wrong],
        "lake": {one.source: {verdict: len(days) for verdict, days in one.days.items()} for one in compared},
        "lake_not_compared": why_not or None,
    }


def _shown(
    agreed: Contract, said: Said, wrong: list[Difference], compared: list[Compared], why_not: str
) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    from smartdrive_dagster.certificates.contract import worded
    from smartdrive_dagster.certificates.rows import MEANINGS, WRONG

    parts: list[RenderableType] = [
        Text.assemble(
            ("signature: good", "green"),
            f"\n{said.vin}, certificate {said.number}\nissued {said.issued_at:%Y-%m-%d %H:%M} UTC by ",
            f"{said.issuer}, valid until {said.valid_until:%Y-%m-%d}",
        )
    ]
    figures = Table("figure", "value", box=None, title="What the pages must say", title_justify="left")
    wrongly = {one.name: one for one in wrong}
    for name, figure in agreed.figures.items():
        words = f"{agreed.sections[figure.section]}: {figure.words}"
        figures.add_row(Text(words), Text(worded(figure, said.figures.get(name))))
    parts.append(figures)
    if wrongly:
        lines = [f"  {one.name}: the certificate says {one.said}, its rows give {one.computed}" for one in wrong]
        parts.append(Text("figures: WRONG\n" + "\n".join(lines), "red"))
    else:
        rows = sum(map(len, said.rows.values()))
        parts.append(Text(f"figures: all {len(agreed.figures)} follow from the {rows:,} rows", "green"))
    if why_not:
        parts.append(Text(f"lake: not compared: {why_not}"))
    for one in compared:
        for verdict, days in one.days.items():
            text = f"{one.source}: {len(days):,} days: {MEANINGS[verdict]}"
            parts.append(Text(text, "red" if verdict in WRONG else ""))
    return parts
