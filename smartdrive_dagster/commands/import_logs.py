"""`smartdrive import`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from smartdrive_dagster.commands.bars import process_now, progress

if TYPE_CHECKING:
    from smartdrive_dagster.defs.retraction import Standing
    from smartdrive_dagster.landing.recorded.format_model import Decimal
    from smartdrive_dagster.landing.recorded.recognise import Given
    from smartdrive_dagster.settings import Settings

EPILOG: Final = (
    "Examples:\n\n  smartdrive import trackLog.csv --vin 1M8GDM9AXKP042788 --dry-run\n\n"
    "  smartdrive import drive.csv --vin 1M8GDM9AXKP042788 --date 2025-12-01 --timezone Europe/Berlin\n\n"
    "  smartdrive import drives/ more.json --vin 1M8GDM9AXKP042788\n\n"
    '  smartdrive import log.csv --vin 1M8GDM9AXKP042788 --column "v=SPEED:mph" --column "t=TIME:ms" '
    "--start 2025-12-01T08:30:00+01:00\n\n"
    "  smartdrive import log.csv --vin 1M8GDM9AXKP042788 --format my-recorder.yml\n\n"
    "  smartdrive import --undo drive.csv"
)
_SUFFIXES: Final = frozenset({".csv", ".tsv", ".txt", ".log", ".json", ".geojson"})
_IMPORT: Final = re.compile(r"import-[0-9a-f]{16}(?:-[0-9a-f]{32})?")
_STARTS: Final = [
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S.%f%z",
]


class ImportFailedError(Exception):
    """Some files could not be imported; each was said."""


def import_(
    files: Annotated[list[Path], typer.Argument(help="Recorded logs, or folders of them", show_default=False)],
    vin: Annotated[
        str | None, typer.Option(help="The vehicle's VIN; goes into message payloads only", show_default=False)
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="Name of a built-in format or a mapping file; recognised by default"),
    ] = None,
    date_: Annotated[
        datetime | None,
        typer.Option(
            "--date",
            formats=["%Y-%m-%d"],
            help="Day on which the log begins, if its times lack it; else that in the file's name",
        ),
    ] = None,
    start: Annotated[
        datetime | None,
        typer.Option(
            formats=_STARTS, help="Instant from which elapsed times count, local unless it has an offset"
        ),
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="IANA zone of the log's local times; by default UTC", show_default=False)
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="What a column is, for a log of unknown format: NAME=SIGNAL, NAME=SIGNAL:unit, NAME=TIME:form "
            "(a form, s, ms or a strptime pattern), or NAME=- to leave it out",
            show_default=False,
        ),
    ] = None,
    decimal: Annotated[
        str | None,
        typer.Option(help="How a log of unknown format writes numbers: . or , or 1,234.5 or 1.234,5"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show how each file is read and what it gives; write nothing")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the import of these files (or of these import ids) back")
    ] = False,
    also_process: Annotated[
        bool, typer.Option("--process/--no-process", help="Also bring the lake up to date")
    ] = True,
) -> None:
    """Turn recorded logs into landing objects, and so into trips. The same file twice adds no row.

    Torque Pro, Car Scanner and enviroCar are known; of other CSV files the columns are recognised by their names,
    units and values. What can be read two ways is refused with what to pass.
    """
    from smartdrive_dagster.landing.recorded.errors import OptionError
    from smartdrive_dagster.landing.recorded.importer import checked_vin
    from smartdrive_dagster.landing.recorded.recognise import Given
    from smartdrive_dagster.settings import Settings

    settings = Settings()
    if undo:
        _undo(settings, [str(path) for path in files], also_process=also_process)
        return
    if vin is None and not dry_run:
        raise OptionError("--vin is missing: it says whose recording this is (--dry-run does without)")
    given = Given(
        form,
        date_.date() if date_ else None,
        start,
        timezone,
        _columns(column or []),
        cast("Decimal | None", _decimal(decimal)),
    )
    if dry_run:
        _each(_listed(files), lambda path: _try(path, given, checked_vin(vin) if vin else None))
        return
    importing = partial(
        _import_one, settings=settings, given=given, vin=_not_erased(settings, checked_vin(vin or ""))
    )
    failure = None
    try:
        _each(_listed(files), importing)
    except ImportFailedError as error:  # the other files have landed
        failure = error
    if also_process:
        with progress() as bars:
            process_now(settings, bars)
    if failure:
        raise failure


def _not_erased(settings: Settings, vin: str) -> str:
    """The VIN, if its vehicle was not erased: nothing of one that was is taken in."""
    from smartdrive_dagster.domain.erasures import Erased
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.lake.retractions import Retractions
    from smartdrive_dagster.landing.recorded.errors import OptionError

    vehicles = Retractions(Lakehouse(settings.state_url)).vehicles()
    if vehicles and Erased(settings.lake_secret(), vehicles).names(vin.encode()):
        raise OptionError("this vehicle was erased here: nothing of it is taken in again")
    return vin


def _each(paths: Sequence[Path], work: Any) -> None:
    """Do every file although one fails.

    Raises:
        ImportFailedError: one of several did; the only one's own error otherwise.
    """
    from smartdrive_dagster.landing.recorded.errors import LogImportError

    failed = []
    for path in paths:
        try:
            work(path)
        except LogImportError as error:
            if len(paths) == 1:
                raise
            failed.append(path)
            typer.secho(str(error), err=True, fg=typer.colors.RED)
    if failed:
        raise ImportFailedError(f"{len(failed)} of {len(paths)} files were not imported; the text above says why")


def _try(path: Path, given: Given, vin: str | None) -> None:
    from smartdrive_dagster.commands.import_screens import show_import, show_preview, show_recognised
    from smartdrive_dagster.landing.recorded.importer import import_log
    from smartdrive_dagster.landing.recorded.recognise import recognise
    from smartdrive_dagster.screens import console

    found = recognise(path, given)
    console().print(show_recognised(path.name, found))
    form = found.checked(path)
    report = import_log(
        path,
        vin=vin or "11111111111111111",  # it has a valid check digit, and goes nowhere
        secret=b"\0" * 16,
        store=None,
        format=form,
        day=found.day,
        time_zone=found.time_zone,
        start=found.start,
        received_at=datetime.now(UTC),
    )
    console().print(show_import(path.name, report, form.ignore), show_preview(report, found.time_zone))
    console().print("nothing was written (--dry-run)")


def _import_one(path: Path, *, settings: Settings, given: Given, vin: str) -> None:
    from smartdrive_dagster.commands.import_screens import show_import
    from smartdrive_dagster.defs.retraction import imports_of, name_of_next
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.lake.retractions import Retractions
    from smartdrive_dagster.landing.recorded.errors import LogUnreadableError
    from smartdrive_dagster.landing.recorded.importer import import_log
    from smartdrive_dagster.landing.recorded.recognise import recognise
    from smartdrive_dagster.landing.store import LandingStore
    from smartdrive_dagster.screens import console

    found = recognise(path, given)
    form = found.checked(path)
    retracted = Retractions(Lakehouse(settings.state_url)).keys()
    with progress() as bars:
        task = bars.add_task(f"Reading {path.name}", total=path.stat().st_size if path.is_file() else None)
        report = import_log(
            path,
            vin=vin,
            secret=settings.lake_secret(),
            store=LandingStore(settings.landing_url),
            format=form,
            day=found.day,
            time_zone=found.time_zone,
            start=found.start,
            received_at=datetime.now(UTC),
            progress=lambda done: bars.update(task, completed=done),
            name_of=lambda import_id: name_of_next(import_id, retracted),
        )
    console().print(show_import(path.name, report, form.ignore))
    for note in found.notes:
        typer.echo(f"note: {note}")
    if not report.mapped:
        raise LogUnreadableError(f"{path} held no reading that could be imported; the table above says why")
    lakehouse = Lakehouse(settings.lake_url)
    for other in imports_of(lakehouse, None, report.device_id, retracted):
        if other.import_id != report.import_id:
            typer.echo(f"note: the same file stands in the lake with other options, as {_told(other)}")
    typer.echo(f"imported as {report.import_id}; smartdrive import --undo takes it back")


def _undo(settings: Settings, names: Sequence[str], *, also_process: bool) -> None:
    from smartdrive_dagster.defs.ingestion import Ingestion, Progress
    from smartdrive_dagster.defs.retraction import RetractionError, imports_of, settle_retractions
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.lake.retractions import Retractions
    from smartdrive_dagster.landing.store import LandingStore

    lakehouse, store = Lakehouse(settings.lake_url), LandingStore(settings.landing_url)
    retractions = Retractions(Lakehouse(settings.state_url))
    chosen: list[Standing] = []
    before = retractions.keys()
    for name in names:
        prefix = _import_of(name)
        standing = imports_of(lakehouse, store, prefix, before)
        if len(standing) > 1:
            listed = "\n".join(f"  {_told(one)}" for one in standing)
            raise RetractionError(
                f"{name} was imported {len(standing)} times with different options; nothing was taken back. "
                f"Name one by its id, or several:\n{listed}"
            )
        if not standing and not any(f"/{prefix}" in key for key in before):
            raise RetractionError(f"{name} was never imported here (no landing object is named {prefix}…)")
        chosen += standing
    for one in chosen:
        retractions.add(one.import_id, one.keys, at=datetime.now(UTC))
        typer.echo(f"taken back: {_told(one)}, {len(one.keys)} landing objects")
    if not chosen:
        typer.echo("taken back before")
    guarded = retractions.lakehouse(settings.lake_url)
    settle_retractions(Ingestion(guarded, store, settings.lake_secret(), retractions.keys()), Progress())
    if also_process:
        with progress() as bars:
            process_now(settings, bars)


def _import_of(name: str) -> str:
    """The beginning of an import's id: of a file, by its content, or as it is given."""
    from smartdrive_dagster.defs.retraction import RetractionError

    if _IMPORT.fullmatch(name):
        return name
    path = Path(name)
    if not path.is_file():
        raise RetractionError(f"{name} is neither a file nor an import's id (import-…, as the import printed it)")
    with path.open("rb") as file:
        return f"import-{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def _told(one: Standing) -> str:
    days = f", days {one.first} to {one.last}" if one.first else ", not processed yet"
    return f"{one.import_id} (landed {one.landed}{days})"


