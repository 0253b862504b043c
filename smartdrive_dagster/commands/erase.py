"""`smartdrive erase`: a vehicle taken out of every store of the lake, for good."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.lake.retractions import Retractions
    from smartdrive_dagster.settings import Settings

EPILOG: Final = (
    "Examples:\n\n  smartdrive erase\n\n  smartdrive erase --vin-file vin.txt --yes\n\n"
    "  smartdrive erase --vehicle 4yq2\n\n  smartdrive erase --resume\n\n"
    "  smartdrive erase --check .smartdrive/state/receipts/erasure-….json\n\n"
    "The VIN is asked for, or read from a file or from standard input (-): an argument would stand in the list of "
    "processes and in the shell's history."
)
_LOOK_S: Final = 2.0
_ID_CHARACTERS: Final = 26


def erase(
    vin_file: Annotated[
        Path | None, typer.Option("--vin-file", help="File that holds the VIN; - for standard input")
    ] = None,
    which: Annotated[
        str | None, typer.Option("--vehicle", help="Its vehicle_id instead of its VIN; the beginning is enough")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with erasures that were not finished")] = False,
    check: Annotated[
        Path | None, typer.Option("--check", help="Only tell whether a receipt is as this lake signed it")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant")] = False,
) -> None:
    """Erase a vehicle from landing, all tables, logs and old versions, for good; a receipt says what went."""
    from smartdrive_dagster.defs.erasing import ErasureError
    from smartdrive_dagster.domain.identity import tombstone
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.lake.retractions import Retractions
    from smartdrive_dagster.settings import Settings

    settings = Settings()
    if check is not None:
        _check(settings, check)
        return
    retractions = Retractions(Lakehouse(settings.state_url))
    if resume:
        if not retractions.pending():
            typer.echo("every erasure that was requested is done")
            return
    else:
        vehicle = chosen_vehicle(settings, vin_file, which)
        typer.echo(_told(Lakehouse(settings.lake_url), vehicle))
        if not yes and not typer.confirm("Erase it from landing and from every table? This cannot be undone"):
            raise ErasureError("nothing was erased")
        stone = tombstone(vehicle, settings.lake_secret())
        retractions.mark({stone}, "requested", at=datetime.now(UTC))
    _finish(settings, retractions)


def chosen_vehicle(settings: Settings, vin_file: Path | None, which: str | None) -> str:
    """The vehicle_id of the vehicle that is meant; without a file and a name its VIN is asked for, unseen.

    Raises:
        WordError: it is no VIN, or no vehicle or several are called so. The text given is not quoted.
    """
    from smartdrive_dagster.commands.owners import WordError, subject
    from smartdrive_dagster.domain.identity import is_vin, vehicle_id
    from smartdrive_dagster.lake.lakehouse import Lakehouse

    if which is not None and vin_file is not None:
        raise typer.BadParameter("give --vin-file or --vehicle, not both")
    if which is not None:
        text = which.strip().lower()
        if is_vin(text.upper()):
            raise WordError("a VIN stands in the list of processes here: leave --vehicle out, and it is asked for")
        if len(text) == _ID_CHARACTERS and not set(text) - set("abcdefghijklmnopqrstuvwxyz234567"):
            return text
        return subject(Lakehouse(settings.lake_url), which)["vehicle_id"]
    if vin_file is None:
        text = typer.prompt("VIN", hide_input=True)
    else:
        try:
            text = sys.stdin.readline() if str(vin_file) == "-" else vin_file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise WordError(f"{vin_file} cannot be read as a text with a VIN") from error
    vin = text.strip().upper()
    if not is_vin(vin):
        raise WordError(f"this is no VIN (17 characters, no I, O and Q): the text given has {len(vin)}")
    return vehicle_id(vin, settings.lake_secret())


def _told(lakehouse: Lakehouse, vehicle: str) -> str:
    """What the lake holds of the vehicle, so that nobody erases another one by mistake."""
    import polars as pl

    from smartdrive_dagster.tables import facts, silver

    its = pl.col("vehicle_id") == vehicle
    samples = lakehouse.scan(silver.TELEMETRY).filter(its)
    first, last = pl.col("event_date").min().alias("first"), pl.col("event_date").max().alias("last")
    found = samples.select(pl.len(), first, last).collect(engine="streaming").row(0)
    known = lakehouse.scan(facts.VEHICLES).filter(its).select("make", "model_year", "name").collect()
    if not found[0] and known.is_empty():
        return "The lake knows no such vehicle; landing and lines that could not be read may name it all the same."
    about = " ".join(str(value) for value in (known.row(0) if known.height else ()) if value is not None)
    days = f" of {found[1]} to {found[2]}" if found[0] else ""
    return f"Vehicle {vehicle[:8]}… {f'({about})' if about else ''}: {found[0]:,} samples{days}".replace("  ", " ")


def _finish(settings: Settings, retractions: Retractions) -> None:
    """Do what was requested: here, or by the daemon where one is at work."""
    from smartdrive_dagster.defs.erasing import ErasureError
    from smartdrive_dagster.processing import dagster_instance, erase_now, who_is_at_work

    with dagster_instance() as instance:
        busy = who_is_at_work(instance, datetime.now(UTC))
        if busy and "daemon" not in busy:
            raise ErasureError(f"{busy}: when it has ended, `smartdrive erase --resume` goes on")
        if not busy:
            _show(settings, erase_now(settings, instance))
            return
        typer.echo(f"{busy}, so it does the work; this command waits (Ctrl-C ends only the waiting)")
        while retractions.pending():
            time.sleep(_LOOK_S)
            if who_is_at_work(instance, datetime.now(UTC)) is None:
                raise ErasureError("the daemon has stopped: `smartdrive erase --resume` goes on without it")
    typer.echo(f"done; the receipt is the newest in {settings.state_url}/receipts")


def _show(settings: Settings, receipt: str) -> None:
    from smartdrive_dagster.landing.store import LandingStore

    name = receipt.removeprefix(settings.state_url.rstrip("/")).lstrip("/")
    told: dict[str, Any] = json.loads(b"".join(LandingStore(settings.state_url).read(name)))
    for place, counts in told["removed"].items():
        found = ", ".join(f"{value:,} {what.replace('_', ' ')}" for what, value in counts.items() if value)
        typer.echo(f"{place:22}  {found or 'nothing'}")
    typer.echo("out of reach, and yours to look after:")
    for text in told["out_of_reach"]:
        typer.echo(f"  {text}")
    for text in told["left"]:
        typer.secho(f"left: {text}", err=True, fg=typer.colors.RED)
    typer.echo(f"receipt: {receipt}")
    if told["left"]:
        raise typer.Exit(1)


def _check(settings: Settings, path: Path) -> None:
    from smartdrive_dagster.defs.erasing import ErasureError
    from smartdrive_dagster.defs.erasure import is_genuine

    try:
        receipt = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ErasureError(f"{path} cannot be read as a receipt") from error
    if not isinstance(receipt, dict) or not is_genuine(receipt, settings.lake_secret()):
        raise ErasureError(f"{path} is not as this lake signed it")
    typer.echo("this lake signed it, and nothing of it was changed")
