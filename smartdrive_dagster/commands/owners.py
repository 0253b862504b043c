"""`smartdrive vehicle` and `smartdrive trips`: what an owner says, written into landing and read from there."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

if TYPE_CHECKING:
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.settings import Settings

SET_EPILOG: Final = (
    "Examples:\n\n  smartdrive vehicle set 1M8GDM9AXKP042788 --name 'The blue one' --fuel-type diesel\n\n"
    "  smartdrive vehicle set 4yq2 --fuel-price 1.72 --currency EUR\n\n"
    "A price holds for trips from now on, and for earlier ones where none was said before."
)
LIST_EPILOG: Final = "Examples:\n\n  smartdrive vehicle list\n\n  smartdrive vehicle show 4yq2"
MERGE_EPILOG: Final = "Examples:\n\n  smartdrive trips merge 7kd3 q2mx"
SPLIT_EPILOG: Final = "Examples:\n\n  smartdrive trips split 7kd3 2025-12-01T08:30:00"
LABEL_EPILOG: Final = (
    "Examples:\n\n  smartdrive trips label 7kd3 'customer visit'\n\n  smartdrive trips label 7kd3 ''"
)
_SHOWN: Final = {
    "vehicle_id": "vehicle",
    "name": "name",
    "make": "make",
    "model_year": "year",
    "fuel_type": "fuel",
    "battery_type": "battery",
    "first_event_date": "first day",
}
_ID_LETTERS: Final = 8
_LONGEST: Final = timedelta(hours=24)

vehicle = typer.Typer(
    help="What is known of the vehicles, and what their owner says of them.", no_args_is_help=True
)
trips = typer.Typer(help="Correct trips: merge, split and label them.", no_args_is_help=True)

Vehicle = Annotated[str, typer.Argument(help="Its VIN, or its vehicle_id (the beginning is enough)")]
Trip = Annotated[str, typer.Argument(help="Its trip_id; the beginning is enough")]


class WordError(ValueError):
    """What was said cannot be meant or is not allowed; nothing was landed. The text holds no VIN."""


@vehicle.command(name="set", epilog=SET_EPILOG)
def set_(
    which: Vehicle,
    name: Annotated[str | None, typer.Option(help="What you call it; alerts will")] = None,
    fuel_type: Annotated[
        str | None, typer.Option(help="petrol, diesel, e10, e85, lpg, cng, hybrid or electric")
    ] = None,
    displacement: Annotated[float | None, typer.Option(help="Swept volume of the engine, litres")] = None,
    battery_type: Annotated[str | None, typer.Option(help="flooded, efb, agm, gel or lifepo4")] = None,
    capacity: Annotated[float | None, typer.Option(help="Rated capacity of the starter battery, Ah")] = None,
    fuel_price: Annotated[float | None, typer.Option(help="Price of a litre; needs --currency")] = None,
    currency: Annotated[str | None, typer.Option(help="ISO 4217, for example EUR")] = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA name, for example Europe/Budapest")] = None,
) -> None:
    """Say something of a vehicle. What is left out stays as it was; nothing is forgotten."""
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.settings import Settings

    said = {
        "name": name,
        "fuel_type": fuel_type,
        "displacement_l": displacement,
        "battery_type": battery_type,
        "battery_capacity_ah": capacity,
        "fuel_price_per_l": fuel_price,
        "currency": currency,
        "time_zone": time_zone,
    }
    if all(value is None for value in said.values()):
        raise typer.BadParameter("say at least one thing of it: --name, --fuel-type, …")
    settings = Settings()
    who = subject(Lakehouse(settings.lake_url), which)
    _say(settings, "profiles", {"schema": "profile.v1", **who, **said})


@vehicle.command(name="list", epilog=LIST_EPILOG)
def list_() -> None:
    """Show all vehicles that the lake knows."""
    from rich.table import Table as Grid

    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.screens import console
    from smartdrive_dagster.settings import Settings
    from smartdrive_dagster.tables import facts

    rows = Lakehouse(Settings().lake_url).scan(facts.VEHICLES).sort("vehicle_id").select(*_SHOWN).collect()
    grid = Grid(header_style="dim", box=None)
    for title in _SHOWN.values():
        grid.add_column(title)
    for row in rows.iter_rows(named=True):
        short = {**row, "vehicle_id": row["vehicle_id"][:_ID_LETTERS]}
        grid.add_row(*("" if value is None else str(value) for value in short.values()))
    console().print(grid if rows.height else "the lake knows no vehicle yet")


@vehicle.command(epilog=LIST_EPILOG)
def show(which: Vehicle) -> None:
    """Show what is known of a vehicle."""
    import polars as pl

    from smartdrive_dagster.domain.decoding import keyed_pseudonym
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.settings import Settings
    from smartdrive_dagster.tables import facts

    settings = Settings()
    lakehouse = Lakehouse(settings.lake_url)
    who = subject(lakehouse, which)
    name = who.get("vehicle_id") or keyed_pseudonym(settings.lake_secret())(who["vin"])
    rows = lakehouse.scan(facts.VEHICLES).filter(pl.col("vehicle_id") == name).collect()
    if rows.is_empty():
        raise WordError("the lake does not know this vehicle yet")
    for column, value in rows.row(0, named=True).items():
        typer.echo(f"{column:20}  {'' if value is None else value}")


@trips.command(epilog=MERGE_EPILOG)
def merge(first: Trip, second: Trip) -> None:
    """Make one trip of two, and of all between them."""
    settings, lakehouse = _lake()
    one, other = sorted((_trip(lakehouse, first), _trip(lakehouse, second)), key=lambda trip: trip["started_at"])
    if one["vehicle_id"] != other["vehicle_id"]:
        raise WordError("these are trips of two vehicles")
    if one["trip_id"] == other["trip_id"]:
        raise WordError("this is one trip already")
    if other["started_at"] - one["ended_at"] > _LONGEST:
        raise WordError("more than 24 hours lie between these trips: they cannot be one")
    _correct(
        settings, one, kind="merge", **{"from": _ms(one["ended_at"]), "to": _ms(other["started_at"], up=True)}
    )


@trips.command(epilog=SPLIT_EPILOG)
def split(
    trip: Trip,
    at: Annotated[
        str, typer.Argument(help="When the second part begins (ISO 8601); without an offset, your time")
    ],
) -> None:
    """Make two trips of one."""
    settings, lakehouse = _lake()
    whole = _trip(lakehouse, trip)
    moment = instant(at, settings.time_zone)
    if not whole["started_at"] < moment <= whole["ended_at"]:
        zone = ZoneInfo(settings.time_zone)
        ends = " to ".join(
            f"{whole[name].astimezone(zone):%Y-%m-%d %H:%M:%S}" for name in ("started_at", "ended_at")
        )
        raise WordError(f"this is not within the trip, which lasted from {ends} ({settings.time_zone})")
    _correct(settings, whole, kind="split", at=_ms(moment))


@trips.command(epilog=LABEL_EPILOG)
def label(
    trip: Trip, text: Annotated[str, typer.Argument(help="At most 64 characters; '' takes it back")]
) -> None:
    """Say what a trip was for."""
    settings, lakehouse = _lake()
    whole = _trip(lakehouse, trip)
    until = min(whole["ended_at"], whole["started_at"] + _LONGEST)
    interval = {"from": _ms(whole["started_at"]), "to": _ms(until)}
    _correct(settings, whole, kind="label", label=text, **interval)


def subject(lakehouse: Lakehouse, which: str) -> dict[str, str]:
    """Whom a text names, as a fact says it: by the VIN that it is, or by the one vehicle_id that begins so.

    Raises:
        WordError: it is neither. The text is not quoted: it may be a mistyped VIN.
    """
    import polars as pl

    from smartdrive_dagster.domain.identity import is_vin
    from smartdrive_dagster.tables import facts

    text = which.strip()
    begins = pl.col("vehicle_id").str.starts_with(text.lower().removesuffix("…"))
    found = lakehouse.scan(facts.VEHICLES).filter(begins).select("vehicle_id").head(2).collect()
    if found.is_empty() and is_vin(text.upper()):
        return {"vin": text.upper()}
    if not text or found.height != 1:
        raise WordError(
            f"this is no VIN (17 characters, no I, O and Q; the text given has {len(text)}), and "
            f"{'several vehicles begin' if found.height else 'no vehicle_id begins'} so: smartdrive vehicle list"
        )
    return {"vehicle_id": found.item()}


def instant(text: str, time_zone: str) -> datetime:
    """A moment that a person wrote; without an offset it is in the owner's zone.

    Raises:
        WordError: it is none.
    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise WordError("the time must be written as in 2025-12-01T08:30:00 or 2025-12-01T08:30:00Z") from error
    return (read if read.tzinfo else read.replace(tzinfo=ZoneInfo(time_zone))).astimezone(UTC)


