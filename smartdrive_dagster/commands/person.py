"""`smartdrive export-person`: what the lake holds of one vehicle, for the person who drove it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

EPILOG: Final = (
    "Examples:\n\n  smartdrive export-person --to my-car\n\n"
    "  smartdrive export-person --vin-file vin.txt --to my-car\n\n"
    "  smartdrive export-person --vehicle 4yq2 --to my-car\n\n"
    "The VIN is asked for, or read from a file or from standard input (-). Pipe it, do not pass it as an argument."
)


def export_person(
    to: Annotated[Path, typer.Option("--to", help="Folder to make; it must not be there yet")],
    vin_file: Annotated[
        Path | None, typer.Option("--vin-file", help="File that holds the VIN; - for standard input")
    ] = None,
    which: Annotated[
        str | None, typer.Option("--vehicle", help="Its vehicle_id instead of its VIN; the beginning is enough")
    ] = None,
) -> None:
    """Write all data of one vehicle into a folder: messages, samples, events, facts, Gold and marts."""
    from smartdrive_dagster.commands.erase import chosen_vehicle
    from smartdrive_dagster.defs.person import ExportError
    from smartdrive_dagster.defs.person import export_person as export
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.landing.store import LandingStore
    from smartdrive_dagster.settings import Settings

    settings = Settings()
    vehicle = chosen_vehicle(settings, vin_file, which)
    done = export(
        Lakehouse(settings.lake_url),
        LandingStore(settings.landing_url),
        vehicle,
        settings.lake_secret(),
        to.absolute(),
        on=datetime.now(UTC).date(),
    )
    rows = {table: count for table, count in done.rows.items() if count}
    for table, count in rows.items():
        typer.echo(f"{table:24}  {count:,} rows")
    if not rows and not done.messages:
        raise ExportError(f"the lake holds nothing of this vehicle; {to} says so")
    typer.echo(f"{done.messages:,} messages and {len(rows)} tables in {to}; README.md there says what is what")
