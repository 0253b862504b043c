"""The main job as a user runs it: what comes out is what the fleet truly drove."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from smartdrive_edge.simulator import Car, scenario

from smartdrive_dagster.demo import SEED
from smartdrive_dagster.domain.identity import vehicle_id
from smartdrive_dagster.fleet import Truth, fleet
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.models import readable_tables
from smartdrive_dagster.tables import gold
from tests.comparison import contents, versions
from tests.shared import made_once

SMARTDRIVE = str(Path(sys.executable).with_name("smartdrive"))


def smartdrive(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "140", "DAGSTER_DISABLE_TELEMETRY": "1", **variables}
    environment.pop("DAGSTER_HOME", None)
    return subprocess.run(
        [SMARTDRIVE, *arguments], cwd=home, env=environment, capture_output=True, text=True, check=False
    )


def _demonstrate(directory: Path) -> None:
    done = smartdrive(directory, "demo")
    assert done.returncode == 0, done.stderr
    assert "both balances close" in done.stdout
    assert "table checks passed" in done.stdout
    for command in ("make ui", "smartdrive sql", "make notebook"):
        assert command in done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo ran; other workers' tests read there meanwhile."""
    return made_once(tmp_path_factory, "demo", _demonstrate)


@pytest.fixture(scope="module")
def truth(home: Path) -> Truth:
    _, until, *_ = max(path.name for path in (home / "landing").rglob("demo-*")).split("-")
    return fleet(SEED, until=date.fromisoformat(until))[1]