def _lake() -> tuple[Settings, Lakehouse]:
    from smartdrive_dagster.lake.lakehouse import Lakehouse
    from smartdrive_dagster.settings import Settings

    settings = Settings()
    return settings, Lakehouse(settings.lake_url)


def _trip(lakehouse: Lakehouse, beginning: str) -> dict[str, Any]:
    from smartdrive_dagster.domain.identity import holds_vin
    from smartdrive_dagster.lake.lineage import find_row
    from smartdrive_dagster.tables import gold

    if holds_vin(beginning):
        raise WordError("a trip is named by its trip_id, not by its vehicle's VIN")
    return find_row(lakehouse.open(gold.TRIPS), [beginning])


def _ms(at: datetime, *, up: bool = False) -> int:
    return (math.ceil if up else math.floor)(at.timestamp() * 1000)


def _correct(settings: Settings, trip: dict[str, Any], **said: object) -> None:
    _say(settings, "corrections", {"schema": "correction.v1", "vehicle_id": trip["vehicle_id"], **said})


def _say(settings: Settings, channel: str, fact: dict[str, object]) -> None:
    """Land one fact, if the lake will take it, and say when it will show."""
    from smartdrive_dagster.domain.facts import decode_correction, decode_profile
    from smartdrive_dagster.domain.messages import Rejection
    from smartdrive_dagster.landing.store import LandingStore
    from smartdrive_dagster.landing.words import land_words, payload_of

    now = datetime.now(UTC)
    payload = payload_of({**fact, "set_at": _ms(now)})
    decode = {"corrections": decode_correction, "profiles": decode_profile}[channel]
    outcome = decode(payload)
    if isinstance(outcome, Rejection):
        raise WordError(f"this would be refused, so it was not landed: {outcome.reason}: {outcome.detail}")
    landed = land_words(LandingStore(settings.landing_url), channel, [payload], at=now)
    typer.echo(f"landed: {landed.key if landed else channel}")
    typer.echo(
        "it shows after the next `smartdrive process`; where `smartdrive up` runs, within minutes by itself"
    )
