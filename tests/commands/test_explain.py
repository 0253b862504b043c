"""A row traced back: the Silver rows, messages and landing objects that it comes from, and nothing personal."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from smartdrive_dagster.cli import app
from smartdrive_dagster.domain.trips import ALGO_VERSION
from smartdrive_dagster.tables import bronze, facts, gold, silver
from tests.made_lake import CAR, DAY, LATER, OTHER, House
from tests.messages import OTHER_VIN, START, VIN, correction, land, telemetry

pytestmark = pytest.mark.usefixtures("configured")


def said(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["explain", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def told(*arguments: str) -> dict[str, object]:
    found = json.loads(said(*arguments, "--json"))
    assert isinstance(found, dict)
    return found


def trip_of(house: House, vehicle: str) -> dict[str, object]:
    trips = house.lakehouse.scan(gold.TRIPS).filter(pl.col("vehicle_id") == vehicle).sort("started_at")
    return trips.collect().row(0, named=True)


def test_a_trip_names_its_silver_rows_messages_objects_and_versions(house: House) -> None:
    trip = trip_of(house, CAR)
    found = told("gold.trips", str(trip["trip_id"])[:10])
    assert found["key"] == {"trip_id": trip["trip_id"]}
    assert found["facts"] == {"vehicle_id": CAR, "algo_version": ALGO_VERSION, "samples": 60}
    begin, end = START.isoformat(), (START + timedelta(seconds=59)).isoformat()
    assert found["silver"] == [
        {"table": "silver.telemetry", "rows": 60, "first_at": begin, "last_at": end},
        {"table": "silver.corrections", "rows": 0, "first_at": None, "last_at": None},
    ]
    (message,) = found["messages"]
    sent = telemetry(0, at=START, samples=60, vin=VIN, device_id=f"edge-{VIN[-1]}")
    assert message["payload_sha256"] == hashlib.sha256(sent).hexdigest()
    assert message["line_no"] == 1
    assert message["verdict"] == "accepted"
    assert message["silver_rows"] == 60
    assert message["is_landed"]
    assert (Path(house.settings.landing_url) / message["object_key"]).is_file()
    tables = (gold.TRIPS, silver.TELEMETRY, facts.CORRECTIONS, silver.MESSAGES, bronze.MESSAGES)
    assert found["versions"] == {str(table): house.lakehouse.open(table).version for table in tables}
    assert found["batch"] == house.lakehouse.fresh_until(gold.TRIPS, [DAY])[DAY]


def test_the_commit_that_wrote_the_row_is_named_and_not_a_later_one(house: House) -> None:
    trip = trip_of(house, CAR)
    before = told("gold.trips", str(trip["trip_id"]))
    list(house.known(600)["gold.trips"].redo(house.lakehouse, [LATER]))
    after = told("gold.trips", str(trip["trip_id"]))
    assert after["version"] == before["version"]
    assert after["written_at"] == before["written_at"]
    (late,) = house.lakehouse.scan(gold.TRIPS).filter(pl.col("event_date") == LATER).collect().to_dicts()
    assert told("gold.trips", late["trip_id"])["version"] == house.lakehouse.open(gold.TRIPS).version


def test_a_corrected_trip_names_the_correction_and_its_line_too(house: House) -> None:
    word = correction("label", at=START, until=START, label="to work")
    landed = land(house.store, word, at=START + timedelta(hours=5), channel="corrections")
    house.ingest()
    house.gold_trips(300.0)
    trip = trip_of(house, CAR)
    assert trip["label"] == "to work"
    found = told("gold.trips", str(trip["trip_id"]))
    assert [part["rows"] for part in found["silver"]] == [60, 1]
    told_of = {message["object_key"]: message["payload_sha256"] for message in found["messages"]}
    assert told_of[landed.key] == hashlib.sha256(word).hexdigest()


def test_an_object_whose_retention_in_landing_has_ended_is_told_as_expired(house: House) -> None:
    trip = trip_of(house, OTHER)
    (message,) = told("gold.trips", str(trip["trip_id"]))["messages"]  # its copy brought no row
    (Path(house.settings.landing_url) / message["object_key"]).unlink()
    (message,) = told("gold.trips", str(trip["trip_id"]))["messages"]
    assert not message["is_landed"]
    assert "expired" in said("gold.trips", str(trip["trip_id"]))


def test_a_mart_s_row_is_traced_through_what_the_mart_reads(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    found = told("marts.vehicle_daily", CAR[:9], DAY.isoformat())
    assert sum(part["rows"] for part in found["silver"]) == 120
    assert len(found["messages"]) == 2
    monkeypatch.setenv("SMARTDRIVE_TIME_ZONE", "Asia/Tokyo")
    assert told("marts.vehicle_daily", CAR[:9], DAY.isoformat())["first_at"] == "2025-11-30T15:00:00+00:00"


def test_a_rejected_line_is_traced_to_its_message(house: House) -> None:
    rejected = house.lakehouse.scan(silver.QUARANTINE).filter(pl.col("reason") == "not_json").collect()
    key, line = rejected.select("object_key", "line_no").row(0)
    found = told("silver.quarantine", key, str(line))
    assert found["facts"]["reason"] == "not_json"
    (message,) = found["messages"]
    assert (message["verdict"], message["payload_sha256"]) == ("quarantined", hashlib.sha256(b"{").hexdigest())


def test_what_is_printed_holds_no_vin_and_no_payload(house: House) -> None:
    for vehicle in (CAR, OTHER):
        trip = str(trip_of(house, vehicle)["trip_id"])
        for text in (said("gold.trips", trip), said("gold.trips", trip, "--json")):
            assert VIN not in text
            assert OTHER_VIN not in text
            assert "signals" not in text


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        (("gold.tripz", "a"), "did you mean gold.trips"),
        (("gold.trips", "!"), "smartdrive sql"),
        (("gold.trips", ""), "more than one row"),
        (("gold.trips", "a", "b"), "too many"),
        (("marts.vehicle_daily", "", "yesterday"), "local_date of marts.vehicle_daily is a date"),
    ],
)
def test_a_key_that_names_no_row_is_answered_with_where_to_look(key: tuple[str, ...], hint: str) -> None:
    done = CliRunner().invoke(app, ["explain", *key])
    assert done.exit_code != 0
    assert hint in str(done.exception)


def test_a_mistyped_id_is_answered_with_the_nearest(house: House) -> None:
    trip = str(trip_of(house, CAR)["trip_id"])
    mistyped = trip[:8] + ("a" if trip[8] != "a" else "b")
    done = CliRunner().invoke(app, ["explain", "gold.trips", mistyped])
    assert f"did you mean {trip[:9]}?" in str(done.exception)