def state(home: Path) -> dict[str, object]:
    done = smartdrive(home, "status", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def sent(home: Path) -> list[dict[str, Any]]:
    """What came down the road from the simulated cars, each message once."""
    found = {}
    for path in (home / "landing").rglob("*.jsonl*"):
        if not path.name.startswith("demo-"):
            body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            for line in body.splitlines():
                message = json.loads(json.loads(line)["payload"])
                found[message["device_id"], message["boot_id"], message["seq"]] = message
    return list(found.values())


def test_two_cars_came_down_the_whole_road(home: Path, sent: list[dict[str, Any]]) -> None:
    assert {message["device_id"] for message in sent} == {"demo-car-1", "demo-car-2"}
    secret = (home / ".smartdrive" / "secret").read_bytes()
    trips = Lakehouse(str(home / "lake")).scan(gold.TRIPS).collect()
    for seed, device in enumerate(("demo-car-1", "demo-car-2")):
        car = Car(scenario("day", seed), seed)
        of_device = [message for message in sent if message["device_id"] == device]
        assert {message["vin"] for message in of_device} == {car.scenario.vin}
        phases = {message.get("phase") for message in of_device}
        assert {"ready", "cranking", "running", "post_drive", "sentinel"} <= phases
        found = trips.filter(pl.col("vehicle_id") == vehicle_id(car.scenario.vin, secret))
        assert len(found) == 2
        truth_km = car.state_at(86_400.0).distance_km
        assert found["distance_km"].sum() == pytest.approx(truth_km, rel=0.25)  # a busy machine samples less


def test_both_balances_are_those_of_the_fleet_and_the_road(
    home: Path, truth: Truth, sent: list[dict[str, Any]]
) -> None:
    held = state(home)["balances"]
    assert isinstance(held, dict)
    assert held["close"]
    resent = held["lines"] - truth.lines - len(sent)  # QoS 1: at least once
    assert 0 <= resent < len(sent) / 4
    assert held["verdicts"] == {
        "accepted": truth.messages + len(sent),
        "duplicate": truth.duplicate_lines + resent,
        "quarantined": truth.malformed_lines + truth.unsynced_lines,
        "conflict": truth.conflict_lines,
    }
    samples = sum(len(message["t"]) if "signals" in message else 1 for message in sent)
    assert held["samples_accepted"] == truth.samples + samples
    assert held["samples_duplicate"] >= truth.duplicate_samples
    assert held["samples_quarantined"] == truth.quarantined_samples


def test_the_quarantine_names_every_reason_as_often_as_the_fleet_gave_it(home: Path, truth: Truth) -> None:
    reasons = state(home)["quarantine_reasons"]
    assert reasons == {
        **truth.malformed,
        "clock_unsynced": truth.unsynced_lines,
        "clock_ahead": truth.skewed_samples,
        "conflict": truth.conflict_lines,
    }


def test_every_trip_is_one_that_was_driven(home: Path, truth: Truth) -> None:
    secret = (home / ".smartdrive" / "secret").read_bytes()
    trips = Lakehouse(str(home / "lake")).scan(gold.TRIPS).sort("started_at").collect()
    for car in truth.cars:
        found = trips.filter(pl.col("vehicle_id") == vehicle_id(car.vin, secret))
        driven = truth.trips[car.vin]
        assert found["started_at"].to_list() == [trip.started_at for trip in driven]
        assert found["ended_at"].to_list() == [trip.ended_at for trip in driven]
        assert found["distance_km"].to_list() == pytest.approx([trip.distance_km for trip in driven], rel=1e-6)
        assert found["max_speed_kmh"].to_list() == [trip.max_speed_kmh for trip in driven]


def test_a_second_demo_changes_nothing(home: Path) -> None:
    lakehouse = Lakehouse(str(home / "lake"))
    before = versions(lakehouse, readable_tables())
    done = smartdrive(home, "demo")
    assert done.returncode == 0, done.stderr
    assert versions(lakehouse, readable_tables()) == before


@pytest.mark.nightly
def test_a_deleted_lake_comes_back_from_landing_with_equal_rows(home: Path, tmp_path: Path) -> None:
    rebuilt = smartdrive(home, "process", SMARTDRIVE_LAKE_URL=str(tmp_path / "again"))
    assert rebuilt.returncode == 0, rebuilt.stderr
    tables = readable_tables()
    assert contents(Lakehouse(str(tmp_path / "again")), tables) == contents(Lakehouse(str(home / "lake")), tables)


def test_nothing_identifies_a_vehicle_outside_bronze_payloads(home: Path, truth: Truth) -> None:
    """No VIN or vehicle_id in names of files, in the Delta logs, or in what the orchestrator keeps."""
    secret = (home / ".smartdrive" / "secret").read_bytes()
    vins = [car.vin.encode() for car in truth.cars]
    pseudonyms = [vehicle_id(car.vin, secret).encode() for car in truth.cars]
    kept = [
        path for path in (home / ".smartdrive" / "dagster").rglob("*") if path.is_file() and not path.is_symlink()
    ]
    logs = [path for path in (home / "lake").rglob("_delta_log/*") if path.is_file()]
    assert len(kept) > 5
    assert len(logs) > 20
    for path in (*kept, *logs):
        try:
            body = path.read_bytes()
        except FileNotFoundError:  # another worker's run has ended, and its journal gone
            continue
        assert not [word for word in (*vins, *pseudonyms) if word in body], path
    names = b"\n".join(str(path).encode() for path in home.rglob("*"))
    assert not [word for word in (*vins, *pseudonyms) if word in names]


@pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
def test_a_question_is_answered_in_every_format(home: Path, form: str) -> None:
    query = "select count(*) as trips from gold.trips"
    done = subprocess.run(
        [SMARTDRIVE, "sql", query, "--format", form],
        cwd=home,
        env=dict(os.environ),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"PAR1") if form == "parquet" else b"trips" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sql", "select * from gold.tripz"], "trips"),
        (["sql", "delete from gold.trips"], "one SELECT"),
        (["import", "missing.csv", "--vin", "WVWZZZ1JZXW000001"], "does not exist"),
        (["import", "lake", "--vin", "X"], "VIN"),
        (["demo", "--cars", "2"], "a demo of 5 cars and 6 days"),
        (["demo", "--road", "1"], "a demo with --road 2 lies here"),
    ],
)
def test_a_mistake_is_told_in_one_line(home: Path, arguments: list[str], words: str) -> None:
    done = smartdrive(home, *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.nightly
def test_a_home_whose_checkout_moved_and_a_crowd_of_processes_do_no_harm(home: Path, tmp_path: Path) -> None:
    dagster_home = tmp_path / "dagster"
    dagster_home.mkdir()
    (dagster_home / "dagster.yaml").symlink_to(tmp_path / "moved" / "dagster.yaml")
    environment = {
        **os.environ,
        "SMARTDRIVE_LANDING_URL": str(home / "landing"),
        "SMARTDRIVE_SECRET_FILE": str(home / ".smartdrive" / "secret"),
        "SMARTDRIVE_LAKE_URL": str(tmp_path / "lake"),
        "DAGSTER_HOME": str(dagster_home),
    }
    crowd = [
        subprocess.Popen(
            [SMARTDRIVE, "process"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for process in crowd:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    tables = readable_tables()
    assert contents(Lakehouse(str(tmp_path / "lake")), tables) == contents(Lakehouse(str(home / "lake")), tables)
