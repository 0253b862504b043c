"""The `smartdrive` command. Each command reads the settings once and hands values on."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from smartdrive_dagster.commands import alerting as alert_commands
from smartdrive_dagster.commands import backfill as backfill_command
from smartdrive_dagster.commands import codes as code_commands
from smartdrive_dagster.commands import erase as erase_command
from smartdrive_dagster.commands import explain as explain_command
from smartdrive_dagster.commands import import_logs as import_command
from smartdrive_dagster.commands import owners as owner_commands
from smartdrive_dagster.commands import person as person_command
from smartdrive_dagster.commands import rebuild as rebuild_command
from smartdrive_dagster.commands import retention as retention_command
from smartdrive_dagster.commands import verify as verify_command
from smartdrive_dagster.commands import weather as weather_commands
from smartdrive_dagster.commands.bars import process_now
from smartdrive_dagster.commands.bars import progress as _progress
from smartdrive_dagster.settings import SecretMissingError, Settings
from smartdrive_dagster.up import command as up_command
from smartdrive_dagster.watch import command as watch_command
from smartdrive_dagster.watch import metrics_command

if TYPE_CHECKING:
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.lake.query import Format

_DEMO = Path(".smartdrive/demo")

app = typer.Typer(
    name="smartdrive",
    help="Vehicle data that its owner keeps: from OBD-II messages to Delta tables.\n\n"
    "Where things lie is read from the environment: SMARTDRIVE_LAKE_URL (./lake), SMARTDRIVE_LANDING_URL "
    "(./landing), SMARTDRIVE_TIME_ZONE (UTC), SMARTDRIVE_TRIP_GAP_S (300). Both places may be s3://bucket/prefix.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(epilog="Examples:\n\n  smartdrive demo\n\n  smartdrive demo --cars 2 --days 3")
def demo(
    cars: Annotated[int, typer.Option(min=1, max=50, help="How many cars drive")] = 5,
    days: Annotated[int, typer.Option(min=1, max=60, help="How many days they drive")] = 6,
    road: Annotated[
        int,
        typer.Option(min=0, max=4, help="Simulated cars that drive a day down the whole road: broker to lander"),
    ] = 2,
) -> None:
    """Drive simulated cars down the whole road, land a synthetic fleet, run Dagster's jobs, show what came out."""
    from smartdrive_dagster.demo import land_fleet
    from smartdrive_dagster.domain.identity import vehicle_id
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.landing.store import LandingStore
    from smartdrive_dagster.road import Driven, Stage, drive
    from smartdrive_dagster.screens import (
        console,
        show_balances,
        show_checks,
        show_commands,
        show_freshness,
        show_quarantine,
        show_tables,
        show_trips,
    )
    from smartdrive_dagster.status import status
    from smartdrive_dagster.tables import gold

    settings = Settings()
    secret = settings.lake_secret()
    store, lakehouse = LandingStore(settings.landing_url), Lakehouse(settings.lake_url)
    driven = Driven(datetime.now(UTC).date(), (), is_new=False)
    with _progress() as bars:
        if road:
            stages = bars.add_task("Road", total=24)

            def show_stage(stage: Stage) -> None:
                bars.update(stages, description=stage.text, completed=round(24 * stage.done))

            driven = drive(_DEMO, settings.landing_url, cars=road, now=datetime.now(UTC), on_stage=show_stage)
            bars.update(stages, description="Road: simulated hours", completed=24)
        task = bars.add_task("Landing messages", total=None)
        landed = land_fleet(
            store,
            now=datetime.now(UTC),
            cars=cars,
            days=days,
            on_object=lambda done, total: bars.update(task, completed=done, total=total),
        )
        process_now(settings, bars)
        checks = _check_tables(settings, bars)
    found = status(lakehouse, store, now=datetime.now(UTC))
    names = {vehicle_id(car.vin, secret): car.nickname for car in landed.truth.cars}
    names |= _vehicles_of(lakehouse, driven.devices)
    out = console()
    out.print(show_balances(found.balances))
    out.print(show_quarantine(found.quarantine_reasons))
    out.print(show_tables(found))
    out.print(show_trips(lakehouse.scan(gold.TRIPS).collect(), names))
    out.print(show_freshness(found))
    out.print(show_checks(checks))
    out.print(
        show_commands(
            {
                "make ui": "lineage, runs, checks and backfills in the Dagster UI",
                '.venv/bin/smartdrive sql "from marts.vehicle_daily order by local_date"': "ask the lake",
                "make notebook": "trips, speed traces and a map",
            }
        )
    )
    if not found.balances.close or not all(checks.values()):
        raise typer.Exit(1)


