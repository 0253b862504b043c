"""`smartdrive weather`: forecasts for winter alerts, from a service or from a file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

FETCH_EPILOG: Final = (
    "Examples:\n\n  SMARTDRIVE_WEATHER_URL=https://api.open-meteo.com/v1/forecast smartdrive weather fetch\n\n"
    "The service is told the places of your vehicles, rounded to 0.1° (about 11 km), and nothing else. Open-Meteo "
    "is free for non-commercial use; its terms and its paid service are at https://open-meteo.com/en/terms."
)
IMPORT_EPILOG: Final = (
    "Examples:\n\n  smartdrive weather import forecast.json\n\n"
    "  smartdrive weather import forecast.json --vehicle 4yq2 --issued-at 2025-12-01T00:00Z"
)

weather = typer.Typer(help="Forecasts, for winter alerts.", no_args_is_help=True)


@weather.command(epilog=FETCH_EPILOG)
def fetch() -> None:
    """Ask the service in SMARTDRIVE_WEATHER_URL for each place where a vehicle was last known to stand."""
    from smartdrive_dagster.defs.forecasts import fetch_forecasts
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.landing.open_meteo import WeatherError
    from smartdrive_dagster.landing.store import LandingStore
    from smartdrive_dagster.settings import Settings

    settings = Settings()
    if settings.weather_url is None:
        raise WeatherError("SMARTDRIVE_WEATHER_URL is not set; for example https://api.open-meteo.com/v1/forecast")
    fetched = fetch_forecasts(
        Lakehouse(settings.lake_url),
        LandingStore(settings.landing_url),
        settings.weather_url.get_secret_value(),
        settings.lake_secret(),
        now=datetime.now(UTC),
    )
    typer.echo(str(fetched))
    if fetched.failed:
        raise typer.Exit(1)


@weather.command(name="import", epilog=IMPORT_EPILOG)
def import_(
    file: Annotated[
        Path, typer.Argument(help="JSON as Open-Meteo's forecast API answers, of one place or several")
    ],
    which: Annotated[
        str | None,
        typer.Option(
            "--vehicle", help="VIN or vehicle_id; by default every vehicle that was last seen near there"
        ),
    ] = None,
    issued_at: Annotated[
        str | None, typer.Option(help="When the service said so (ISO 8601); by default now")
    ] = None,
) -> None:
    """Land the temperatures of a saved answer. The same facts twice add no row."""
    from smartdrive_dagster.commands.owners import instant, subject
    from smartdrive_dagster.defs.forecasts import import_answers
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.landing.open_meteo import WeatherError, parse_answers
    from smartdrive_dagster.landing.store import LandingStore
    from smartdrive_dagster.settings import Settings

    settings, now = Settings(), datetime.now(UTC)
    issued = instant(issued_at, settings.time_zone) if issued_at else now
    if issued > now:
        raise WeatherError("a forecast that is yet to be issued cannot be known: --issued-at lies in the future")
    try:
        body = file.read_bytes()
    except OSError as error:
        raise WeatherError(f"{file} cannot be read: {error.strerror}") from error
    lakehouse = Lakehouse(settings.lake_url)
    vehicles = import_answers(
        lakehouse,
        LandingStore(settings.landing_url),
        parse_answers(body),
        now=now,
        issued_at=issued,
        subject=subject(lakehouse, which) if which else None,
    )
    typer.echo(f"landed the weather around {vehicles} vehicle{'s' if vehicles != 1 else ''}")
    typer.echo(
        "it counts after the next `smartdrive process`; where `smartdrive up` runs, within minutes by itself"
    )