def _listed(files: Sequence[Path]) -> list[Path]:
    """The files themselves, and of folders the files that may be logs.

    Raises:
        OptionError: a folder has none.
    """
    from smartdrive_dagster.landing.recorded.errors import OptionError

    paths: list[Path] = []
    for path in files:
        if not path.is_dir():
            paths.append(path)
            continue
        inner = sorted(entry for entry in path.rglob("*") if entry.is_file() and not entry.name.startswith("."))
        found = [entry for entry in inner if entry.suffix.casefold() in _SUFFIXES]
        if skipped := len(inner) - len(found):
            typer.echo(
                f"{path}: {skipped} files are not looked at (only {', '.join(sorted(_SUFFIXES))} are)", err=True
            )
        if not found:
            raise OptionError(f"{path} holds no file that may be a log ({', '.join(sorted(_SUFFIXES))})")
        paths += found
    return list(dict.fromkeys(paths))


def _columns(given: Sequence[str]) -> dict[str, str]:
    from smartdrive_dagster.landing.recorded.errors import OptionError

    columns = {}
    for text in given:
        name, is_there, choice = text.rpartition("=")
        if not is_there or not name.strip() or not choice.strip():
            raise OptionError(f"--column {text!r}: write NAME=SIGNAL, NAME=SIGNAL:unit, NAME=TIME:form or NAME=-")
        columns[name.strip()] = choice.strip()
    return columns


def _decimal(text: str | None) -> str | None:
    from smartdrive_dagster.landing.recorded.errors import OptionError

    if text not in {None, ".", ",", "1,234.5", "1.234,5"}:
        raise OptionError(f"--decimal {text!r}: write . or , or 1,234.5 or 1.234,5")
    return text