@app.command(
    epilog="Example:\n\n  smartdrive process\n\nThe daemon of `make ui` does the same by itself, as messages land."
)
def process() -> None:
    """Bring the lake up to date now: ingest what landed, compute stale Gold days."""
    with _progress() as bars:
        runs = process_now(Settings(), bars)
    typer.echo(f"{runs} runs" if runs else "the lake is up to date")


@app.command(
    epilog="Examples:\n\n  smartdrive land --host broker.home --client-id lander-1 --authority ca.crt "
    "--certificate lander-1.crt --key lander-1.key\n\n"
    "  smartdrive land --host 127.0.0.1 --port 1883 --client-id lander-1 --insecure"
)
def land(
    host: Annotated[str, typer.Option(help="The MQTT broker, as its certificate names it")],
    client_id: Annotated[str, typer.Option(help="Names the session; the common name of the lander's certificate")],
    port: Annotated[int, typer.Option(help="The broker's port")] = 8883,
    authority: Annotated[Path | None, typer.Option(help="Certificate of the CA that signed the broker's")] = None,
    certificate: Annotated[Path | None, typer.Option(help="The lander's certificate")] = None,
    key: Annotated[Path | None, typer.Option(help="The key of the lander's certificate")] = None,
    insecure: Annotated[bool, typer.Option(help="No TLS: for a bench on one machine only")] = False,
    heartbeat: Annotated[Path | None, typer.Option(help="File that tells every second how the lander is")] = None,
) -> None:
    """Land MQTT messages and answer the devices, until SIGTERM or Ctrl-C."""
    import logging
    import signal
    import threading

    from smartdrive_dagster.landing.lander import run
    from smartdrive_dagster.landing.lander_connection import LanderSettings, TlsFiles
    from smartdrive_dagster.landing.store import LandingStore

    if authority and certificate and key:
        tls = TlsFiles(authority, certificate, key)
    elif insecure and not (authority or certificate or key):
        tls = None
    else:
        raise typer.BadParameter("give --authority, --certificate and --key, or --insecure alone")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    settings = LanderSettings(host, client_id, port, tls=tls, insecure=insecure, heartbeat=heartbeat)
    run(LandingStore(Settings().landing_url), settings, stop)


@app.command(
    epilog="Examples:\n\n  smartdrive sql 'select * from gold.trips order by started_at limit 5'\n\n"
    "  smartdrive sql 'from marts.vehicle_daily' --format csv > daily.csv\n\n"
    "  smartdrive sql 'describe gold.trips'\n\n"
    "  smartdrive sql 'select count(*) from gold.trips' --as-of 2026-11-20T12:00Z"
)
def sql(
    query: Annotated[str, typer.Argument(help="One SELECT over bronze.*, silver.*, gold.* and marts.*")],
    form: Annotated[str, typer.Option("--format", help="table, csv, json or parquet")] = "table",
    as_of: Annotated[
        str | None,
        typer.Option(
            help="The tables as they were: at an instant (ISO 8601), or when gold.trips@12 was committed"
        ),
    ] = None,
) -> None:
    """Ask the lake with DuckDB, read-only. Times are shown in SMARTDRIVE_TIME_ZONE."""
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.lake.query import FORMATS, ask, write_result

    if form not in FORMATS:
        raise typer.BadParameter(f"{form!r} is not one of {', '.join(FORMATS)}", param_hint="--format")
    settings = Settings()
    frame = ask(Lakehouse(settings.lake_url), query, time_zone=settings.time_zone, as_of=as_of)
    write_result(frame, cast("Format", form), sys.stdout.buffer)


