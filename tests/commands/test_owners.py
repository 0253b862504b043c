"""What an owner says on the command line lands as a fact that the lake takes, and never names a VIN elsewhere."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from smartdrive_dagster.cli import app
from smartdrive_dagster.commands.owners import WordError
from smartdrive_dagster.landing.reader import read_lines
from smartdrive_dagster.tables import facts, gold
from tests.made_lake import CAR, House
from tests.messages import START, VIN

pytestmark = pytest.mark.usefixtures("configured")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def said(*arguments: str) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def landed(house: House, channel: str) -> list[bytes | None]:
    objects = [entry for entry in house.store.list().objects if entry.channel == channel]
    assert all(VIN not in entry.key and CAR not in entry.key for entry in objects)
    return [line.payload for entry in objects for line in read_lines(house.store, entry)]


def trips_of(house: House, vehicle: str = CAR) -> list[dict[str, object]]:
    rows = house.lakehouse.scan(gold.TRIPS).filter(pl.col("vehicle_id") == vehicle).sort("started_at")
    return rows.collect().to_dicts()


def test_trips_are_merged_split_and_labelled_by_their_ids(house: House) -> None:
    first, second, *_ = (str(trip["trip_id"]) for trip in trips_of(house))
    assert "landed: corrections/dt=" in said("trips", "merge", second[:8], first[:8])
    said("trips", "label", first, "to work")
    house.ingest()
    house.gold_trips(300.0)
    merged = trips_of(house)[0]
    assert (merged["samples"], merged["label"], merged["is_corrected"]) == (120, "to work", True)
    middle = START + timedelta(seconds=30)
    said("trips", "split", str(merged["trip_id"]), middle.isoformat())
    said("trips", "label", str(merged["trip_id"]), "")
    house.ingest()
    house.gold_trips(300.0)
    assert [(trip["samples"], trip["label"]) for trip in trips_of(house)[:2]] == [(30, None), (90, None)]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("merge", "{0}", "{0}"), "one trip already"),
        (("merge", "{0}", "{2}"), "more than 24 hours"),
        (("merge", "{0}", "{other}"), "two vehicles"),
        (("split", "{0}", "2025-12-01T07:00"), "not within the trip"),
        (("split", "{0}", "noon"), "must be written as"),
        (("label", "{0}", "x" * 65), "would be refused"),
        (("label", VIN, "x"), "not by its vehicle's VIN"),
    ],
)
def test_a_correction_that_cannot_be_meant_is_refused_and_lands_nothing(
    house: House, arguments: tuple[str, ...], why: str
) -> None:
    ids = [str(trip["trip_id"]) for trip in trips_of(house)]
    rows = house.lakehouse.scan(gold.TRIPS).filter(pl.col("vehicle_id") != CAR).collect()
    other = str(rows.item(0, "trip_id"))
    done = run("trips", *(argument.format(*ids, other=other) for argument in arguments))
    assert isinstance(done.exception, WordError)
    assert why in str(done.exception)
    assert VIN not in str(done.exception)
    assert landed(house, "corrections") == []


def test_a_vehicle_is_described_by_vin_or_pseudonym_and_shown(house: House) -> None:
    told = said("vehicle", "set", VIN.lower(), "--name", "The blue one", "--fuel-type", "diesel")
    told += said("vehicle", "set", CAR[:6], "--fuel-price", "1.72", "--currency", "EUR")
    assert VIN not in told
    by_vin, by_name = landed(house, "profiles")
    assert VIN.encode() in (by_vin or b"")
    assert VIN.encode() not in (by_name or b"")
    house.ingest()
    row = house.lakehouse.scan(facts.VEHICLES).filter(pl.col("vehicle_id") == CAR).collect().to_dicts()[0]
    assert (row["name"], row["fuel_type"], row["currency"]) == ("The blue one", "diesel", "EUR")
    assert "The blue one" in said("vehicle", "list")
    shown = said("vehicle", "show", VIN)
    assert "Volkswagen" in shown
    assert VIN not in shown


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("WVWZZZ1JZXW00000O", "--name", "x"), "no vehicle_id begins so"),
        ((CAR, "--fuel-price", "1.7"), "a currency beside the price"),
        ((CAR, "--name", f"my {VIN}"), "a text without a VIN"),
        ((CAR, "--fuel-type", "coal"), "would be refused"),
    ],
)
def test_a_word_that_the_lake_would_refuse_lands_nothing(
    house: House, arguments: tuple[str, ...], why: str
) -> None:
    done = run("vehicle", "set", *arguments)
    assert isinstance(done.exception, WordError)
    assert why in str(done.exception)
    assert "WVWZZZ" not in str(done.exception)
    assert landed(house, "profiles") == []


def test_nothing_said_is_an_error() -> None:
    assert "say at least one thing" in run("vehicle", "set", CAR).output
