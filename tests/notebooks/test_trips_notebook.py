"""The notebook as its readers run it: a process of its own over a small lake."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.tables import gold, silver

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "trips.py"


def run(folder: Path, *command: str) -> str:
    """Run Python on a copy of the notebook, since marimo writes beside the file; return what it printed."""
    shutil.copy(NOTEBOOK, folder)
    environment = os.environ | {
        "SMARTDRIVE_LAKE_URL": str(folder / "lake"),
        "SMARTDRIVE_TIME_ZONE": "Europe/Berlin",
    }
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def exported(folder: Path) -> str:
    run(folder, "-m", "marimo", "export", "html", NOTEBOOK.name, "-o", "trips.html")
    return (folder / "trips.html").read_text()


@pytest.fixture
def lake(tmp_path: Path, rows_of) -> Path:
    lakehouse = Lakehouse(str(tmp_path / "lake"))
    start = datetime(2025, 3, 29, 22, 30, tzinfo=UTC)  # the trip runs into the next day in Berlin
    instants = [start + timedelta(seconds=n) for n in range(3600)]
    trips = rows_of(
        gold.TRIPS,
        {
            "trip_id": "TRIP1",
            "vehicle_id": "VEHICLE1",
            "started_at": instants[0],
            "ended_at": instants[-1],
            "event_date": start.date(),
            "duration_s": 3599.0,
            "distance_km": 50.0,
            "mean_speed_kmh": 50.0,
        },
        # Neither speed nor position was measured on the other one, and nothing else is known of it.
        {
            "trip_id": "TRIP2",
            "vehicle_id": "VEHICLE2",
            "started_at": start,
            "ended_at": start,
            "event_date": start.date(),
            "duration_s": 0.0,
        },
    )
    telemetry = rows_of(
        silver.TELEMETRY,
        *(
            {
                "vehicle_id": "VEHICLE1",
                "event_at": instant,
                "event_date": instant.date(),
                "message_id": "m",
                "sample": n,
                "speed_kmh": 50.0,
                "latitude_deg": 52.5 + n / 1e5,
                "longitude_deg": 13.4,
            }
            for n, instant in enumerate(instants)
        ),
    )
    lakehouse.append_once(gold.TRIPS, lambda _: trips)
    lakehouse.append_once(silver.TELEMETRY, lambda _: telemetry)
    return tmp_path


def test_it_runs_as_a_script(lake: Path):
    assert run(lake, NOTEBOOK.name) == ""


def test_it_shows_the_trips_of_a_vehicle_and_the_speed_and_place_of_a_trip(lake: Path):
    page = exported(lake)
    assert "VEHICLE1" in page
    assert "2025-03-29 23:30" in page
    assert page.count("application/vnd.vegalite") == 2
    assert "2025-03-30T00:29:59" in page  # the trip's last sample lies on the next local day
    assert "52.53599" in page


def test_an_empty_lake_gets_a_friendly_word(tmp_path: Path):
    run(tmp_path, NOTEBOOK.name)
    assert "There is no trip in the lake yet.\\u003C/strong" in exported(tmp_path)
    assert not (tmp_path / "lake").exists()