app.command(epilog=watch_command.EPILOG)(watch_command.status)
app.command(epilog=metrics_command.EPILOG)(metrics_command.metrics)
app.command(epilog=up_command.EPILOG)(up_command.up)
app.command(epilog=backfill_command.EPILOG)(backfill_command.backfill)
app.command(epilog=explain_command.EPILOG)(explain_command.explain)
app.command(epilog=rebuild_command.EPILOG)(rebuild_command.rebuild)
app.command(epilog=erase_command.EPILOG)(erase_command.erase)
app.command(epilog=retention_command.EPILOG)(retention_command.retention)
app.command(name="export-person", epilog=person_command.EPILOG)(person_command.export_person)
app.command(epilog=verify_command.EPILOG)(verify_command.verify)
app.add_typer(alert_commands.alerts, name="alerts")
app.add_typer(owner_commands.vehicle, name="vehicle")
app.add_typer(owner_commands.trips, name="trips")
app.add_typer(weather_commands.weather, name="weather")
app.command(epilog=code_commands.DTC_EPILOG)(code_commands.dtc)
app.command(name="import", epilog=import_command.EPILOG)(import_command.import_)
app.command(name="import-dtc", epilog=code_commands.IMPORT_EPILOG)(code_commands.import_dtc)


def main() -> None:
    """Run the command line; what a user can mend is said in one line, without a traceback."""
    from pydantic import ValidationError

    try:
        app()
    except SecretMissingError as error:
        _fail(str(error))
    except ValidationError as error:
        faults = (("_".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors())
        _fail("; ".join(f"SMARTDRIVE_{name.upper()}: {text}" for name, text in faults))
    except Exception as error:
        if type(error).__name__ not in _TOLD:
            raise
        _fail(str(error))


# Errors whose text tells a user what to do. By name: importing their modules would slow down every --help.
_TOLD = {
    "AmbiguousLogError",
    "ErasureBegunError",
    "ErasureError",
    "ExportError",
    "ImportFailedError",
    "RetentionError",
    "RetractionError",
    "BackfillError",
    "CertificateError",
    "CodeFileError",
    "CredentialsMissingError",
    "DemoOptionsError",
    "FormatError",
    "ClientError",
    "EndpointConnectionError",
    "FormatUndetectedError",
    "HeaderMismatchError",
    "LandingUrlError",
    "LogUnreadableError",
    "NoCredentialsError",
    "OptionError",
    "PreflightError",
    "RebuildError",
    "RoadError",
    "RowNotFoundError",
    "ProcessingError",
    "QueryError",
    "SchemaChangeError",
    "ShadowError",
    "StateError",
    "WeatherError",
    "WordError",
}


def _fail(text: str) -> None:
    typer.secho(f"smartdrive: {text}", err=True, fg=typer.colors.RED)
    raise SystemExit(1)


def _vehicles_of(lakehouse: "Lakehouse", devices: Sequence[str]) -> dict[str, str]:
    """The vehicles that some devices sent samples of, each with the device's name."""
    import polars as pl

    from smartdrive_dagster.tables import silver

    sent = lakehouse.scan(silver.TELEMETRY).filter(pl.col("device_id").is_in(devices))
    return dict(sent.select("vehicle_id", "device_id").unique().collect().iter_rows())


def _check_tables(settings: Settings, bars: Any) -> dict[str, bool]:
    from smartdrive_dagster.processing import check_tables, dagster_instance

    task = bars.add_task("Checks of whole tables", total=1)
    with dagster_instance() as instance:
        checks = check_tables(settings, instance)
    bars.update(task, completed=1)
    return checks
